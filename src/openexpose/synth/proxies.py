"""People as 2D points alone, by the thousand: what a lifter learns from (`nets/lift.py`). No picture is drawn.

Seen by a pinhole camera, cut as a detector or the attention would, and blurred as heatmaps err: the less sure, the
further off. Here is what bodies, hands and heads share, and bodies; `proxy_parts.py` has hands and heads. Poses of
bodies come from the bank, recombined and jittered as in `poses.py` but all at once, without the test clips.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from openexpose.body import BodyModel, Posed
from openexpose.errors import ConfigError
from openexpose.geometry.rotations import axis_angle_to_matrix
from openexpose.nets.points import leg_rows
from openexpose.skeleton import J14_EXTRAS, Skeleton
from openexpose.synth.pose_bank import PoseBank, mirrored
from openexpose.synth.poses import LIMBS, SOURCE_SHARE

_UPSIDE_DOWN = np.diag([1.0, -1.0, -1.0])


@dataclass(frozen=True, eq=False)
class Proxies:
    """B people and what heatmaps would say about their K points."""

    at_u: Float[Tensor, "B K 2"]
    """Noisy places in [-1, 1] over the crop."""
    peak: Float[Tensor, "B K"]
    """How sure, 0 to 1; 0 outside the crop."""
    true_u: Float[Tensor, "B K 2"]
    true_m: Float[Tensor, "B K 3"]
    """Camera axes, metres, the model's origin near 0."""
    params: Mapping[str, Tensor]
    """The truth by the names of the network's vector: rotations ((B, 3, 3) or (B, J, 3, 3), root in camera axes),
    betas, expression."""


@dataclass(frozen=True)
class Sight:
    """How the points of a part are seen, and how its heatmaps err."""

    away_m: tuple[float, float]
    """Distance of the camera."""
    side: tuple[float, float]
    """Side of the crop over the longer side of the points' box."""
    shift: float
    """Spread of the crop's middle, in sides."""
    near_u: float
    """Spread of a sure point, in half crop sides."""
    far_u: float
    """What is added to it when nothing is sure."""
    lost: float
    """How often a doubtful point lies anywhere."""
    crossed: float
    """How often a doubtful point lies on its twin of the other side."""


class ProxySource(ABC):
    """`source.batch(seed, number, size)`: a pure function of its arguments."""

    def __init__(self, model: BodyModel, names: tuple[str, ...], sight: Sight) -> None:
        """names: of the points. Raises ConfigError for a point that the model does not have."""
        keypoints, lsp = list(model.keypoint_names), J14_EXTRAS if "j14" in model.regressors else {}
        absent = [n for n in names if n not in keypoints and n not in lsp]
        if absent:
            raise ConfigError(f"{model.label} has no points {absent}")
        self.model, self.sight = model, sight
        self._lsp = [lsp[n] for n in names if n in lsp]
        self._rows = [len(keypoints) + self._lsp.index(lsp[n]) if n in lsp else keypoints.index(n) for n in names]
        self._swap = list(Skeleton("points", names).flip_permutation)

    @abstractmethod
    def draw(self, rng: np.random.Generator, size: int) -> Mapping[str, Tensor]:
        """True parameters of so many people, without noise of the image."""

    @abstractmethod
    def posed(self, params: Mapping[str, Tensor]) -> Posed:
        """The body model in these parameters."""

    def points_m(self, posed: Posed) -> Float[Tensor, "B K 3"]:
        """The network's points on a posed model, metres."""
        every = posed.keypoints_m()
        if self._lsp:
            every = torch.cat([every, posed.regressed_m("j14")[:, self._lsp]], 1)
        return every[:, self._rows]

    @torch.no_grad()
    def batch(self, seed: int, number: int, size: int) -> Proxies:
        """The people of one batch."""
        rng = np.random.default_rng((seed, number))
        g = torch.Generator().manual_seed(int(rng.integers(2**62)))
        params = self.draw(rng, size)
        points = self.points_m(self.posed(params))
        away = torch.from_numpy(rng.uniform(*self.sight.away_m, (size, 1, 1))).float()
        flat = points[..., :2] * away / (points[..., 2:] + away).clamp(min=0.15 * self.sight.away_m[0])
        true_u = self._in_crop(flat, rng)
        at_u, peak = self._as_heatmaps(true_u, g)
        return Proxies(at_u, peak, true_u, points, params)

    def outside(self, rng: np.random.Generator, size: int) -> NDArray[np.bool_]:
        """Which points of each person the box was not drawn round, (size, K) or (size, 1)."""
        return np.zeros((size, 1), bool)

    def _in_crop(self, flat: Float[Tensor, "B K 2"], rng: np.random.Generator) -> Float[Tensor, "B K 2"]:
        size = len(flat)
        apart = torch.from_numpy(self.outside(rng, size))[..., None]
        low = flat.masked_fill(apart, torch.inf).amin(1)
        high = flat.masked_fill(apart, -torch.inf).amax(1)
        factor = torch.from_numpy(rng.uniform(*self.sight.side, (size, 1))).float()
        side = (high - low).amax(-1, keepdim=True) * factor
        centre = (low + high) / 2 + side * torch.from_numpy(rng.normal(0, self.sight.shift, (size, 2))).float()
        return (flat - centre[:, None]) / side[:, None] * 2

    def _as_heatmaps(
        self, true_u: Float[Tensor, "B K 2"], g: torch.Generator
    ) -> tuple[Float[Tensor, "B K 2"], Float[Tensor, "B K"]]:
        (B, K), s = true_u.shape[:2], self.sight
        person = 0.35 + 0.65 * torch.rand(B, 1, generator=g) ** 0.6  # some people are seen well, some are not
        sure = (person * (1 - torch.rand(B, K, generator=g) ** 3)).clamp(0, 1)
        spread = s.near_u + s.far_u * (1 - sure) ** 2
        at = true_u + spread[..., None] * torch.randn(B, K, 2, generator=g)
        lost = torch.rand(B, K, generator=g) < s.lost * (1 - sure)
        at = torch.where(lost[..., None], 1.6 * torch.rand(B, K, 2, generator=g) - 0.8, at)
        crossed = torch.rand(B, K, generator=g) < s.crossed * (1 - sure)
        at = torch.where(crossed[..., None], at[:, self._swap], at)
        inside = (at.abs() < 1).all(-1) & (true_u.abs() < 1.05).all(-1)
        return at.clamp(-1, 1), sure * inside


class BodyProxies(ProxySource):
    """Whole bodies: pelvis and the 21 joints after it, and the shape."""

    def __init__(self, model: BodyModel, names: tuple[str, ...]) -> None:
        super().__init__(model, names, Sight((2.0, 12.0), (0.95, 1.65), 0.06, 0.015, 0.4, 0.15, 0.12))
        bank = PoseBank.shipped()
        kept = ~bank.held_out
        self._poses, source = bank.rotvec_rad[kept], bank.source[kept]
        weight = np.array([SOURCE_SHARE.get(int(s), 0.0) / (source == s).sum() for s in source])
        self._share = weight / weight.sum()
        self._legs = np.isin(np.arange(len(names)), leg_rows(names))

    def draw(self, rng: np.random.Generator, size: int) -> Mapping[str, Tensor]:
        """Poses of the bank, each limb now and then from another one."""
        R = axis_angle_to_matrix(torch.from_numpy(self.mixed(rng, size)).float())
        root = torch.from_numpy(turns(rng, size, frontal=0.45, spread=(0.6, 0.2, 0.35))).float() @ R[:, 0]
        betas = torch.from_numpy(rng.normal(0, 1, (size, self.model.num_betas))).float().clamp(-2.8, 2.8)
        return {"global_orient": root, "body_pose": R[:, 1:], "betas": betas}

    def posed(self, params: Mapping[str, Tensor]) -> Posed:
        """FreeBody with open hands and a neutral face."""
        full = torch.eye(3).repeat(len(params["betas"]), self.model.num_joints, 1, 1)
        full[:, 0], full[:, 1:22] = params["global_orient"], params["body_pose"]
        return self.model.shape(params["betas"]).pose(full)

    def outside(self, rng: np.random.Generator, size: int) -> NDArray[np.bool_]:
        """A quarter of the boxes are drawn round the upper body."""
        return (rng.random((size, 1)) < 0.25) & self._legs

    def mixed(self, rng: np.random.Generator, size: int) -> NDArray[np.float64]:
        """(size, 22, 3) rotation vectors of poses as `draw` has them, the pelvis free of yaw."""

        def some() -> NDArray[np.float64]:
            pose = self._poses[rng.choice(len(self._poses), size, p=self._share)].astype(np.float64)
            return np.where(rng.random((size, 1, 1)) < 0.5, mirrored(pose), pose)

        pose = some()
        for limb, joints in LIMBS.items():
            other, swapped = some(), rng.random(size) < (0.3 if "arm" in limb or limb == "head" else 0.12)
            place = np.ix_(swapped.nonzero()[0], np.array(joints))
            pose[place] = other[place]
        return pose + rng.normal(0, 0.06, pose.shape)


def turns(
    rng: np.random.Generator, size: int, *, frontal: float, spread: tuple[float, float, float]
) -> Float[np.ndarray, "B 3 3"]:
    """From a person's upright axes (y up) to the camera's: yaw, then the camera's pitch and roll.

    frontal: share of people that look at the camera, more or less.   spread: of yaw, pitch and roll, radians; one in
    six or so is further off.
    """
    yaw = np.where(rng.random(size) < frontal, rng.normal(0, spread[0], size), rng.uniform(-np.pi, np.pi, size))
    pitch = np.where(rng.random(size) < 0.8, rng.normal(0, spread[1], size), rng.uniform(-0.9, 0.7, size))
    roll = np.where(rng.random(size) < 0.85, rng.normal(0, spread[2], size), rng.uniform(-np.pi, np.pi, size))
    return _about(2, roll) @ _about(0, pitch) @ _UPSIDE_DOWN @ _about(1, yaw)


def _about(axis: int, angle: NDArray[np.float64]) -> NDArray[np.float64]:
    R = np.zeros((len(angle), 3, 3))
    i, j = (axis + 1) % 3, (axis + 2) % 3
    R[:, axis, axis] = 1
    R[:, i, i] = R[:, j, j] = np.cos(angle)
    R[:, j, i], R[:, i, j] = np.sin(angle), -np.sin(angle)
    return R
