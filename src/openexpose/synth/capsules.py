"""Does a limb go through the body? A coarse and cheap answer with capsules around the bones."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from openexpose.skeleton import Skeleton

NAMES = (*Skeleton.read("smplx").names[:22],)
_ENDS = ("head_top", "left_hand_end", "right_hand_end")
"""Points beyond the last joints, made by prolonging the bone before them."""
CAPSULES: tuple[tuple[str, str, float], ...] = (
    ("left_hip", "right_hip", 0.085),
    ("spine_1", "spine_3", 0.095),
    ("left_collar", "right_collar", 0.080),
    ("head", "head_top", 0.085),
    ("left_hip", "left_knee", 0.062),
    ("right_hip", "right_knee", 0.062),
    ("left_knee", "left_ankle", 0.045),
    ("right_knee", "right_ankle", 0.045),
    ("left_ankle", "left_foot", 0.035),
    ("right_ankle", "right_foot", 0.035),
    ("left_shoulder", "left_elbow", 0.038),
    ("right_shoulder", "right_elbow", 0.038),
    ("left_elbow", "left_wrist", 0.032),
    ("right_elbow", "right_wrist", 0.032),
    ("left_wrist", "left_hand_end", 0.030),
    ("right_wrist", "right_hand_end", 0.030),
)
"""Ends and radius in metres: thinner than flesh, so that touching is allowed and going through is not."""
_PAIRS = np.array(
    [
        *[(t, limb) for t in (0, 1, 2, 3) for limb in (12, 13, 14, 15)],
        *[(leg, arm) for leg in (4, 5, 6, 7) for arm in (12, 13, 14, 15)],
        *[(4, 7), (5, 6), (6, 7), (8, 9), (6, 9), (7, 8), (12, 13), (14, 15), (12, 15), (13, 14)],
        *[(t, leg) for t in (1, 2, 3) for leg in (6, 7, 8, 9)],
    ]
)


def joint_positions(
    R_parent_child: Float[np.ndarray, "22 3 3"], rest_m: Float[np.ndarray, "22 3"], parents: Sequence[int]
) -> tuple[Float[np.ndarray, "22 3"], Float[np.ndarray, "22 3 3"]]:
    """Where the joints of the posed body are, metres, and their absolute rotations. The pelvis stays in its place."""
    where, turned = rest_m.astype(np.float64).copy(), R_parent_child.astype(np.float64).copy()
    for j in range(1, len(rest_m)):
        p = parents[j]
        turned[j] = turned[p] @ turned[j]
        where[j] = where[p] + turned[p] @ (rest_m[j] - rest_m[p])
    return where, turned


def goes_through_itself(joints_m: Float[np.ndarray, "22 3"], R_model_joint: Float[np.ndarray, "22 3 3"]) -> bool:
    """Whether two capsules of different limbs overlap; arm against trunk, head, legs and arm, leg against leg."""
    up = R_model_joint[NAMES.index("head")] @ np.array([0.0, 0.16, 0.0])
    points = {name: joints_m[i] for i, name in enumerate(NAMES)}
    points["head_top"] = points["head"] + up
    for side, sign in (("left", 1.0), ("right", -1.0)):
        along = R_model_joint[NAMES.index(f"{side}_wrist")] @ np.array([0.12 * sign, 0.0, 0.0])
        points[f"{side}_hand_end"] = points[f"{side}_wrist"] + along
    a = np.array([points[c[0]] for c in CAPSULES])
    b = np.array([points[c[1]] for c in CAPSULES])
    r = np.array([c[2] for c in CAPSULES])
    i, j = _PAIRS[:, 0], _PAIRS[:, 1]
    gap = segment_distance(a[i], b[i], a[j], b[j]) - r[i] - r[j]
    return bool((gap < 0).any())


def segment_distance(
    a: Float[np.ndarray, "N 3"], b: Float[np.ndarray, "N 3"], c: Float[np.ndarray, "N 3"], d: Float[np.ndarray, "N 3"]
) -> Float[np.ndarray, " N"]:
    """Smallest distance between the segments ab and cd.

    Source: Ericson, Real-Time Collision Detection (2005), section 5.1.9: clamp one parameter, solve for the other.
    """
    u, v, w = b - a, d - c, a - c
    uu, vv, uv = _dot(u, u), _dot(v, v), _dot(u, v)
    uw, vw = _dot(u, w), _dot(v, w)
    across = np.maximum(uu * vv - uv * uv, 1e-12)
    s = np.clip((uv * vw - uw * vv) / across, 0, 1)
    t = np.clip((uv * s + vw) / np.maximum(vv, 1e-12), 0, 1)
    s = np.clip((uv * t - uw) / np.maximum(uu, 1e-12), 0, 1)
    return np.asarray(np.linalg.norm(w + s[:, None] * u - t[:, None] * v, axis=1))


def _dot(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.einsum("nc,nc->n", x, y)


PAIRS: Int[np.ndarray, "P 2"] = _PAIRS
"""Which capsules are tested against which."""
