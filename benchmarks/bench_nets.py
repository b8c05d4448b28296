"""How fast the networks answer, where the time goes, how far that is from the floor, and how much memory it takes.

    python benchmarks/bench_nets.py --threads 2 --repeats 9

Random weights of the `expose` preset on FreeBody; every ratio comes from one run with the variants taking turns, best
of the repeats. On a shared machine `--clock cpu --threads 1` counts this process's own time only.
Floor: operations of the backbones over the best rate that a single convolution reached here in that precision.
Expect, with two free cores: fast float32 >= 1.1x eager with parameters equal to 1e-4, bfloat16 >= 2x.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from openexpose.body import load_model
from openexpose.geometry.crop import Crop
from openexpose.nets import attention, build, config, fast, inputs
from openexpose.nets.expose import ExPose
from openexpose.nets.means import Means
from openexpose.nets.regressor import PartRegressor

CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}
PHOTO_HW = (3000, 4000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    clock = CLOCKS[args.clock]
    with torch.inference_mode():
        plain = model(args.device)
        variants = {"eager float32": plain}
        variants |= {f"fast {str(d)[6:]}": fast.speed_up(plain, dtype=d) for d in (torch.float32, torch.bfloat16)}
        peaks = {d: peak_rate(d, clock, args.device) for d in (torch.float32, torch.bfloat16)}
        rates = ", ".join(f"{str(d)[6:]} {rate / 1e9:.0f}" for d, rate in peaks.items())
        print(f"threads {args.threads}, clock {args.clock}, device {args.device}; best convolution, GFLOP/s: {rates}")
        for rows in args.batches:
            look = persons(rows, args.device)
            ratios(variants, look, clock, args.repeats)
            breakdown(variants, look, clock, args.repeats, peaks)
        memory(variants, persons(8, args.device))


def model(device: str) -> ExPose:
    """The whole `expose` preset with seeded weights, batch statistics and guesses that are not trivial."""
    torch.random.default_generator.manual_seed(0)
    net = build.build_expose(config.expose(), load_model("free"), means=Means())
    for m in net.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.running_mean.normal_(0, 0.1)
            m.running_var.uniform_(0.8, 1.2)
        net.eval()
    for part in (net.body, net.hand, net.head):
        settle(part)
    return net.to(device)


def settle(part: PartRegressor[Any]) -> None:
    """Scale the last layer so that a step moves parameters by 0.15 (rms): about what poses differ from their mean."""
    net = part.regressor
    nn.init.normal_(net.output.weight, std=0.01)
    seen = torch.randn(4, 3, part.crop_px, part.crop_px)
    start = net.mean_param.expand(4, -1)
    step = net.stages(part.backbone(seen), start)[0] - start
    net.output.weight.mul_(0.15 / step.square().mean().sqrt())


def persons(rows: int, device: str) -> attention.Look:
    """One person in each of `rows` different photos of 12 megapixels."""
    g = torch.Generator().manual_seed(1)
    photos, crops = [], []
    for i in range(rows):
        grid = torch.rand(1, 3, 30, 40, generator=g) * 255
        photos.append(functional.interpolate(grid, PHOTO_HW, mode="bilinear")[0].permute(1, 2, 0).byte().contiguous())
        crops.append(Crop((1500.0 + 50 * i, 1400.0), 1800.0 + 20 * i, 256))
    look = inputs.look_at(photos, crops)
    if device == "cpu":
        return look
    moved = [p.to(device) for p in look.photos]
    return attention.Look(look.crops.to(device), moved, look.T_crop_photo.to(device), look.side_px.to(device))


def best(calls: dict[str, Callable[[], object]], clock: Callable[[], float], repeats: int) -> dict[str, float]:
    """Seconds of each call: the least of `repeats` rounds, the calls taking turns."""
    seconds = dict.fromkeys(calls, float("inf"))
    for turn in range(repeats + 1):
        for name, call in calls.items():
            synchronise()
            start = clock()
            call()
            synchronise()
            if turn:  # the first round warms up
                seconds[name] = min(seconds[name], clock() - start)
    return seconds


def synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def ratios(variants: dict[str, ExPose], look: attention.Look, clock: Callable[[], float], repeats: int) -> None:
    """Time of the whole forward, against eager, and how far the answers are apart."""
    rows = len(look.photos)
    seconds = best({n: lambda m=m: m(look) for n, m in variants.items()}, clock, repeats)
    plain = variants["eager float32"](look)
    print(f"\nbatch {rows}: forward to params")
    for name, net in variants.items():
        got = net(look)
        apart = max(largest(getattr(got.params, f), getattr(plain.params, f)) for f in got.params.__dataclass_fields__)
        print(
            f"  {name:16s} {seconds[name] * 1e3:8.1f} ms  {rows / seconds[name]:6.2f} persons/s  "
            f"x{seconds['eager float32'] / seconds[name]:.2f}  params apart {apart:.1e}"
        )


def largest(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max())


def breakdown(
    variants: dict[str, ExPose],
    look: attention.Look,
    clock: Callable[[], float],
    repeats: int,
    peaks: dict[torch.dtype, float],
) -> None:
    """Milliseconds of each component, and of the floor of the backbones."""
    columns, floors = {}, {}
    for name, net in variants.items():
        calls = components(net, look)
        columns[name] = best(calls, clock, max(3, repeats // 2))
        dtype = torch.bfloat16 if "bfloat16" in name else torch.float32
        floors[name] = {c: operations(variants["eager float32"], c, look) / peaks[dtype] for c in calls}
    print(f"batch {len(look.photos)}: ms by component (floor)   " + "   ".join(columns))
    for component in next(iter(columns.values())):
        cells = []
        for name, seconds in columns.items():
            floor = floors[name][component]
            cells.append(f"{seconds[component] * 1e3:8.2f}" + (f" ({floor * 1e3:6.1f})" if floor else " " * 9))
        print(f"  {component:24s}" + "  ".join(cells))


def components(net: ExPose, look: attention.Look) -> dict[str, Callable[[], object]]:
    """The steps of `ExPose.forward`, each on its own, fed from one run."""
    e = net(look)
    hand_crops = torch.cat([s.cut(look.photos, 224) for s in (e.right_hand_square, e.left_hand_square)])
    head_crops = e.head_square.cut(look.photos, 256)
    features = {
        p: getattr(net, p).backbone(c) for p, c in (("body", look.crops), ("hand", hand_crops), ("head", head_crops))
    }
    return {
        "body backbone": lambda: net.body.backbone(look.crops),
        "hand backbone": lambda: net.hand.backbone(hand_crops),
        "head backbone": lambda: net.head.backbone(head_crops),
        "regressors, codecs": lambda: [
            getattr(net, p).codec.split(getattr(net, p).regressor(features[p])) for p in features
        ],
        "body model points, twice": lambda: [net.points_px(p, e.camera, look) for p in (e.body.params, e.params)],
        "attention crops": lambda: [
            s.cut(look.photos, n)
            for s, n in ((e.right_hand_square, 224), (e.left_hand_square, 224), (e.head_square, 256))
        ],
        "(mesh, when asked for)": lambda: net.posed(e.params).skin().vertices_m,
    }


def operations(net: ExPose, component: str, look: attention.Look) -> float:
    """Floating point operations of a backbone on this batch; zero for what is not a backbone."""
    part = component.split()[0]
    if not component.endswith("backbone"):
        return 0.0
    rows = len(look.photos) * (2 if part == "hand" else 1)
    network = getattr(net, part)
    with FlopCounterMode(display=False) as counter:
        network.backbone(torch.zeros(1, 3, network.crop_px, network.crop_px, device=look.crops.device))
    return float(counter.get_total_flops() * rows)


def peak_rate(dtype: torch.dtype, clock: Callable[[], float], device: str) -> float:
    """Operations per second of the best single convolution."""
    rates = []
    for rows, width, side in ((1, 96, 32), (1, 192, 16), (4, 192, 32)):
        conv = nn.Conv2d(width, width, 3, padding=1).to(device)
        fused = fast.FusedConv(conv, None, relu=True, dtype=dtype)
        fused(torch.randn(rows, width, side, side, device=device))
        x = torch.randn(rows, width, side, side, device=device).to(dtype, memory_format=torch.channels_last)
        seconds = best({"conv": lambda f=fused, x=x: [f(x) for _ in range(10)]}, clock, 15)["conv"] / 10
        rates.append(2 * rows * side**2 * width**2 * 9 / seconds)
    return max(rates)


def memory(variants: dict[str, ExPose], look: attention.Look) -> None:
    """Highest memory of a forward beyond what is held before it (weights, photos)."""
    status, refs = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not refs.exists():
        print("\nmemory: needs Linux's /proc")
        return
    photos, rows = sum(p.numel() for p in look.photos), len(look.photos)
    print(
        f"\nmemory, batch {rows} with {rows} photos of {photos / rows / 3e6:.0f} megapixels, beyond photos and weights:"
    )
    for name, run in variants.items():
        refs.write_text("5")  # forget the highest mark
        before = resident_bytes(status, "VmHWM")
        run(look)
        print(f"  {name:16s} {(resident_bytes(status, 'VmHWM') - before) / 1e9:.2f} GB")


def resident_bytes(status: Path, field: str) -> int:
    line = next(row for row in status.read_text().splitlines() if row.startswith(field))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main()
