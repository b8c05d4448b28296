"""Training of the lifters: from noisy 2D points to bodies, hands, heads; minutes on a CPU, no photo needed."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from openexpose.body import load_model
from openexpose.errors import ConfigError, WeightsError
from openexpose.geometry.camera import weak_project
from openexpose.losses.network import Target
from openexpose.losses.terms import angle_rad
from openexpose.nets.build import FREE_MODELS, TOLD, build_codec, build_lifter
from openexpose.nets.codec import Codec
from openexpose.nets.config import PRESETS, PartConfig
from openexpose.nets.means import Means, mean_vector
from openexpose.nets.params import PARAMS, BodyParams, Part
from openexpose.readers import write_atomically
from openexpose.synth.proxies import BodyProxies, Proxies
from openexpose.synth.proxy_parts import HandProxies, HeadProxies
from openexpose.synth.sets import check_training_seed
from openexpose.train.chance import set_torch_generators
from openexpose.train.presets import PRESETS as PRESETS_OF_RUNS
from openexpose.train.side import OwnSurface, near_truth

SOURCES: Mapping[Part, type[BodyProxies | HandProxies | HeadProxies]] = {
    "body": BodyProxies,
    "hand": HandProxies,
    "head": HeadProxies,
}
WEIGHTS: Mapping[Part, Mapping[str, float]] = {
    "body": {"points2d": 20.0, "points3d": 30.0, "global_orient": 1.5, "body_pose": 8.0, "betas": 0.02},
    "hand": {"points2d": 20.0, "points3d": 100.0, "global_orient": 1.5, "right_hand_pose": 4.0, "betas": 0.02,
             "surface": 1.0},
    "head": {"points2d": 10.0, "points3d": 50.0, "global_orient": 3.0, "jaw_pose": 1.0, "betas": 0.002,
             "expression": 0.005, "surface": 3.0},
}  # fmt: skip
"""Of each loss: points in half crop sides and metres, rotations in radians, sums of squared coefficients, vertices in
mm. Landmarks alone would bend a head's shape until the perspective fits."""


@dataclass(frozen=True)
class LiftConfig:
    """One training of a lifter."""

    part: Part = "body"
    """Whose: body, hand or head."""
    preset: str = "lite"
    """Network preset whose part has a lifter."""
    steps: int = 8000
    """Steps of the optimiser."""
    batch_size: int = 256
    """People at once."""
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
        """out: folder; `state.pt` in it is gone on from.

        Raises ConfigError if the preset's part has no lifter, or the folder has another part's.
        """
        whole = PRESETS[config.preset]() if config.preset in PRESETS else None
        part: PartConfig | None = None if whole is None else getattr(whole, config.part)
        if part is None or not part.lift:
            raise ConfigError(f"preset {config.preset!r} has no {config.part} lifter to train")
        set_torch_generators(config.seed)
        self.config, self.out = config, out
        self.codec: Codec[Any] = build_codec(config.part, part)
        self.lifter = build_lifter(config.part, part, self.codec)
        self.mean = mean_vector(self.codec, part, Means(), is_body=config.part == "body")[None]
        model = load_model(FREE_MODELS[config.part], num_betas=part.num_betas, num_expression=part.num_expression)
        self.source = SOURCES[config.part](model, part.points)
        self.surface = OwnSurface(model)
        self.optimiser = torch.optim.AdamW(self.lifter.parameters(), lr=config.lr, weight_decay=1e-4)
        self.step = 0
        state = out / "state.pt"
        if state.is_file():
            kept = _read(state)
            if kept["part"] != config.part:
                raise ConfigError(f"{state} is a lifter of the {kept['part']}, not of the {config.part}")
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
        """Weighted losses of one batch, by name."""
        estimate = self.codec.split(self.lifter(truth.at_u, truth.peak, self.mean, self._start(truth)))
        params, size = estimate.params, len(truth.at_u)
        points = self.source.points_m(self.source.posed(vars(params)))
        near = (truth.true_u.abs() < 1.3).all(-1)
        apart_u = (weak_project(points, estimate.camera) - truth.true_u).abs().sum(-1)
        centred, wanted = (x - x.mean(1, keepdim=True) for x in (points, truth.true_m))
        terms = {
            "points2d": (apart_u * near).sum() / near.sum(),
            "points3d": (centred - wanted).abs().sum(-1).mean(),
        }
        for name, true in truth.params.items():
            got: Tensor = getattr(params, name)
            turned = got.shape[-1] == 3 and got.ndim > 2
            terms[name] = angle_rad(got, true).mean() if turned else (got - true).square().sum() / size
        if not isinstance(params, BodyParams):
            known = {name: Target(value, torch.ones(size)) for name, value in truth.params.items()}
            known["keypoints2d"] = Target(torch.ones(size, 1, 3), torch.ones(size))
            terms["surface"] = self.surface.apart(params, known).value
        return {name: weight * terms[name] for name, weight in WEIGHTS[self.config.part].items()}

    def _start(self, truth: Proxies) -> Tensor | None:
        """First guesses as the body network hands them over, for lifters that are shown them."""
        if not len(self.lifter.told):
            return None
        everyone = torch.ones(len(truth.at_u))
        told = {name: Target(truth.params[name], everyone) for name in TOLD[self.config.part]}
        return near_truth(self.mean, self.codec, told, PRESETS_OF_RUNS["lite_hand"]().disturb)

    def save(self) -> None:
        """Write everything needed to go on, all or nothing."""
        with write_atomically(self.out / "state.pt") as temporary:
            torch.save(
                {
                    "part": self.config.part,
                    "lifter": self.lifter.state_dict(),
                    "optimiser": self.optimiser.state_dict(),
                    "step": self.step,
                },
                temporary,
            )

    def state(self) -> dict[str, Tensor]:
        """The lifter's tensors under their names in the whole model."""
        return {f"{self.config.part}.lifter.{k}": v for k, v in self.lifter.state_dict().items()}


def read_lifter(path: Path) -> tuple[Part, dict[str, Tensor]]:
    """Whose lifter a run's state.pt holds, and its tensors. Raises WeightsError if it is missing or damaged."""
    kept = _read(path)
    return kept["part"], kept["lifter"]


def _read(path: Path) -> dict[str, Any]:
    try:
        kept = torch.load(path, weights_only=True)
        if {"part", "lifter", "optimiser", "step"} - set(kept) or kept["part"] not in PARAMS:
            raise ValueError("other keys")
    except (OSError, RuntimeError, ValueError, TypeError, EOFError, UnpicklingError) as e:
        raise WeightsError(f"{path} is missing, or not the state of a lifter's training ({e})") from e
    return dict(kept)
