"""What the networks say about a person, by name. Rotations are matrices, parent-from-child unless stated."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

Part = Literal["body", "hand", "head"]
"""The three networks. The hand network sees right hands only; left ones arrive mirrored."""


@dataclass(frozen=True)
class BodyParams:
    """A whole body in the joints of SMPL-X and FreeBody. S shape and E expression coefficients."""

    global_orient: Float[Tensor, "*B 3 3"]
    """Pelvis in camera axes (x right, y down, z forward)."""
    body_pose: Float[Tensor, "*B 21 3 3"]
    """Joints 1 to 21, left hip to right wrist."""
    left_hand_pose: Float[Tensor, "*B 15 3 3"]
    """Index, middle, pinky, ring, thumb; three joints each. Absolute: no mean pose is added anywhere."""
    right_hand_pose: Float[Tensor, "*B 15 3 3"]
    jaw_pose: Float[Tensor, "*B 3 3"]
    betas: Float[Tensor, "*B S"]
    expression: Float[Tensor, "*B E"]

    def R_parent_child(self) -> Float[Tensor, "*B 55 3 3"]:
        """All joints in SMPL-X order: pelvis, 21 body, jaw, two eyes (identity), 15 left, 15 right fingers."""
        eyes, hands = _identity_like(self.jaw_pose, 2), (self.left_hand_pose, self.right_hand_pose)
        return _joints(self.global_orient, self.body_pose, self.jaw_pose, eyes, *hands)


@dataclass(frozen=True)
class HandParams:
    """A right hand in the joints of MANO and FreeHand."""

    global_orient: Float[Tensor, "*B 3 3"]
    """Wrist in camera axes: an absolute rotation."""
    right_hand_pose: Float[Tensor, "*B 15 3 3"]
    betas: Float[Tensor, "*B S"]

    def R_parent_child(self) -> Float[Tensor, "*B 16 3 3"]:
        """All joints in MANO order: wrist, then 15 fingers."""
        return _joints(self.global_orient, self.right_hand_pose)


@dataclass(frozen=True)
class HeadParams:
    """A head in the joints of FLAME and FreeHead."""

    global_orient: Float[Tensor, "*B 3 3"]
    """Head in camera axes: an absolute rotation."""
    jaw_pose: Float[Tensor, "*B 3 3"]
    betas: Float[Tensor, "*B S"]
    expression: Float[Tensor, "*B E"]

    def R_parent_child(self) -> Float[Tensor, "*B 5 3 3"]:
        """All joints in FLAME order: root, neck (identity), jaw, two eyes (identity)."""
        one = _identity_like(self.jaw_pose, 1)
        return _joints(self.global_orient, one, self.jaw_pose, one, one)


PARAMS: dict[Part, type[BodyParams] | type[HandParams] | type[HeadParams]] = {
    "body": BodyParams,
    "hand": HandParams,
    "head": HeadParams,
}
"""The class that each network's answer has."""


def _joints(*rotations: Tensor) -> Tensor:
    """Rotations of shape (*B, 3, 3) or (*B, n, 3, 3) side by side; the first tells the batch axes."""
    depth = rotations[0].ndim + 1
    return torch.cat([R if R.ndim == depth else R.unsqueeze(-3) for R in rotations], -3)


def _identity_like(R: Float[Tensor, "*B 3 3"], count: int) -> Float[Tensor, "*B {count} 3 3"]:
    lead: Sequence[int] = R.shape[:-2]
    return torch.eye(3, dtype=R.dtype, device=R.device).expand(*lead, count, 3, 3)
