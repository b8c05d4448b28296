"""The four presets of the reference learn 16 drawn samples by heart.

    python benchmarks/overfit.py OUT [--presets ...] [--steps 60] [--batch-size 4]

Free body models, random backbones (so batch norms use the batch's statistics here), no dropout, one step size. The
whole model starts from the weights of the three others, as the preset asks, and all of it learns.
Curves: OUT/PRESET/curves.png; a table of first and last losses is printed.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console

from openexpose.train.config import DataConfig, FreezeConfig, OptimiserConfig
from openexpose.train.presets import PRESETS
from openexpose.train.run import train

ORDER = ("resnet18_hmr_expose_hand", "resnet18_hmr_expose_face", "hrnet_hmr_expose_body", "expose")


def overfit(name: str, out: Path, steps: int, batch_size: int) -> tuple[float, float]:
    """Loss over the 16 samples before the first and after the last step."""
    before = tuple(out / other / "best.safetensors" for other in ORDER[:3]) if name == "expose" else ()
    config = replace(
        PRESETS[name](),
        data=DataConfig(kind="toy", only_first=16),
        body_model="free",
        imagenet=False,
        fixed_norm=False,
        dropout=0.0,
        init=tuple(path for path in before if path.is_file()),
        freeze=FreezeConfig(),
        optimiser=OptimiserConfig(lr=1e-3, weight_decay=0.0, max_grad_norm=50.0, schedule="cosine", warmup_steps=5),
        steps=steps,
        batch_size=batch_size,
        workers=0,
        log_every=1,
        eval_every=max(steps // 6, 1),
        eval_batches=16 // batch_size,
        save_every=10**6,
        tensorboard=False,
    )
    folder = train(config, out / name, console=Console())
    losses = [row["loss"] for row in folder.read_metrics() if row["kind"] == "eval"]
    return losses[0], losses[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--presets", nargs="+", choices=ORDER, default=ORDER)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--batch-size", type=int, default=4)
    args = parser.parse_args()
    print(f"threads {torch.get_num_threads()}, {args.steps} steps of {args.batch_size}")
    for name in args.presets:
        first, last = overfit(name, args.out, args.steps, args.batch_size)
        print(f"{name:28s} loss {first:10.2f} -> {last:8.2f}   ({last / first:.1%})", flush=True)


if __name__ == "__main__":
    main()
