"""A few Levenberg-Marquardt steps that pull the body's guess onto the points its heatmaps see (SMPLify, learned start).

The regressor knows depth and what is hidden; heatmaps know where things are in the picture. Each step turns joints in
camera axes: a point moves by d x (X - p) when joint p above it turns by the small vector d, so the Jacobian is closed
form, and one small symmetric system per person is solved. A step that makes a person worse is not taken, and the next
is shorter: a limb that lies flat in the picture has no derivative towards the camera, and full steps overshoot there.
Beyond the reference; off unless a config asks for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from openexpose.body import BodyModel, Posed
from openexpose.errors import ConfigError
from openexpose.geometry.rotations import axis_angle_to_matrix, matrix_to_sixd, sixd_to_matrix
from openexpose.nets.codec import Estimate
from openexpose.nets.config import RefineConfig
from openexpose.nets.params import BodyParams
from openexpose.nets.points import Points, leg_rows
from openexpose.skeleton import J14_EXTRAS, Skeleton

CARRIED_BY = {
    "right_hip_extra": "pelvis", "left_hip_extra": "pelvis", "neck_extra": "neck", "headtop": "head", "nose": "head",
    "right_eye": "head", "left_eye": "head", "right_ear": "head", "left_ear": "head",
    "right_bigtoe": "right_foot", "left_bigtoe": "left_foot", "right_heel": "right_ankle",
    "left_heel": "left_ankle", "right_middle_1": "right_wrist", "left_middle_1": "left_wrist",
}  # fmt: skip
"""Joint that carries a point, where the point is no joint itself."""
TURNING = 22
"""Pelvis and the 21 body joints turn; fingers and face do not."""
STIFF_RAD = {
    "pelvis": 0.31, "hip": 0.375, "spine": 0.075, "knee": 0.31, "ankle": 0.15, "foot": 0.063, "neck": 0.125,
    "collar": 0.1, "head": 0.19, "shoulder": 0.44, "elbow": 0.375, "wrist": 0.19,
}  # fmt: skip
"""How far each joint may turn as a rule, radians. On 400 training photos of LSPET and 150 training renderings: PCK
61.0 % and PA-MPJPE 117.9 mm; four fifths as far 60.6 % and 116.2 mm, six fifths as far 61.2 % and 119.1 mm."""
_CAMERA_SPREAD = (0.3, 0.3, 0.3)
"""The same for log scale, and the shift in metres."""
RENDERED_ONLY = 0.1
"""How much a point counts that no real photo teaches (all but LSP's 14), against those."""
_LONGEST_STEP = 0.6
"""Radians, log scale, metres."""
_SLACK = 1e-4
"""A step may cost so much more, relatively: float32 cannot tell less, and the rest of a batch must not decide."""


@dataclass(frozen=True)
class Refiner:
    """Settings and the names of the heatmaps: `refiner(estimate, body_model)` gives the refined estimate."""

    config: RefineConfig
    names: tuple[str, ...]

    def __call__(self, body: Estimate[BodyParams], model: BodyModel) -> Estimate[BodyParams]:
        """The estimate with other rotations and another camera; its raw vector (fingers, jaw) stays.

        Raises ConfigError if the network drew no heatmaps.
        """
        if body.points is None:
            raise ConfigError("refinement needs a body network with heatmaps (the `lite` ones)")
        seen = body.points.sharpened().doubted(leg_rows(self.names))
        params, camera = refined(body.params, body.camera, seen, self.names, model=model, config=self.config)
        return replace(body, params=params, camera=camera)


@dataclass(frozen=True)
class _Layout:
    """Which joints move which of the network's points."""

    keypoint_rows: tuple[int, ...]
    """Of each point in keypoints followed by J14."""
    moves: Bool[Tensor, "K J"]
    spread_rad: Float[Tensor, " J"]
    share: Float[Tensor, " K"]
    """How much each point counts."""


class _Fit(NamedTuple):
    """A body, and how well it explains what is seen."""

    params: BodyParams
    camera: Float[Tensor, "B 3"]
    done: Float[Tensor, "B P"]
    """All steps so far, added up."""
    points_m: Float[Tensor, "B K 3"]
    joints_m: Float[Tensor, "B J 3"]
    R_model_joint: Float[Tensor, "B J 3 3"]
    apart_u: Float[Tensor, "B K 2"]
    """From the projected points to the seen ones."""
    pull: Float[Tensor, "B K"]
    cost: Float[Tensor, " B"]

    def where(self, chosen: Bool[Tensor, " B"], other: "_Fit") -> "_Fit":
        """Rows of self where chosen, of the other elsewhere."""

        def pick(a: Tensor, b: Tensor) -> Tensor:
            return torch.where(chosen.view(-1, *[1] * (a.ndim - 1)), a, b)

        turned = {n: pick(getattr(self.params, n), getattr(other.params, n)) for n in ("global_orient", "body_pose")}
        rest = [pick(a, b) for a, b in zip(self[1:], other[1:], strict=True)]
        return _Fit(replace(self.params, **turned), *rest)


def refined(
    params: BodyParams, camera: Float[Tensor, "B 3"], seen: Points, names: Sequence[str], *, model: BodyModel,
    config: RefineConfig,
) -> tuple[BodyParams, Float[Tensor, "B 3"]]:  # fmt: skip
    """Params and camera whose projected points lie nearer to what the heatmaps see.

    camera: (s, tx, ty) of weak perspective.   names: of the heatmaps.   Rows do not influence each other.
    Raises ConfigError for a body model without the points, or a heatmap whose carrier is not known.
    """
    layout = _layout(names, model)
    J, like = TURNING, camera
    spread = torch.cat([layout.spread_rad.repeat_interleave(3), torch.tensor(_CAMERA_SPREAD)]).to(like)
    stiff = 1 / spread.square()
    moves = layout.moves.to(like.device)
    trust = layout.share.to(like) * ((seen.peak - config.least_peak) / (1 - config.least_peak)).clamp(min=0)
    trust = trust / config.spread_u**2

    def look(params: BodyParams, camera: Tensor, done: Tensor) -> _Fit:
        posed = model.shape(params.betas, params.expression).pose(params.R_parent_child())
        points = _points(posed, model, layout)
        apart = seen.at_u - camera[:, None, :1] * (points[..., :2] + camera[:, None, 1:])
        far, edge = apart.norm(dim=-1), config.outlier_u
        huber = torch.where(far < edge, far.square(), edge * (2 * far - edge))
        cost = (trust * huber).sum(1) + (stiff * done.square()).sum(1)
        pull = trust / (far / edge).clamp(min=1)
        return _Fit(params, camera, done, points, posed.joints_m[:, :J], posed.R_model_joint[:, :J], apart, pull, cost)

    fit = look(params, camera, like.new_zeros(len(like), 3 * J + 3))
    damping = torch.ones_like(fit.cost)
    for _ in range(config.steps):
        jacobian = _jacobian(fit.points_m, fit.joints_m, fit.camera, moves).double()
        weighted = jacobian * fit.pull[..., None, None]
        A = torch.einsum("bkip,bkiq->bpq", weighted, jacobian) + torch.diag_embed((1 + damping[:, None]) * stiff)
        b = torch.einsum("bkip,bki->bp", weighted, fit.apart_u.double()) - stiff * fit.done
        step = torch.linalg.solve(A, b).clamp(-_LONGEST_STEP, _LONGEST_STEP).float()
        turned = _turned(fit.params, fit.R_model_joint, model.parents, step[:, : 3 * J].unflatten(1, (J, 3)))
        moved = torch.cat([fit.camera[:, :1] * step[:, -3:-2].exp(), fit.camera[:, 1:] + step[:, -2:]], -1)
        tried = look(turned, moved, fit.done + step)
        better = tried.cost < (1 + _SLACK) * fit.cost
        fit = tried.where(better, fit)
        damping = torch.where(better, damping / 4, damping * 4)
    return fit.params, fit.camera


def _jacobian(
    points_m: Float[Tensor, "B K 3"],
    joints_m: Float[Tensor, "B J 3"],
    camera: Float[Tensor, "B 3"],
    moves: Bool[Tensor, "K J"],
) -> Float[Tensor, "B K 2 P"]:
    """How the projections change with small turns of the joints (camera axes), then with log s, tx, ty."""
    B, K = points_m.shape[:2]
    arm = (points_m[:, :, None] - joints_m[:, None]) * moves[..., None]  # (B K J 3)
    x, y, z = arm.unbind(-1)
    zero = torch.zeros_like(x)
    du = torch.stack([zero, z, -y], -1)  # x part of d x arm, for each component of d
    dv = torch.stack([-z, zero, x], -1)
    s = camera[:, None, None, :1]
    turns = s[..., None] * torch.stack([du, dv], 2)  # (B K 2 J 3)
    projected = camera[:, None, :1] * (points_m[..., :2] + camera[:, None, 1:])
    eye = torch.eye(2, dtype=s.dtype, device=s.device).expand(B, K, 2, 2) * s
    return torch.cat([turns.flatten(3), projected[..., None], eye], -1)


def _turned(
    params: BodyParams,
    R_model_joint: Float[Tensor, "B J 3 3"],
    parents: Sequence[int],
    turn_rad: Float[Tensor, "B J 3"],
) -> BodyParams:
    """Every joint turned by its own vector, given in camera axes and applied from its parent's old pose."""
    R = params.R_parent_child()[:, :TURNING]
    eye = torch.eye(3, dtype=R.dtype, device=R.device).expand(len(R), 1, 3, 3)
    above = torch.cat([eye, R_model_joint[:, list(parents[1:TURNING])]], 1)
    new = sixd_to_matrix(matrix_to_sixd(above.mT @ axis_angle_to_matrix(turn_rad) @ above @ R))  # float32 drifts
    return replace(params, global_orient=new[:, 0], body_pose=new[:, 1:])


def _points(posed: Posed, model: BodyModel, layout: _Layout) -> Float[Tensor, "B K 3"]:
    every = torch.cat([posed.keypoints_m(), posed.regressed_m("j14")], 1)
    return every[:, list(layout.keypoint_rows)]


def _layout(names: Sequence[str], model: BodyModel) -> _Layout:
    keypoints, joints = list(model.keypoint_names), list(model.joint_names)
    rows, moves = [], torch.zeros(len(names), TURNING, dtype=torch.bool)
    for k, name in enumerate(names):
        joint = CARRIED_BY.get(name, name)
        if joint not in joints or not (name in J14_EXTRAS or name in keypoints):
            raise ConfigError(f"the heatmap of {name!r} cannot be followed on {model.label}")
        rows.append(len(keypoints) + J14_EXTRAS[name] if name in J14_EXTRAS else keypoints.index(name))
        j = joints.index(joint)
        j = j if name in CARRIED_BY else int(model.parents[j])  # a joint does not move itself
        while j >= 0:
            moves[k, j] |= j < TURNING
            j = int(model.parents[j])
    kinds = [next((v for n, v in STIFF_RAD.items() if n in joints[j]), None) for j in range(TURNING)]
    if None in kinds:
        raise ConfigError(f"{model.label} has a body joint of an unknown kind: {joints[kinds.index(None)]}")
    marked = Skeleton.read("lspet").names
    share = torch.tensor([1.0 if name in marked else RENDERED_ONLY for name in names])
    return _Layout(tuple(rows), moves, torch.tensor(kinds, dtype=torch.float32), share)
