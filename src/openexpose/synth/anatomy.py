"""What is where on FreeBody: fields on the rest surface that say lip, brow, scalp, beard, and which piece a face is."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from openexpose.body import BodyModel, ModelArrays
from openexpose.errors import DataError
from openexpose.skeleton import Skeleton

SKIN, EYE, TEETH, TONGUE = range(4)
"""Pieces of the body's surface."""
FIELDS = ("x", "y", "z", "lip", "brow", "scalp", "beard", "mouth")
"""Columns of the fields: rest position in metres, then signed distances in metres, positive inside."""
_F64 = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Anatomy:
    """Constants of one body model. V vertices, metres, rest pose."""

    fields: Float[np.ndarray, "V 8"]
    piece: Int[np.ndarray, " V"]
    """SKIN, EYE, TEETH or TONGUE."""
    eye_m: Float[np.ndarray, "2 3"]
    """Centres of the left and the right eyeball."""
    eye_radius_m: float


def study(arrays: ModelArrays, points_m: dict[str, Float[np.ndarray, "3"]]) -> Anatomy:
    """The anatomy of a body model; `points_m` are its named keypoints at rest (`rest_points`)."""
    v = arrays.v_template
    piece = pieces(arrays)
    eyes = [v[(piece == EYE) & (v[:, 0] * side > 0)] for side in (1, -1)]
    centres = np.array([(e.min(0) + e.max(0)) / 2 for e in eyes])
    lip, mouth = _lips(v, points_m)
    scalp = _scalp(v, points_m)
    fields = np.column_stack([v, lip, _brows(v, points_m), scalp, _beard(v, points_m, lip, scalp), mouth])
    radius = float(np.ptp(eyes[0][:, 0]) / 2)
    return Anatomy(fields.astype(np.float32), piece, centres.astype(np.float32), radius)


def rest_points(model: BodyModel) -> dict[str, Float[np.ndarray, "3"]]:
    """Name -> place of each keypoint of the mean body at rest, metres."""
    points = model.shape().pose().keypoints_m().numpy().astype(np.float64)
    return dict(zip(Skeleton.read("smplx").names, points, strict=True))


def pieces(arrays: ModelArrays) -> Int[np.ndarray, " V"]:
    """SKIN, EYE, TEETH or TONGUE for each vertex: the mesh falls apart into them.

    Raises DataError for a surface in one piece: then eyes and teeth cannot be coloured.
    """
    f, V = arrays.faces, len(arrays.v_template)
    edges = np.concatenate([f[:, [0, 1]], f[:, [1, 2]]])
    ones = np.ones(len(edges))
    count, label = connected_components(coo_matrix((ones, (edges[:, 0], edges[:, 1])), (V, V)), directed=False)
    if count < 4:
        raise DataError(f"{arrays.label}: its surface has {count} pieces; eyes, teeth and tongue must be their own")
    out = np.full(V, TEETH, np.int64)
    sizes = np.bincount(label)
    out[label == int(sizes.argmax())] = SKIN
    names = Skeleton.read("smplx").names
    eye_share = arrays.weights[:, [names.index("left_eyeball"), names.index("right_eyeball")]].sum(1)
    in_mouth = []
    for k in range(count):
        own = label == k
        if eye_share[own].mean() > 0.5:
            out[own] = EYE
        elif out[own][0] == TEETH:
            in_mouth.append((np.ptp(arrays.v_template[own][:, 2]), k))
    out[label == max(in_mouth)[1]] = TONGUE  # the longest from front to back
    return out


def inside_polygon(points: Float[np.ndarray, "N 2"], polygon: Float[np.ndarray, "K 2"]) -> Bool[np.ndarray, " N"]:
    """Which points lie inside a closed polygon (even-odd rule)."""
    out = np.zeros(len(points), bool)
    for a, b in zip(polygon, np.roll(polygon, -1, 0), strict=True):
        crosses = (a[1] > points[:, 1]) != (b[1] > points[:, 1])
        with np.errstate(divide="ignore", invalid="ignore"):
            x = (b[0] - a[0]) * (points[:, 1] - a[1]) / (b[1] - a[1]) + a[0]
        out ^= crosses & (points[:, 0] < x)
    return out


def distance_to_lines(points: _F64, line: _F64) -> _F64:
    """Distance of points (N, D) to a polyline (K, D)."""
    best = np.full(len(points), np.inf)
    for a, b in zip(line[:-1], line[1:], strict=True):
        t = np.clip((points - a) @ (b - a) / max(float((b - a) @ (b - a)), 1e-12), 0, 1)
        best = np.minimum(best, np.linalg.norm(points - a - t[:, None] * (b - a), axis=1))
    return best


def _named(points_m: dict[str, _F64], *names: str) -> _F64:
    return np.array([points_m[n] for n in names])


def _lips(v: _F64, p: dict[str, _F64]) -> tuple[_F64, _F64]:
    """Signed distance to the lips' outline seen from the front; and one to the opening, for what lies behind it."""
    right, left = [f"right_mouth_{k}" for k in (1, 2, 3)], [f"left_mouth_{k}" for k in (3, 2, 1)]
    lower = ["left_mouth_5", "left_mouth_4", "mouth_bottom", "right_mouth_4", "right_mouth_5"]
    outline = _named(p, *right, "mouth_top", *left, *lower)[:, :2]
    inside = inside_polygon(v[:, :2], outline)
    distance = distance_to_lines(v[:, :2], np.concatenate([outline, outline[:1]]))
    front = p["mouth_top"][2] - 0.022
    lip = np.where(v[:, 2] > front, np.where(inside, distance, -distance), -0.05)
    slit = (p["lip_top"] + p["lip_bottom"]) / 2
    near = np.hypot((v[:, 0] - slit[0]) / 0.030, (v[:, 1] - slit[1]) / 0.022)
    depth = p["lip_top"][2] - 0.012 - np.abs(v[:, 0]) * 0.35
    inner = (near < 1) & (v[:, 2] < depth) & (v[:, 2] > depth - 0.08)
    behind = np.where(inner, depth - v[:, 2], -0.01)
    return lip, np.clip(behind, -0.01, 0.01)


def _brows(v: _F64, p: dict[str, _F64]) -> _F64:
    out = np.full(len(v), -0.05)
    for side in ("left", "right"):
        line = _named(p, *[f"{side}_eyebrow_{k}" for k in range(1, 6)])
        inner = np.abs(v[:, 0]) / np.abs(line[:, 0]).max()
        thick = 0.0052 - 0.0022 * np.clip(inner, 0, 1)
        out = np.maximum(out, thick - distance_to_lines(v, line))
    return out


def _scalp(v: _F64, p: dict[str, _F64]) -> _F64:
    """Height above the hairline, which runs from the forehead over the temples and behind the ears to the neck."""
    brow = p["right_eyebrow_3"][1]
    ear = p["right_ear"]
    forehead = brow + 0.048
    z = [-0.10, -0.045, -0.02, 0.012, 0.040, 0.058, 0.072, 0.100, 0.130]
    z = [ear[2] + dz - 0.041 for dz in z]
    y = [ear[1] - 0.085, ear[1] - 0.085, ear[1] - 0.06, ear[1] + 0.005, ear[1] + 0.03]
    y += [ear[1] - 0.005, brow + 0.018, forehead - 0.008, forehead]
    height = v[:, 1] - np.interp(v[:, 2], z, y)
    ears = (np.abs(v[:, 0]) > 0.071) & (v[:, 2] > ear[2] - 0.036) & (v[:, 2] < ear[2] + 0.026)
    ears &= v[:, 1] < ear[1] + 0.034
    below = v[:, 1] < p["neck"][1] + 0.02
    return np.where(below, -0.05, np.where(ears, np.minimum(height, -0.004), height))


def _beard(v: _F64, p: dict[str, _F64], lip: _F64, scalp: _F64) -> _F64:
    """Depth below the line from ear to cheek to upper lip, on the jaw and not on the lips."""
    ear, lip_top, nose = p["right_ear"], p["mouth_top"], p["nose_middle"]
    z = [ear[2], ear[2] + 0.025, lip_top[2] - 0.03, lip_top[2] - 0.012, lip_top[2]]
    y = [ear[1] - 0.005, ear[1] - 0.03, lip_top[1] - 0.008, nose[1] - 0.006, nose[1] - 0.006]
    below = np.interp(v[:, 2], z, y) - v[:, 1]
    throat = v[:, 1] - (p["contour_middle"][1] - 0.02 - 0.25 * np.clip(p["contour_middle"][2] - v[:, 2], 0, 0.2) * 0.4)
    behind = v[:, 2] - (ear[2] + 0.004)
    return np.minimum.reduce([below, throat, behind, -lip - 0.0015, np.full(len(v), 0.03)])
