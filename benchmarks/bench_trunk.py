"""Forward and backward of a small backbone as it trains, plain and with `nets.quick_points`, side by side.

    python benchmarks/bench_trunk.py [--threads 1] [--batch-size 32] [--size 160] [--shallow]

The stages up to stride 8 are frozen, as in the recipe of the weights that ship. All forms take turns; the best of the
repeats counts, in this process's own CPU time. Random weights: speed does not depend on them.
"""

import argparse
import copy
import time

import torch
from torch import nn

from openexpose.nets.points import PointBackbone
from openexpose.nets.quick_points import quicken_early, quicken_late


def backbone(*, deep: bool, depthwise: bool) -> PointBackbone:
    """As in training: first stages frozen, batch norms with fixed statistics."""
    made = PointBackbone(num_points=25, deep=deep, fine=48, depth=True)
    made.freeze_early()
    if not depthwise:
        made.freeze_depthwise()
    made.train()
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    return made


def quickened(plain: PointBackbone, dtype: torch.dtype) -> PointBackbone:
    """A copy whose trunk runs in `dtype`."""
    quick = copy.deepcopy(plain)
    quicken_early(quick.trunk, dtype)
    quicken_late(quick.trunk, dtype)
    return quick


def step_ms(net: PointBackbone, picture: torch.Tensor, *, short: bool) -> float:
    """Milliseconds of this process for one forward and backward."""
    begin = time.process_time()
    finest, *maps = net.trunk(picture)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=short):
        _, logits = net.drawn(finest, maps)
    logits.float().logsumexp((2, 3)).mean().backward()
    net.zero_grad(set_to_none=True)
    return 1000 * (time.process_time() - begin)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--shallow", action="store_true", help="to stride 16, as hands and heads")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    picture = torch.randn(args.batch_size, 3, args.size, args.size).contiguous(memory_format=torch.channels_last)
    print(f"threads {args.threads}, {args.batch_size} crops of {args.size} px, best of {args.repeats}, CPU time")
    for depthwise in (False, True):
        plain = backbone(deep=not args.shallow, depthwise=depthwise)
        forms = {
            "plain trunk, bfloat16 after it": (plain, True),
            "quick, float32": (quickened(plain, torch.float32), False),
            "quick, bfloat16": (quickened(plain, torch.bfloat16), True),
        }
        best = dict.fromkeys(forms, float("inf"))
        for _ in range(args.repeats + 1):
            for name, (net, short) in forms.items():
                best[name] = min(best[name], step_ms(net, picture, short=short))
        print(f"depthwise filters {'learn' if depthwise else 'frozen'}")
        first = best["plain trunk, bfloat16 after it"]
        for name, ms in best.items():
            print(f"  {name:32s} {ms:8.0f} ms   {first / ms:5.2f} x")


if __name__ == "__main__":
    main()
