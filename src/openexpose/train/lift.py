"""Training of the lifter: from noisy 2D points to bodies, on points alone; minutes on a CPU, no photo needed."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from openexpose.body import BodyModel, load_model
from openexpose.errors import ConfigError, WeightsError
from openexpose.geometry.camera import weak_project
from openexpose.losses.terms import angle_rad
from openexpose.nets.build import build_codec, build_lifter
from openexpose.nets.codec import Codec
from openexpose.nets.config import PRESETS
from openexpose.nets.means import Means, mean_vector
from openexpose.readers import write_atomically
from openexpose.synth.proxies import Proxies, ProxySource
from openexpose.synth.sets import check_training_seed
from openexpose.train.chance import set_torch_generators

PREFIX = "body.lifter."


@dataclass(frozen=True)
class LiftConfig:
    """One training of a lifter."""

    preset: str = "lite"
    """Network preset whose body has a lifter."""
    steps: int = 8000
    """Steps of the optimiser."""
    batch_size: int = 256
    """Bodies at once."""
    lr: float = 1e-3
    """Step size at the start; it falls to zero along a cosine."""
    seed: int = 0
    """Everything random follows from it."""
    save_every: int = 500
    """Steps between files to go on from."""

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch_size < 1 or self.lr <= 0 or self.save_every < 1:
            raise ConfigError(f"{self}: steps, batch_size, lr and save_every must be positive")
        check_training_seed(self.seed)


class LiftRun:
    """A training that can stop and go on: `for numbers in LiftRun(config, out): ...`."""

    def __init__(self, config: LiftConfig, out: Path) -> None:
        """out: folder; `state.pt` in it is gone on from. Raises ConfigError if the preset has no lifter."""
        body = PRESETS[config.preset]().part("body") if config.preset in PRESETS else None
        if body is None or not body.lift:
            raise ConfigError(f"preset {config.preset!r} has no lifter to train")
        set_torch_generators(config.seed)
        self.config, self.out = config, out
        self.codec: Codec[Any] = build_codec("body", body)
        self.lifter = build_lifter(body, self.codec)
        self.mean = mean_vector(self.codec, body, Means(), is_body=True)[None]
        self.model: BodyModel = load_model("free")
        self.source = ProxySource(self.model, body.points)
        self.optimiser = torch.optim.AdamW(self.lifter.parameters(), lr=config.lr, weight_decay=1e-4)
        self.step = 0
        state = out / "state.pt"
        if state.is_file():
            kept = _read(state)
            self.lifter.load_state_dict(kept["lifter"])
            self.optimiser.load_state_dict(kept["optimiser"])
            self.step = int(kept["step"])

    def __iter__(self) -> Iterator[dict[str, float]]:
        """Train to the end, saving on the way; gives the numbers of each step."""
        c = self.config
        while self.step < c.steps:
            share = self.step / c.steps
            for group in self.optimiser.param_groups:
                group["lr"] = c.lr * min(1, (self.step + 1) / 100) * 0.5 * (1 + math.cos(math.pi * share))
            terms = self.losses(self.source.batch(c.seed, self.step, c.batch_size))
            loss = torch.stack(list(terms.values())).sum()
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.lifter.parameters(), 2.0)
            self.optimiser.step()
            self.step += 1
            if self.step % c.save_every == 0 or self.step == c.steps:
                self.save()
            yield {name: float(value.detach()) for name, value in terms.items()}

    def losses(self, truth: Proxies) -> dict[str, Tensor]:
        """Weighted losses of one batch: points (half crop sides and metres), rotations (rad), shape."""
        estimate = self.codec.split(self.lifter(truth.at_u, truth.peak, self.mean))
        p = estimate.params
        posed = self.model.shape(p.betas, p.expression).pose(p.R_parent_child())
        points = torch.cat([posed.keypoints_m(), posed.regressed_m("j14")], 1)[:, self.source.rows]
        near = (truth.true_u.abs() < 1.3).all(-1)
        apart_u = (weak_project(points, estimate.camera) - truth.true_u).abs().sum(-1)
        centred, wanted = (x - x.mean(1, keepdim=True) for x in (points, truth.true_m))
        return {
            "points2d": 20.0 * (apart_u * near).sum() / near.sum(),
            "points3d": 30.0 * (centred - wanted).abs().sum(-1).mean(),
            "global_orient": 1.5 * angle_rad(p.global_orient, truth.R[:, 0]).mean(),
            "body_pose": 8.0 * angle_rad(p.body_pose, truth.R[:, 1:]).mean(),
            "betas": 0.02 * (p.betas - truth.betas).square().sum(-1).mean(),
        }

    def save(self) -> None:
        """Write everything needed to go on, all or nothing."""
        with write_atomically(self.out / "state.pt") as temporary:
            torch.save(
                {"lifter": self.lifter.state_dict(), "optimiser": self.optimiser.state_dict(), "step": self.step},
                temporary,
            )

    def state(self) -> dict[str, Tensor]:
        """The lifter's tensors under their names in the whole model."""
        return {PREFIX + k: v for k, v in self.lifter.state_dict().items()}


def read_lifter(path: Path) -> dict[str, Tensor]:
    """The lifter's tensors out of a run's state.pt. Raises WeightsError if it is missing or damaged."""
    tensors: dict[str, Tensor] = _read(path)["lifter"]
    return tensors


def _read(path: Path) -> dict[str, Any]:
    try:
        kept = torch.load(path, weights_only=True)
        if {"lifter", "optimiser", "step"} - set(kept):
            raise ValueError("other keys")
    except (OSError, RuntimeError, ValueError, TypeError, EOFError, UnpicklingError) as e:
        raise WeightsError(f"{path} is missing, or not the state of a lifter's training ({e})") from e
    return dict(kept)
