"""The four presets of the reference learn 16 drawn people by heart; curves to PNG files.

    python benchmarks/overfit.py OUT [--presets ...] [--curves docs/images]

As in the preset: networks, crop sizes, losses and their weights, which network is frozen. Otherwise: free body
models, random backbones (so batch norms use the batch's statistics), no dropout, no augmentation, bfloat16 backbones,
a larger step size that falls to zero. Cameras start where the rest pose fills the crop (from the reference's scale of
0.9, all steps of the hand would go into the camera). The body's linear regressor starts at the mean: with random
features its first answer would lie far outside the crop, and it would settle for the average body. The body learns the
people that `expose` then trains hands and head on; `expose` starts from the weights of the other three and its body
stays frozen, as the preset asks. Given again after a stop, it goes on where it was.

Norms that use the batch's statistics answer alike in training and evaluation only if the batch is everybody: after a
run in small batches, `--batch-size 16 --start OUT/PRESET/best.safetensors` in another folder finishes it.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from rich.console import Console

from openexpose.nets.build import build_codec
from openexpose.nets.means import Means, mean_vector
from openexpose.train.build import build_learner, header_of, network_config
from openexpose.train.chance import set_torch_generators
from openexpose.train.config import DataConfig, OptimiserConfig, TrainConfig
from openexpose.train.folder import RunFolder
from openexpose.train.learner import PartLearner
from openexpose.train.presets import PRESETS
from openexpose.train.run import train
from openexpose.weights.native import save_weights

ORDER = ("resnet18_hmr_expose_hand", "resnet18_hmr_expose_face", "hrnet_hmr_expose_body", "expose")
PEOPLE = 16
FILLED = 0.85
"""Share of the crop's side that drawn people fill."""


def overfit(name: str, out: Path, args: argparse.Namespace) -> RunFolder:
    """One run to its end; nothing happens if it is there already."""
    preset = PRESETS[name]()
    before: tuple[Path, ...] = ()
    if name == "expose":
        before = tuple(out / other / "best.safetensors" for other in ORDER[:3])
    else:
        before = (args.start or out / f"{name}_start.safetensors",)
    config = replace(
        preset,
        data=DataConfig(kind="toy", only_first=PEOPLE),
        body_model="free",
        imagenet=False,
        fixed_norm=False,
        dropout=0.0,
        freeze=replace(preset.freeze, dropout=False),
        init=before,
        optimiser=OptimiserConfig(
            lr=args.lr, weight_decay=0.0, max_grad_norm=args.max_grad_norm, schedule="cosine", warmup_steps=10
        ),
        precision=args.precision,
        steps=args.steps,
        batch_size=args.batch_size,
        workers=0,
        log_every=1,
        eval_every=max(args.steps // 10, 1),
        eval_batches=PEOPLE // args.batch_size,
        save_every=max(args.steps // 10, 1),
        keep=1,
        tensorboard=False,
    )
    if name != "expose" and not before[0].is_file():
        out.mkdir(parents=True, exist_ok=True)
        save_start(replace(config, init=()), before[0])
    return train(config, out / name, console=Console())


def save_start(config: TrainConfig, path: Path) -> None:
    """Write random weights of one network whose camera starts where the rest pose fills FILLED of the crop."""
    set_torch_generators(config.seed)
    learner, net = build_learner(config), network_config(config)
    assert isinstance(learner, PartLearner)
    part, body = net.part(learner.part), learner.body_model
    R = torch.eye(3).repeat(1, body.num_joints, 1, 1)
    R[:, 0] *= torch.tensor([1.0, -1.0, -1.0])[:, None] if part.upside_down else 1.0
    neutral = torch.zeros(1, body.num_expression) if body.num_expression else None
    points_m = body.shape(torch.zeros(1, body.num_betas), neutral).pose(R).keypoints_m()
    low, high = points_m[0, :, :2].amin(0), points_m[0, :, :2].amax(0)
    codec = build_codec(learner.part, part)
    scale = float(2 * FILLED / (high - low).max())
    mean = mean_vector(codec, replace(part, camera_scale=scale), Means(), is_body=learner.part == "body")
    mean[codec.slices["camera"]][1:] = -(low + high) / 2
    state = learner.network.state_dict()
    if isinstance(learner.network[learner.part].regressor.activation, torch.nn.Identity):
        state[f"{learner.part}.regressor.output.weight"].zero_()
    state[f"{learner.part}.regressor.mean_param"] = mean[None]
    save_weights(state, path, header_of(config, net))


def draw(name: str, rows: list[dict[str, Any]], path: Path) -> None:
    """Training loss of every step, and what evaluations measured on the 16."""
    figure = Figure(figsize=(8, 3), dpi=80, layout="constrained")
    left, right = figure.subplots(1, 2)
    steps = [row for row in rows if row["kind"] == "train"]
    exams = [row for row in rows if row["kind"] == "eval"]
    left.plot([r["step"] for r in steps], [r["loss"] for r in steps], linewidth=0.8, label="batch")
    left.plot([r["step"] for r in exams], [r["loss"] for r in exams], "o-", markersize=3, label="all 16")
    left.set_title(f"{name}: loss", fontsize=9)
    for metric, unit in (("points_px", "px in the crop"), ("joints_mm", "mm")):
        values = [r.get(metric, 0.0) for r in exams]
        if any(values):
            right.plot([r["step"] for r in exams], values, "o-", markersize=3, label=f"{metric} ({unit})")
    right.set_title("mean distance of keypoints", fontsize=9)
    for axes in (left, right):
        axes.set_yscale("log")
        axes.set_xlabel("step", fontsize=8)
        axes.tick_params(labelsize=7, which="both")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Software": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--presets", nargs="+", choices=ORDER, default=ORDER)
    parser.add_argument("--start", type=Path, help="weights of one preset to begin with; default: random ones")
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--max-grad-norm", type=float, default=50.0)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="bf16")
    parser.add_argument("--curves", type=Path, help="folder for overfit_PRESET.png; default OUT")
    args = parser.parse_args()
    if args.start and (len(args.presets) > 1 or "expose" in args.presets):
        parser.error("--start goes with one preset, and `expose` starts from the other three")
    print(f"threads {torch.get_num_threads()}, {args.steps} steps of {args.batch_size}, {args.precision}, lr {args.lr}")
    for name in args.presets:
        began = time.process_time()
        rows = overfit(name, args.out, args).read_metrics()
        exams = [row for row in rows if row["kind"] == "eval"]
        draw(name, rows, (args.curves or args.out) / f"overfit_{name}.png")
        cells = [
            f"{key} {exams[0][key]:.4g} -> {exams[-1][key]:.4g}"
            for key in ("loss", "points_px", "joints_mm")
            if exams[0].get(key)
        ]
        print(f"{name:26s} {', '.join(cells)}   ({time.process_time() - began:.0f} s of CPU)", flush=True)


if __name__ == "__main__":
    main()
