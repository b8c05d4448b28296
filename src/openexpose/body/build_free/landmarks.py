"""The named surface points that do not move over the surface: 21 vertices and 51 face landmarks."""

import numpy as np
from numpy.typing import NDArray

from openexpose.body.build_free.rig import joint
from openexpose.errors import AssetError

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

# Each point of the person's right half of the face (iBUG numbers 17-67) as vertices that are averaged. Picked by eye on
# the neutral adult against the iBUG definitions: brow line, nasion to nose tip, alar base, lid margins at one and two
# thirds, canthi, vermilion border, lip contact line.
_RIGHT: dict[int, tuple[int, ...]] = {
    17: (225, 207),
    18: (224, 206),
    19: (222, 204),
    20: (223, 205),
    21: (233, 208, 208),
    27: (132,),
    28: (131,),
    29: (201,),
    30: (5038,),
    31: (286,),
    32: (313,),
    33: (343,),
    36: (6765,),
    37: (6741,),
    38: (6747,),
    39: (4853,),
    40: (6756,),
    41: (6760,),
    48: (500,),
    49: (5338,),
    50: (450,),
    51: (455,),
    57: (492, 496),
    58: (486, 490),
    59: (406, 484),
    60: (3717,),
    61: (470,),
    62: (474,),
    66: (493,),
    67: (481,),
}
_PICKED_ON_VERTICES = 13856
_LEFT_OF = dict(
    zip(
        (26, 25, 24, 23, 22, 35, 34, 45, 44, 43, 42, 47, 46, 54, 53, 52, 56, 55, 64, 63, 65),
        (17, 18, 19, 20, 21, 31, 32, 36, 37, 38, 39, 40, 41, 48, 49, 50, 58, 59, 60, 61, 67),
        strict=True,
    )
)
NOSE_TIP = _RIGHT[30][0]
CHIN = 733
EXTRA = [
    "nose",
    "right_eye",
    "left_eye",
    "right_ear",
    "left_ear",
    "left_bigtoe",
    "left_smalltoe",
    "left_heel",
    "right_bigtoe",
    "right_smalltoe",
    "right_heel",
    "left_thumb",
    "left_index",
    "left_middle",
    "left_ring",
    "left_pinky",
    "right_thumb",
    "right_index",
    "right_middle",
    "right_ring",
    "right_pinky",
]


def static_landmarks(vertices: F64, faces: I64, mirror: I64, picked_on: int) -> tuple[I64, F64]:
    """(51,) faces and (51, 3) barycentric weights of iBUG points 17-67, the two sides mirror images.

    Raises AssetError if the source surface is not the one on which the points were picked.
    """
    if picked_on != _PICKED_ON_VERTICES:
        raise AssetError(f"landmarks were picked on {_PICKED_ON_VERTICES} vertices, the source has {picked_on}")
    points = []
    for k in range(17, 68):
        ids = list(_RIGHT[_LEFT_OF.get(k, k)])
        points.append(mirror[ids] if k in _LEFT_OF else np.array(ids))
    found = [_on_face(vertices[ids].mean(0), ids, vertices, faces) for ids in points]
    return np.array([f for f, _ in found]), np.array([b for _, b in found])


def _on_face(point: F64, ids: I64, vertices: F64, faces: I64) -> tuple[int, F64]:
    """The face touching vertices `ids` on which a point lies best, and the point in its barycentric weights."""
    near = np.nonzero(np.isin(faces, ids).any(1))[0]
    best = (np.inf, -1, np.zeros(3))
    for f in near:
        weights = barycentric(point, vertices[faces[f]])
        gap = float(np.linalg.norm(weights @ vertices[faces[f]] - point))
        if gap < best[0] - 1e-9:
            best = (gap, int(f), weights)
    return best[1], best[2]


def barycentric(point: F64, corners: F64) -> F64:
    """(3,) non-negative weights, summing to one, of the point of a triangle (3, 3) nearest to a point."""
    edges = (corners[1:] - corners[0]).T
    uv, *_ = np.linalg.lstsq(edges, point - corners[0], rcond=None)
    weights = np.clip(np.array([1 - uv.sum(), uv[0], uv[1]]), 0, None)
    weights[weights < 1e-6] = 0
    return np.asarray(weights / weights.sum(), np.float64)


def extra_vertices(vertices: F64, weights: F64, joints: F64, mirror: I64, eyes: dict[str, int]) -> I64:
    """(21,) vertices of nose, eyes, ears, toes, heels and finger tips, in SMPL-X's order (`EXTRA`).

    vertices (V, 3) and joints (55, 3): the neutral adult in the T-pose; weights (V, 55). Left ones are found, right
    ones are their mirror images.
    """
    left = {"eye": eyes["left"], "ear": _ear(vertices, weights)}
    foot = np.nonzero(weights[:, joint("left_foot")] > 0.5)[0]
    left |= _toes(vertices, foot)
    heel = np.nonzero(
        (weights[:, joint("left_ankle")] > 0.5) & (np.abs(vertices[:, 1] - vertices[:, 1].min() - 0.025) < 0.008)
    )[0]
    left["heel"] = int(heel[vertices[heel, 2].argmin()])
    for finger in ("thumb", "index", "middle", "ring", "pinky"):
        j = joint(f"left_{finger}3")
        along = joints[j] - joints[j - 1]
        along = along / np.linalg.norm(along)
        own = np.nonzero(weights[:, j] > 0.5)[0]
        left[finger] = int(own[(vertices[own] @ along).argmax()])
    out = []
    for name in EXTRA:
        side, _, part = name.partition("_")
        out.append(NOSE_TIP if name == "nose" else left[part] if side == "left" else int(mirror[left[part]]))
    return np.array(out)


def _toes(vertices: F64, foot: I64) -> dict[str, int]:
    """Tips of the big and the small toe among the vertices of the left toes: foremost in the inner and outer fifth."""
    x = vertices[foot, 0]
    fifth = (x.max() - x.min()) / 5
    inner, outer = foot[x < x.min() + 1.2 * fifth], foot[x > x.max() - fifth]
    return {"bigtoe": int(inner[vertices[inner, 2].argmax()]), "smalltoe": int(outer[vertices[outer, 2].argmax()])}


def _ear(vertices: F64, weights: F64) -> int:
    """A vertex in the middle of the left ear's outer face."""
    head = np.nonzero(weights[:, joint("head")] > 0.9)[0]
    x = vertices[head, 0]
    ear = head[x > np.sort(x)[-1] - 0.02]
    middle = (vertices[ear].min(0) + vertices[ear].max(0)) / 2
    middle[0] = vertices[ear, 0].max() - 0.008
    return int(ear[np.linalg.norm(vertices[ear] - middle, axis=1).argmin()])


def ear_front(vertices: F64, body: I64, level_y: float) -> float:
    """z of the front edge of the ears' root, above which the cheek begins: the jaw's outline stops there."""
    near = body[np.abs(vertices[body, 1] - level_y) < 0.02]
    near = near[vertices[near, 1] > level_y - 0.05]
    widest = np.abs(vertices[near, 0])
    ear = near[widest > widest.max() - 0.012]
    return float(vertices[ear, 2].max()) + 0.012
