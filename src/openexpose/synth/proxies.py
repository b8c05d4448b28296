"""Bodies as 2D points alone, by the thousand: what a lifter learns from (`nets/lift.py`). No picture is drawn.

Poses come from the bank, recombined and jittered as in `poses.py` but all at once, without the test clips; seen by a
pinhole camera, cut as a detector would, and blurred as heatmaps err: the less sure, the further off.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from openexpose.body import BodyModel
from openexpose.errors import ConfigError
from openexpose.geometry.rotations import axis_angle_to_matrix
from openexpose.synth.pose_bank import PoseBank, mirrored
from openexpose.synth.poses import LIMBS, SOURCE_SHARE

LSP_ROWS = {"right_hip_extra": 2, "left_hip_extra": 3, "neck_extra": 12, "headtop": 13}
_UPSIDE_DOWN = np.diag([1.0, -1.0, -1.0])


@dataclass(frozen=True, eq=False)
class Proxies:
    """B bodies and what heatmaps would say about their K points."""

    at_u: Float[Tensor, "B K 2"]
    """Noisy places in [-1, 1] over the crop."""
    peak: Float[Tensor, "B K"]
    """How sure, 0 to 1; 0 outside the crop."""
    true_u: Float[Tensor, "B K 2"]
    true_m: Float[Tensor, "B K 3"]
    """Camera axes, metres, pelvis near the origin."""
    R: Float[Tensor, "B 22 3 3"]
    """Pelvis in camera axes, then the body's joints."""
    betas: Float[Tensor, "B S"]


class ProxySource:
    """`source.batch(seed, number, size)`: a pure function of its arguments."""

    def __init__(self, model: BodyModel, names: tuple[str, ...]) -> None:
        """names: of the points. Raises ConfigError for a point that the model does not have."""
        keypoints, bank = list(model.keypoint_names), PoseBank.shipped()
        absent = [n for n in names if n not in keypoints and n not in LSP_ROWS]
        if absent or "j14" not in model.regressors:
            raise ConfigError(f"{model.label} has no points {absent} or no J14 regressor")
        self.model = model
        self.rows = [len(keypoints) + LSP_ROWS[n] if n in LSP_ROWS else keypoints.index(n) for n in names]
        self.upper = torch.tensor([not any(w in n for w in ("knee", "ankle", "toe", "heel")) for n in names])
        self.swap = [names.index(_other(n)) for n in names]
        kept = ~bank.held_out
        self.poses, source = bank.rotvec_rad[kept], bank.source[kept]
        weight = np.array([SOURCE_SHARE.get(int(s), 0.0) / (source == s).sum() for s in source])
        self.share = weight / weight.sum()

    @torch.no_grad()
    def batch(self, seed: int, number: int, size: int) -> Proxies:
        """The bodies of one batch."""
        rng = np.random.default_rng((seed, number))
        g = torch.Generator().manual_seed(int(rng.integers(2**62)))
        R = axis_angle_to_matrix(torch.from_numpy(self._poses(rng, size)).float())
        R[:, 0] = torch.from_numpy(_turns(rng, size)).float() @ R[:, 0]
        betas = torch.randn(size, self.model.num_betas, generator=g).clamp(-2.8, 2.8)
        full = torch.eye(3).repeat(size, self.model.num_joints, 1, 1)
        full[:, :22] = R
        posed = self.model.shape(betas).pose(full)
        points = torch.cat([posed.keypoints_m(), posed.regressed_m("j14")], 1)[:, self.rows]
        away = torch.from_numpy(rng.uniform(2.0, 12.0, (size, 1, 1))).float()
        flat = points[..., :2] * away / (points[..., 2:] + away).clamp(min=0.3)
        true_u = self._in_crop(flat, rng)
        at_u, peak = self._as_heatmaps(true_u, g)
        return Proxies(at_u, peak, true_u, points, R, betas)

    def _poses(self, rng: np.random.Generator, size: int) -> NDArray[np.float64]:
        def some() -> NDArray[np.float64]:
            pose = self.poses[rng.choice(len(self.poses), size, p=self.share)].astype(np.float64)
            return np.where(rng.random((size, 1, 1)) < 0.5, mirrored(pose), pose)

        pose = some()
        for limb, joints in LIMBS.items():
            other, swapped = some(), rng.random(size) < (0.3 if "arm" in limb or limb == "head" else 0.12)
            place = np.ix_(swapped.nonzero()[0], np.array(joints))
            pose[place] = other[place]
        return pose + rng.normal(0, 0.08, pose.shape)

    def _in_crop(self, flat: Float[Tensor, "B K 2"], rng: np.random.Generator) -> Float[Tensor, "B K 2"]:
        """Over the crop round the whole body, or round its upper part."""
        size = len(flat)
        part = torch.from_numpy(rng.random((size, 1)) < 0.25) & ~self.upper
        low = flat.masked_fill(part[..., None], torch.inf).amin(1)
        high = flat.masked_fill(part[..., None], -torch.inf).amax(1)
        side = (high - low).amax(-1, keepdim=True) * torch.from_numpy(rng.uniform(0.95, 1.65, (size, 1))).float()
        centre = (low + high) / 2 + side * torch.from_numpy(rng.normal(0, 0.06, (size, 2))).float()
        return (flat - centre[:, None]) / side[:, None] * 2

    def _as_heatmaps(
        self, true_u: Float[Tensor, "B K 2"], g: torch.Generator
    ) -> tuple[Float[Tensor, "B K 2"], Float[Tensor, "B K"]]:
        B, K = true_u.shape[:2]
        person = 0.35 + 0.65 * torch.rand(B, 1, generator=g) ** 0.6  # some people are seen well, some are not
        sure = (person * (1 - torch.rand(B, K, generator=g) ** 3)).clamp(0, 1)
        spread = 0.015 + 0.4 * (1 - sure) ** 2
        at = true_u + spread[..., None] * torch.randn(B, K, 2, generator=g)
        lost = torch.rand(B, K, generator=g) < 0.15 * (1 - sure)
        at = torch.where(lost[..., None], 1.6 * torch.rand(B, K, 2, generator=g) - 0.8, at)
        crossed = torch.rand(B, K, generator=g) < 0.12 * (1 - sure)
        at = torch.where(crossed[..., None], at[:, self.swap], at)
        inside = (at.abs() < 1).all(-1) & (true_u.abs() < 1.05).all(-1)
        return at.clamp(-1, 1), sure * inside


def _other(name: str) -> str:
    if name.startswith("left_"):
        return "right_" + name[5:]
    return "left_" + name[6:] if name.startswith("right_") else name


def _turns(rng: np.random.Generator, size: int) -> NDArray[np.float64]:
    """From the body's upright axes to the camera's: yaw, then the camera's pitch and roll."""
    frontal = rng.random(size) < 0.45
    yaw = np.where(frontal, rng.normal(0, 0.6, size), rng.uniform(-np.pi, np.pi, size))
    pitch = np.where(rng.random(size) < 0.8, rng.normal(0, 0.2, size), rng.uniform(-0.9, 0.7, size))
    roll = np.where(rng.random(size) < 0.85, rng.normal(0, 0.35, size), rng.uniform(-np.pi, np.pi, size))
    return _about(2, roll) @ _about(0, pitch) @ _UPSIDE_DOWN @ _about(1, yaw)


def _about(axis: int, angle: NDArray[np.float64]) -> NDArray[np.float64]:
    R = np.zeros((len(angle), 3, 3))
    i, j = (axis + 1) % 3, (axis + 2) % 3
    R[:, axis, axis] = 1
    R[:, i, i] = R[:, j, j] = np.cos(angle)
    R[:, j, i], R[:, i, j] = np.sin(angle), -np.sin(angle)
    return R
