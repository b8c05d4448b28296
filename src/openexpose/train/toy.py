"""Stick people: training data made on the fly, so that the whole loop can be run and tested in seconds.

A random person (or hand, or head) of a body model is posed, its bones are drawn in fixed colours over noise, and its
true parameters are the labels. Each one is a pure function of (seed, position).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from openexpose.body import BodyModel
from openexpose.errors import ConfigError
from openexpose.geometry.camera import weak_project
from openexpose.geometry.crop import normalise
from openexpose.geometry.rotations import axis_angle_to_matrix
from openexpose.losses.network import Target
from openexpose.nets.config import NetConfig, PartConfig
from openexpose.skeleton import Skeleton
from openexpose.train.batch import Batch, Photos

TOY_NET = NetConfig(
    "toy",
    body=PartConfig(
        "test_efficientnet_gn",
        64,
        camera_scale=0.9,
        upside_down=True,
        num_betas=10,
        num_expression=10,
        width=256,
        dropout=0.0,
        fixed_norm=False,
    ),
    hand=None,
    head=None,
)
"""A body network of half a million parameters, without statistics over the batch."""
YAW_RAD = 0.8
"""Largest turn away from the camera."""
ONLY_2D = 0.25
"""Share of people whose 3D labels are withheld: batches are mixed, as real ones are."""


@dataclass(frozen=True)
class Kind:
    """What is drawn and labelled."""

    skeleton: str
    drawn: int
    """The first so many keypoints are drawn and labelled."""
    poses: dict[str, tuple[int, int]]
    """Label -> first joint and number of joints."""
    spread_rad: dict[int, float] = field(default_factory=dict)
    """Spread of the angles of single joints; the others of `poses` have 0.15."""
    upside_down: bool = True
    """A y-up model in a y-down camera."""


ARMS = {16: 0.5, 17: 0.5, 18: 0.5, 19: 0.5}
KINDS = {
    "people": Kind("smplx", 22, {"body_pose": (1, 21)}, ARMS),
    "whole people": Kind(
        "smplx",
        144,
        {"body_pose": (1, 21), "jaw_pose": (22, 1), "left_hand_pose": (25, 15), "right_hand_pose": (40, 15)},
        ARMS,
    ),
    "hands": Kind("freihand", 21, {"right_hand_pose": (1, 15)}, upside_down=False),
    "heads": Kind("flame", 73, {"jaw_pose": (2, 1)}),
}
FAMILY = {"smplx": "smplx", "freihand": "mano", "flame": "flame"}


class StickPeople:
    """An endless source of drawn people with labels."""

    def __init__(self, body: BodyModel, kind: str, *, crop_px: int, seed: int, samples_per_epoch: int) -> None:
        """kind: one of KINDS. Raises ConfigError if the body model is of another family."""
        self.kind = KINDS[kind]
        if body.family != FAMILY[self.kind.skeleton]:
            raise ConfigError(f"toy {kind} need a body model of family {FAMILY[self.kind.skeleton]}, not {body.label}")
        self.body, self.crop_px, self.seed = body, crop_px, seed
        self.samples_per_epoch = samples_per_epoch
        self.bones = [pair for pair in Skeleton.read(self.kind.skeleton).bones if max(pair) < self.kind.drawn]
        steps = np.arange(len(self.bones))
        self.colours = np.stack([60 + 195 * (steps * k % 7) / 6 for k in (1, 2, 4)], -1)

    @torch.no_grad()
    def batch(self, positions: Sequence[int]) -> Batch:
        """The people at these positions with their labels."""
        draws = [np.random.default_rng((self.seed, position)) for position in positions]
        size = 3 * self.body.num_joints + 30
        numbers = torch.from_numpy(np.stack([rng.standard_normal(size).astype(np.float32) for rng in draws]))
        targets, points_m, points_px = self._people(numbers)
        pictures = [
            torch.from_numpy(self._draw(k, z, rng))
            for k, z, rng in zip(points_px.numpy(), points_m[..., 2].numpy(), draws, strict=True)
        ]
        same = torch.eye(2, 3).expand(len(pictures), 2, 3)
        photos = Photos(pictures, same, torch.full((len(pictures),), float(self.crop_px)))
        return Batch(normalise(torch.stack(pictures)), targets, photos=photos, positions=tuple(positions))

    def _people(self, numbers: Float[Tensor, "B N"]) -> tuple[dict[str, Target], Tensor, Tensor]:
        B, J, kind = len(numbers), self.body.num_joints, self.kind
        angles_rad, rest = numbers[:, : 3 * J].reshape(B, J, 3), numbers[:, 3 * J :]
        spread_rad = torch.zeros(J)
        for first, count in kind.poses.values():
            spread_rad[first : first + count] = 0.15
        for joint, spread in kind.spread_rad.items():
            spread_rad[joint] = spread
        R = axis_angle_to_matrix(angles_rad * spread_rad[:, None])
        R[:, 0] = self._roots(rest[:, 0])
        betas, expression = torch.zeros(B, self.body.num_betas), torch.zeros(B, self.body.num_expression)
        betas[:, :10], expression[:, :10] = rest[:, 10:20], rest[:, 20:30][:, : expression.shape[1]]
        points_m = self.body.shape(betas, expression).pose(R).keypoints_m()
        camera = self._camera(points_m, rest[:, 1:4])
        points_px = (weak_project(points_m, camera) + 1) / 2 * (self.crop_px - 1)
        sure = (torch.arange(points_m.shape[1]) < kind.drawn).float().expand(B, -1)[..., None]
        labelled = (rest[:, 4] > _quantile(ONLY_2D)).float()
        values = {"keypoints3d": torch.cat([points_m, sure], -1), "global_orient": R[:, 0], "betas": betas}
        values |= {name: R[:, first : first + n].squeeze(1) for name, (first, n) in kind.poses.items()}
        if kind.drawn > 22:
            values["expression"] = expression
        targets = {n: Target(v * labelled.view(B, *[1] * (v.ndim - 1)), labelled) for n, v in values.items()}
        targets["keypoints2d"] = Target(torch.cat([points_px, sure], -1), torch.ones(B))
        return targets, points_m, points_px

    def _roots(self, chance: Float[Tensor, " B"]) -> Float[Tensor, "B 3 3"]:
        yaw_rad, none = YAW_RAD * torch.tanh(chance), torch.zeros_like(chance)
        turn = axis_angle_to_matrix(torch.stack([none, yaw_rad, none], -1))
        return torch.tensor([[1.0], [-1.0], [-1.0]]) * turn if self.kind.upside_down else turn

    def _camera(self, points_m: Float[Tensor, "B K 3"], numbers: Float[Tensor, "B 3"]) -> Float[Tensor, "B 3"]:
        low, high = points_m[..., :2].amin(1), points_m[..., :2].amax(1)
        scale = (1.7 + 0.1 * torch.tanh(numbers[:, 0])) / (high - low).amax(-1)
        shift_u = 0.1 * torch.tanh(numbers[:, 1:])
        return torch.cat([scale[:, None], shift_u / scale[:, None] - (low + high) / 2], -1)

    def _draw(
        self, points_px: NDArray[np.float32], depth_m: NDArray[np.float32], rng: np.random.Generator
    ) -> NDArray[np.uint8]:
        size = self.crop_px
        coarse = rng.integers(0, 120, (size // 8, size // 8, 3), np.uint8)
        photo = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_LINEAR)
        far_first = sorted(range(len(self.bones)), key=lambda i: -sum(depth_m[j] for j in self.bones[i]))
        for i in far_first:
            a, b = (tuple(round(float(x) * 16) for x in points_px[j]) for j in self.bones[i])
            width = max(size // (24 if max(self.bones[i]) < 22 else 96), 1)
            cv2.line(photo, a, b, self.colours[i].tolist(), width, cv2.LINE_AA, 4)
        return np.asarray(photo, np.uint8)


def _quantile(share: float) -> float:
    """The standard normal number below which this share lies."""
    return float(torch.erfinv(torch.tensor(2 * share - 1)) * math.sqrt(2))
