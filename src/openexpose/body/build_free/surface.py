"""One body model under construction: mean, shapes, joints, weights, expressions, correctives, landmarks."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]


@dataclass(frozen=True)
class Surface:
    """Everything about FreeBody's surface that its hand and head share. V vertices, 55 joints. Metres."""

    template: F64
    faces: I64
    mirror: I64
    shapedirs: F64
    J_regressor: F64
    weights: F64
    exprdirs: F64
    """(V, 3, 50): the body ships the first 10, the head all."""
    posedirs: F64
    pose_features: I64
    extra: I64
    static: tuple[I64, F64]
    dynamic: tuple[I64, F64]
    regions: dict[str, I64]
    regressors: dict[str, F64]

    @property
    def joints(self) -> F64:
        """(55, 3) rest joints of the mean body."""
        return np.asarray(self.J_regressor @ self.template, np.float64)


def symmetric_points(points: F64, mirror: I64) -> F64:
    """(V, 3, ...) the average of a surface or symmetric displacement and its mirror image."""
    other = points[mirror].copy()
    other[:, 0] = -other[:, 0]
    return np.asarray((points + other) / 2, np.float64)


def renumber(keep: I64, vertices: int) -> I64:
    """(V,) new number of each kept vertex, -1 for others."""
    out = np.full(vertices, -1, np.int64)
    out[keep] = np.arange(len(keep))
    return out


def faces_within(faces: I64, keep: I64, vertices: int) -> tuple[I64, I64]:
    """Faces whose corners are all kept, in new numbers, and which faces of the body they are."""
    new = renumber(keep, vertices)
    ids = np.nonzero((new[faces] >= 0).all(1))[0]
    return new[faces[ids]], ids
