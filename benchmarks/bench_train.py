"""Where a training step's time goes, and what landmarks cost beside whole meshes.

    python benchmarks/bench_train.py [--networks toy lite-body expose-body] [--steps 20] [--batch-size 8]

Drawn people of the free body model are the data, so no file is needed. Milliseconds are medians over the steps;
"loop" is the rest of the time from one logged step to the next: writing down every step, watching, bookkeeping.
"""

import argparse
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

from openexpose.body import load_model
from openexpose.train.config import DataConfig
from openexpose.train.folder import RunFolder
from openexpose.train.presets import toy
from openexpose.train.run import train

PARTS = ("data_ms", "forward_ms", "backward_ms", "optimiser_ms")


def step_times(network: str, steps: int, batch_size: int, precision: str) -> dict[str, float]:
    """Medians of each part of a step, in milliseconds."""
    config = replace(
        toy(),
        network=network,
        data=DataConfig(kind="toy", samples_per_epoch=1000),
        steps=steps + 3,
        batch_size=batch_size,
        precision=precision,
        eval_batches=1,
        eval_every=10**6,
        save_every=10**6,
        log_every=1,
        tensorboard=False,
        report=False,
    )
    with tempfile.TemporaryDirectory() as folder:
        train(config, Path(folder))
        rows = [row for row in RunFolder(Path(folder), tensorboard=False).read_metrics() if row["kind"] == "train"][3:]
    found = {name: statistics.median(row[name] for row in rows) for name in PARTS}
    whole = [1000 * (b["at_s"] - a["at_s"]) for a, b in zip(rows, rows[1:], strict=False)]
    rest = [ms - sum(row[p] for p in PARTS) for ms, row in zip(whole, rows[1:], strict=True)]
    return found | {"step_ms": statistics.median(whole), "loop_ms": statistics.median(rest)}


def landmark_times(batch_size: int) -> tuple[float, float]:
    """Milliseconds of forward and backward through 144 keypoints, and through the whole mesh."""
    model = load_model("free")
    R = torch.eye(3).repeat(batch_size, model.num_joints, 1, 1).requires_grad_()
    betas = torch.zeros(batch_size, model.num_betas, requires_grad=True)
    times: list[list[float]] = [[], []]
    for _ in range(8):
        for kind in (0, 1):
            begin = time.perf_counter()
            posed = model.shape(betas, torch.zeros(batch_size, model.num_expression)).pose(R)
            points_m = posed.keypoints_m() if kind == 0 else posed.skin().vertices_m
            points_m.sum().backward()
            times[kind].append(1000 * (time.perf_counter() - begin))
    return statistics.median(times[0]), statistics.median(times[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=["toy", "lite-body"])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    args = parser.parse_args()
    print(
        f"threads {torch.get_num_threads()}, batch {args.batch_size}, {args.precision}, medians of {args.steps} steps"
    )
    print(
        f"{'network':14s}"
        + "".join(f"{p.removesuffix('_ms'):>11s}" for p in PARTS)
        + "       loop   loop %   samples/s"
    )
    for network in args.networks:
        t = step_times(network, args.steps, args.batch_size, args.precision)
        cells = "".join(f"{t[p]:11.1f}" for p in (*PARTS, "loop_ms"))
        share, speed = 100 * t["loop_ms"] / t["step_ms"], 1000 * args.batch_size / t["step_ms"]
        print(f"{network:14s}{cells}{share:9.2f}{speed:12.1f}")
    points, mesh = landmark_times(args.batch_size)
    print(f"keypoints {points:.1f} ms, whole mesh {mesh:.1f} ms (forward and backward): {mesh / points:.1f} times")


if __name__ == "__main__":
    main()
