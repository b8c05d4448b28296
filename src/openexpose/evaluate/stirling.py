"""Stirling/ESRC 3D: shape of a face in a photo, against a 3D scan of that person.

The predicted head, with its predicted expression, jaw and rotation, is brought onto the scan by seven landmarks; each
scan vertex inside a ball about the face then has a distance from the predicted surface.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from openexpose.body import Posed
from openexpose.errors import ConfigError, DataError
from openexpose.evaluate.score import Outcome, Protocol, Score
from openexpose.metrics import FaceMask, fit_similarity, scan_distances
from openexpose.metrics.scan import LANDMARKS_7
from openexpose.skeleton import Skeleton

MM = 1000.0


@dataclass(frozen=True, eq=False)
class Scan:
    """A neutral 3D scan with its annotation."""

    points_mm: NDArray[np.floating]
    """(S, 3) vertices."""
    landmarks_mm: NDArray[np.floating]
    """(7, 3), order `metrics.scan.LANDMARKS_7`."""


def outcome(posed: Posed, scans: Sequence[Scan], *, protocol: Protocol, quality: Literal["HQ", "LQ"]) -> Outcome:
    """'3DRMSE' of the README table, or the paper's mean, median and std over all scan points.

    posed: predicted heads, one for each photo. scans: that photo's subject; the same object may come many times.
    quality: of the photos, for the paper's rows.
    Raises ConfigError for a prediction that is not a head, DataError when a scan holds no face.
    """
    model = posed.shaped.model
    if model.family != "flame":
        raise ConfigError(
            f"Stirling/ESRC is scored with a head model (FLAME, FreeHead); {model.label} is {model.family}"
        )
    vertices_mm = posed.skin().vertices_m.double().cpu().numpy() * MM
    rows = [model.keypoint_names.index(n) for n in Skeleton.read("face3d").names]
    landmarks_mm = posed.keypoints_m()[..., rows, :].double().cpu().numpy() * MM
    if len(scans) != len(vertices_mm) or not scans:
        raise DataError(
            f"{len(vertices_mm)} predicted heads but {len(scans)} scans; give each photo its subject's scan"
        )
    faces = model.faces.cpu().numpy()
    distances_mm, factors = [], []
    total_mm, count = np.zeros((2, len(LANDMARKS_7)))
    for v, marks, scan in zip(vertices_mm, landmarks_mm, scans, strict=True):  # one scan at a time in memory
        theirs = np.asarray(scan.landmarks_mm, np.float64)
        distances_mm.append(scan_distances(v, faces, marks, scan=scan.points_mm, scan_landmarks=theirs))
        nearest = cKDTree(theirs).query(scan.points_mm[FaceMask.of(theirs).holds(scan.points_mm)])[1]
        total_mm += np.bincount(nearest, distances_mm[-1], len(LANDMARKS_7))
        count += np.bincount(nearest, minlength=len(LANDMARKS_7))
        factors.append(float(fit_similarity(torch.from_numpy(marks), torch.from_numpy(theirs)).scale))
    if protocol == "mmhuman3d":
        scores = [Score("3DRMSE", "mm", np.array([d.mean() for d in distances_mm]))]
    else:
        scores = [Score.pooled(f"{quality} {s}", distances_mm, s) for s in ("mean", "median", "std")]
    said = (
        "'3DRMSE' is a mean distance over scan vertices, then over photos; nothing is squared, as in the public script",
        "the head keeps its predicted expression, jaw and rotation; seven landmarks give scale and place",
        "the alignment hides scale: read the mean factor that it applied beside the distances (1 = true size)",
        f"photos: {quality}; scans are in millimetres",
    )
    derived = {"factor applied by the alignment": float(np.mean(factors))}
    benchmark = "stirling" if quality == "HQ" else "stirling-lq"
    around = {n: float(t / c) for n, t, c in zip(LANDMARKS_7, total_mm, count, strict=True) if c}
    parts = {"distance of points around each landmark": around}
    return Outcome(benchmark, protocol, tuple(scores), said, parts, derived)
