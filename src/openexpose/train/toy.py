"""Stick people: training data made on the fly, so that the whole loop can be run and tested in seconds.

A random person of the body model is posed, its bones are drawn in fixed colours over noise, and its true parameters
are the labels. A person is a pure function of (seed, position).
"""

import math
from collections.abc import Sequence

import cv2
import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from openexpose.body import BodyModel
from openexpose.errors import ConfigError
from openexpose.geometry.camera import weak_project
from openexpose.geometry.rotations import axis_angle_to_matrix
from openexpose.losses.network import Target
from openexpose.nets.config import NetConfig, PartConfig
from openexpose.skeleton import Skeleton
from openexpose.train.batch import Batch

UPSIDE_DOWN = torch.tensor([1.0, -1.0, -1.0])
"""Diagonal of the rotation from the body's axes (y up) to the camera's (y down)."""
ARMS = (15, 16, 17, 18)
"""Rows of `body_pose` for shoulders and elbows, which move most."""
LOOSE_RAD, ARM_RAD, YAW_RAD = 0.15, 0.5, 0.8
"""Spread of joint angles, of arm angles, and the largest turn away from the camera."""
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
DRAWN = 22
"""The first keypoints, pelvis to wrists, are drawn and labelled; hands and face are not."""
ONLY_2D = 0.25
"""Share of people whose 3D labels are withheld: batches are mixed, as real ones are."""


class StickPeople:
    """An endless source of drawn people with labels."""

    def __init__(self, body: BodyModel, *, crop_px: int, seed: int, samples_per_epoch: int) -> None:
        """body: of the SMPL-X family (FreeBody). Raises ConfigError for other body models."""
        if body.family != "smplx":
            raise ConfigError(f"the toy data needs a whole body (family smplx), not {body.label}")
        self.body, self.crop_px, self.seed = body, crop_px, seed
        self.samples_per_epoch = samples_per_epoch
        skeleton = Skeleton.read("smplx")
        self.bones = [pair for pair in skeleton.bones if max(pair) < DRAWN]
        steps = np.arange(len(self.bones))
        self.colours = np.stack([60 + 195 * (steps * k % 7) / 6 for k in (1, 2, 4)], -1)

    @torch.no_grad()
    def batch(self, positions: Sequence[int]) -> Batch:
        """The people at these positions with their labels."""
        draws = [np.random.default_rng((self.seed, position)) for position in positions]
        numbers = torch.from_numpy(np.stack([rng.standard_normal(64 + 8 + 10).astype(np.float32) for rng in draws]))
        targets, points_m, points_px = self._people(numbers)
        keypoints = points_px.numpy()
        depth_m = points_m[..., 2].numpy()
        photos = np.stack([self._draw(k, z, rng) for k, z, rng in zip(keypoints, depth_m, draws, strict=True)])
        crops = (torch.from_numpy(photos).permute(0, 3, 1, 2).float() / 255 - 0.45) / 0.23
        return Batch(crops, targets, positions=tuple(positions))

    def _people(self, numbers: Float[Tensor, "B 82"]) -> tuple[dict[str, Target], Tensor, Tensor]:
        B = len(numbers)
        angles_rad = numbers[:, :63].reshape(B, 21, 3) * LOOSE_RAD
        angles_rad[:, list(ARMS)] *= ARM_RAD / LOOSE_RAD
        yaw_rad = YAW_RAD * torch.tanh(numbers[:, 63])
        turn = axis_angle_to_matrix(torch.stack([torch.zeros(B), yaw_rad, torch.zeros(B)], -1))
        global_orient = UPSIDE_DOWN[:, None] * turn
        R = torch.eye(3).repeat(B, self.body.num_joints, 1, 1)
        R[:, 0], R[:, 1:22] = global_orient, axis_angle_to_matrix(angles_rad)
        betas = torch.zeros(B, self.body.num_betas)
        betas[:, :10] = numbers[:, 72:82][:, : self.body.num_betas]
        points_m = self.body.shape(betas, torch.zeros(B, self.body.num_expression)).pose(R).keypoints_m()
        camera = self._camera(points_m, numbers[:, 64:67])
        points_px = (weak_project(points_m, camera) + 1) / 2 * (self.crop_px - 1)
        sure = (torch.arange(points_m.shape[1]) < DRAWN).float().expand(B, -1)[..., None]
        known, labelled = torch.ones(B), (numbers[:, 67] > _quantile(ONLY_2D)).float()
        hide = labelled[:, None, None]
        targets = {
            "keypoints2d": Target(torch.cat([points_px, sure], -1), known),
            "keypoints3d": Target(torch.cat([points_m, sure], -1) * hide, labelled),
            "global_orient": Target(global_orient * hide, labelled),
            "body_pose": Target(R[:, 1:22] * hide[..., None], labelled),
            "betas": Target(betas * labelled[:, None], labelled),
        }
        return targets, points_m, points_px

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
        width = max(size // 24, 1)
        far_first = sorted(range(len(self.bones)), key=lambda i: -sum(depth_m[j] for j in self.bones[i]))
        for i in far_first:
            a, b = (tuple(round(float(x) * 16) for x in points_px[j]) for j in self.bones[i])
            cv2.line(photo, a, b, self.colours[i].tolist(), width, cv2.LINE_AA, 4)
        return np.asarray(photo, np.uint8)


def _quantile(share: float) -> float:
    """The standard normal number below which this share lies."""
    return float(torch.erfinv(torch.tensor(2 * share - 1)) * math.sqrt(2))
