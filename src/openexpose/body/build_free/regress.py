"""Sparse, local, non-negative matrices from surface points to joints."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls
from scipy.spatial import cKDTree

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

SUM_WEIGHT = 1e3
"""How strongly a row must sum to one, in metres per unit: then the sum is off by less than 1e-6."""


def fit_row(points: F64, target: F64, candidates: I64, vertices: int) -> F64:
    """(V,) non-negative weights summing to one with which points (N, V, 3) average to target (N, 3)."""
    centre = target[:, None]
    A = (points[:, candidates] - centre).transpose(0, 2, 1).reshape(-1, len(candidates))
    A = np.concatenate([A, np.full((1, len(candidates)), SUM_WEIGHT)])
    b = np.zeros(len(A))
    b[-1] = SUM_WEIGHT
    weights, _ = nnls(A, b, maxiter=50 * len(candidates))
    row = np.zeros(vertices)
    row[candidates] = weights / weights.sum()
    return row


def near(points: F64, target: F64, allowed: I64, count: int) -> I64:
    """The `count` allowed vertices of (V, 3) points nearest to a target (3,)."""
    _, index = cKDTree(points[allowed]).query(target, k=min(count, len(allowed)))
    return np.sort(allowed[np.asarray(index)])
