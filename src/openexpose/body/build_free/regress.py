"""Sparse, local, non-negative matrices from surface points to joints."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

DIRECTIONS, CONE, EACH = 60, 0.85, 3
"""A joint is averaged from the 3 nearest vertices in each of 60 directions (cosine of the cone's half angle 0.85)."""
SUM_WEIGHT, MEAN_WEIGHT = 1e2, 10.0
"""How strongly a row must sum to one, and must be right for the mean body."""
NEAR_ENOUGH_M = 2.5e-3
WIDE_M, WIDE_COUNT = 0.3, 150
RIDGE_M = 4e-3
"""Metres of misplacement that one unit of weight is worth."""


def fit_row(template: F64, dirs: F64, joint: F64, joint_dirs: F64, allowed: I64) -> F64:
    """(V,) weights summing to one that average rest vertices to a joint for every shape of the model.

    template (V, 3), dirs (V, 3, S) and joint (3,), joint_dirs (3, S): mean and change per unit-variance beta. Weights
    are non-negative on vertices that surround the joint; where that misses by more than `NEAR_ENOUGH_M` (Anny's joint
    moves against the flesh around it) they are small signed weights on a wider neighbourhood.
    """
    ids = around(template, joint, allowed)
    A, b = _equations(template, dirs, joint, joint_dirs, ids)
    weights, _ = nnls(A, b, maxiter=50 * len(ids))
    if _miss(A, b, weights) > NEAR_ENOUGH_M:
        wide = allowed[np.linalg.norm(template[allowed] - joint, axis=1) < WIDE_M]
        ids = np.union1d(ids, wide[:: max(1, len(wide) // WIDE_COUNT)])
        A, b = _equations(template, dirs, joint, joint_dirs, ids)
        weights = np.linalg.solve(A.T @ A + RIDGE_M**2 * np.eye(len(ids)), A.T @ b)
    row = np.zeros(len(template))
    row[ids] = weights / weights.sum()
    return row


def _equations(template: F64, dirs: F64, joint: F64, joint_dirs: F64, ids: I64) -> tuple[F64, F64]:
    """Rows: mean (weighted up), one for each axis and beta, and the sum; columns: vertices."""
    mean = MEAN_WEIGHT * (template[ids] - joint).T
    moves = dirs[ids].reshape(len(ids), -1).T
    A = np.concatenate([mean, moves, np.full((1, len(ids)), SUM_WEIGHT)])
    return A, np.concatenate([np.zeros(3), joint_dirs.reshape(-1), [SUM_WEIGHT]])


def _miss(A: F64, b: F64, weights: F64) -> float:
    """Root mean square distance to the joint over people, metres."""
    return float(np.linalg.norm((A @ weights - b)[3:-1]))


def around(points: F64, target: F64, allowed: I64) -> I64:
    """Allowed vertices of (V, 3) points that surround a target (3,): the nearest few in each of many directions."""
    offset = points[allowed] - target
    distance = np.linalg.norm(offset, axis=1)
    unit = offset / (distance[:, None] + 1e-9)
    chosen: set[int] = set()
    for direction in _directions(DIRECTIONS):
        cone = np.nonzero(unit @ direction > CONE)[0]
        chosen.update(cone[np.argsort(distance[cone], kind="stable")[:EACH]].tolist())
    return np.sort(allowed[np.array(sorted(chosen), np.int64)])


def _directions(count: int) -> F64:
    """(count, 3) unit vectors spread evenly over the sphere (Fibonacci lattice)."""
    k = np.arange(count) + 0.5
    z, turn = 1 - 2 * k / count, np.pi * (1 + 5**0.5) * k
    flat = np.sqrt(1 - z**2)
    return np.stack([flat * np.cos(turn), flat * np.sin(turn), z], 1)
