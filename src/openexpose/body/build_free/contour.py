"""The 17 points of the jaw's outline for each yaw from 39 degrees one way to 39 the other."""

import numpy as np
from numpy.typing import NDArray

from openexpose.body.build_free.landmarks import CHIN

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

BINS = 79
"""Row k < 40: the face turned k degrees towards the person's left; row 39 + k: k degrees to the right."""
POINTS = 17
HALF = 8
ANGLES = 321
"""Directions in which the outline is looked for."""
DOWN_LIMIT = 0.62
"""Skin whose outward normal points down more than this (cosine) is under the jaw, not on its outline."""
MENTON, GONION = 1.16, 0.74
"""Heights of the chin's lower end and of the jaw's angle below the eyes, in units of eyes to middle of the chin."""


def bin_yaw_rad(row: int) -> float:
    """Yaw of the face towards the person's left in row `row` of the tables."""
    return float(np.deg2rad(row if row < 40 else 39 - row))


def jaw_faces(vertices: F64, faces: I64, body: I64, ear_front_z: float, brow_eye_y: tuple[float, float]) -> I64:
    """(M,) faces of cheeks, jaw and chin: skin connected with the chin, in front of the ears, not under the jaw.

    brow_eye_y: heights of the brows (the upper end) and of the eyes."""
    corners = vertices[faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-15
    centre = corners.mean(1)
    chin, eye_y = vertices[CHIN], brow_eye_y[1]
    back = (chin[2] - centre[:, 2]) / (chin[2] - ear_front_z)
    floor = eye_y - (eye_y - chin[1]) * (MENTON + (GONION - MENTON) * np.clip(back, 0, 1))
    allowed = (
        (normal[:, 1] > -DOWN_LIMIT)
        & (centre[:, 2] > ear_front_z)
        & (centre[:, 1] < brow_eye_y[0])
        & (centre[:, 1] > floor)
        & np.isin(faces, body).all(1)
    )
    ids = np.nonzero(allowed)[0]
    seen = np.zeros(len(vertices), bool)
    seen[CHIN] = True
    while True:
        touched = seen[faces[ids]].any(1)
        before = seen.sum()
        seen[faces[ids[touched]]] = True
        if seen.sum() == before:
            return np.asarray(ids[seen[faces[ids]].all(1)], np.int64)


def contour(vertices: F64, faces: I64, ids: I64, centre: F64, ear_y: float) -> tuple[I64, F64]:
    """(79, 17) faces and (79, 17, 3) barycentric weights of the outline seen by a camera level with the head.

    In each direction of the picture round `centre` (3,) the outline is where the jaw's faces `ids` reach farthest. On
    it, the middle point stays at the chin and 8 points on either side are evenly spaced in the picture, up to the
    height `ear_y`. On the side turned away that is the cheek's silhouette, on the near side the edge of the jaw.
    """
    out_faces, out_bary = np.zeros((BINS, POINTS), np.int64), np.zeros((BINS, POINTS, 3))
    line = _outline(vertices, faces[ids], centre, 0.0)
    below = line[2][line[2][:, 1] < centre[1]]
    chin = below[np.argmin(np.abs(below[:, 0]))]
    for row in range(BINS):
        yaw = bin_yaw_rad(row)
        face, bary, points = _outline(vertices, faces[ids], centre, yaw)
        right, up, _ = _axes(yaw)
        for k, at in enumerate(_even(points, points @ np.stack([right, up], 1), chin, ear_y)):
            out_faces[row, k], out_bary[row, k] = ids[face[at]], bary[at]
    return out_faces, out_bary


def _outline(vertices: F64, faces: I64, centre: F64, yaw_rad: float) -> tuple[I64, F64, F64]:
    """Faces, barycentric weights and positions along the outline, from the right ear over the chin to the left."""
    found = [_farthest(vertices, faces, centre, yaw_rad, a) for a in np.linspace(0.7 * np.pi, 2.3 * np.pi, ANGLES)]
    return np.array([f for f, _, _ in found]), np.array([b for _, b, _ in found]), np.array([p for _, _, p in found])


def _even(points: F64, picture: F64, chin: F64, ear_y: float) -> I64:
    """(17,) places on the outline: 9 from the right ear to the chin, 8 from there to the left ear."""
    middle = int(np.argmin(np.linalg.norm(points - chin, axis=1)))
    first = int(np.argmax(points[:, 1] <= ear_y))
    last = len(points) - 1 - int(np.argmax(points[::-1, 1] <= ear_y))
    travelled = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(picture, axis=0), axis=1))])
    wanted = np.concatenate(
        [
            np.linspace(travelled[first], travelled[middle], HALF + 1),
            np.linspace(travelled[middle], travelled[last], HALF + 1)[1:],
        ]
    )
    return np.asarray(np.argmin(np.abs(travelled[:, None] - wanted), 0), np.int64)


def _axes(yaw_rad: float) -> tuple[F64, F64, F64]:
    """Picture right, up and towards the camera, in head coordinates, for a face turned to the person's left."""
    s, c = np.sin(yaw_rad), np.cos(yaw_rad)
    return np.array([c, 0.0, s]), np.array([0.0, 1.0, 0.0]), np.array([-s, 0.0, c])


def _farthest(vertices: F64, faces: I64, centre: F64, yaw_rad: float, angle_rad: float) -> tuple[int, F64, F64]:
    """Face, barycentric weights and position where a slice of the faces reaches farthest in the picture."""
    right, up, _ = _axes(yaw_rad)
    out = np.cos(angle_rad) * right + np.sin(angle_rad) * up
    across = -np.sin(angle_rad) * right + np.cos(angle_rad) * up
    height = (vertices - centre) @ across
    reach = (vertices - centre) @ out
    best: tuple[float, int, F64] = (-np.inf, -1, np.zeros(3))
    h, r = height[faces], reach[faces]
    for a, b in ((0, 1), (1, 2), (2, 0)):
        cut = h[:, a] * h[:, b] < 0
        t = np.zeros(len(faces))
        t[cut] = h[cut, a] / (h[cut, a] - h[cut, b])
        value = np.where(cut, r[:, a] * (1 - t) + r[:, b] * t, -np.inf)
        f = int(value.argmax())
        if value[f] > best[0]:
            bary = np.zeros(3)
            bary[a], bary[b] = 1 - t[f], t[f]
            best = (float(value[f]), f, bary)
    return best[1], best[2], best[2] @ vertices[faces[best[1]]]
