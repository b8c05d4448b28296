"""Scan-to-mesh distance: the '3DRMSE' of Stirling/ESRC, and P2S of the EHF table."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from openexpose.errors import DataError, ShapeError
from openexpose.metrics.align import fit_similarity
from openexpose.metrics.surface import Surface

LANDMARKS_7 = (
    "right eye outer",
    "right eye inner",
    "left eye inner",
    "left eye outer",
    "nose bottom",
    "right mouth corner",
    "left mouth corner",
)
"""Order of the seven landmarks of Stirling/ESRC, and of the `face3d` keypoints."""

Floats = NDArray[np.floating]
Ids = NDArray[np.integer]


@dataclass(frozen=True)
class FaceMask:
    """The ball that cuts the face out of a scan; same unit as the landmarks."""

    centre: Floats
    """(3,)."""
    radius: float

    @classmethod
    def of(cls, landmarks: Floats) -> "FaceMask":
        """From the seven annotated landmarks (7, 3), order `LANDMARKS_7`.

        centre = nose bottom + 0.3 (bridge - nose bottom), bridge midway between the inner eye corners;
        radius = 1.2 (outer-eye distance + |bridge - nose bottom|) / 2. Raises ShapeError. Source: spec section 8.
        """
        p = _landmarks(landmarks)
        bridge, bottom = (p[1] + p[2]) / 2, p[4]
        width, height = np.linalg.norm(p[0] - p[3]), np.linalg.norm(bridge - bottom)
        return cls(bottom + 0.3 * (bridge - bottom), float(1.2 * (width + height) / 2))

    def holds(self, points: Floats) -> NDArray[np.bool_]:
        """(N,) which of the points (N, 3) belong to the face (distance <= radius)."""
        inside: NDArray[np.bool_] = np.linalg.norm(np.asarray(points, np.float64) - self.centre, axis=1) <= self.radius
        return inside


def scan_distances(vertices: Floats, faces: Ids, landmarks: Floats, *, scan: Floats, scan_landmarks: Floats) -> Floats:
    """(M,) distance of each scan vertex inside the face mask from the predicted surface; unit of the scan.

    vertices (V, 3), faces (F, 3), landmarks (7, 3): the prediction in any unit, brought onto the scan by the
    similarity of its seven landmarks. scan (S, 3), scan_landmarks (7, 3): the truth.
    Raises ShapeError, DataError (no scan point inside the mask). Source: spec section 8.
    """
    mine, theirs = _landmarks(landmarks), _landmarks(scan_landmarks)
    fit = fit_similarity(torch.from_numpy(mine), torch.from_numpy(theirs))
    moved = fit(torch.from_numpy(np.asarray(vertices, np.float64))).numpy()
    points = np.asarray(scan, np.float64)
    inside = FaceMask.of(theirs).holds(points)
    if not inside.any():
        raise DataError("no scan point lies inside the face mask; scan and landmarks are in different units or frames")
    return Surface(moved, faces).closest(points[inside]).distance


def rmse3d(vertices: Floats, faces: Ids, landmarks: Floats, *, scan: Floats, scan_landmarks: Floats) -> float:
    """'3DRMSE' of one photo, in the unit of the scan (mm for Stirling): the *mean* of `scan_distances`.

    The name is the benchmark's; nothing is squared, there as here. Errors: see `scan_distances`.
    """
    return float(scan_distances(vertices, faces, landmarks, scan=scan, scan_landmarks=scan_landmarks).mean())


def p2s_mm(vertices_m: Floats, faces: Ids, scan_m: Floats) -> Floats:
    """(S,) P2S: distance of each scan point from a mesh in the same frame, millimetres; no alignment here.

    Align the prediction before the call as the protocol says. Raises ShapeError, DataError.
    """
    return Surface(vertices_m, faces).closest(scan_m).distance * 1000.0


def _landmarks(points: Floats) -> Floats:
    p = np.asarray(points, np.float64)
    if p.shape != (7, 3):
        raise ShapeError(f"seven landmarks (7, 3) are needed ({', '.join(LANDMARKS_7)}); got {p.shape}")
    return p
