"""Facial actions as jaw turn, eye turns and a small basis of expressions."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from openexpose.body.build_free.kinematics import rotvec

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

SIDED = ("Left", "Right")


@dataclass(frozen=True)
class Face:
    """Expressions of the head, on all vertices of the body, and what each named action is in them."""

    names: tuple[str, ...]
    dirs: F64
    """(V, 3, E) metres per unit coefficient; coefficients have variance 1 over the random expressions."""
    actions: F64
    """(A, E)."""
    jaw_rad: F64
    eyes_rad: tuple[F64, F64]
    energy: F64
    """(A,) share of the energy that the first k components keep."""
    free_actions: F64
    """(A, V, 3) displacement of each action after jaw and eye turns are taken out."""


def rigid_turn(points: F64, moved: F64, centre: F64) -> F64:
    """(3,) axis-angle of the rotation about a centre that carries points (N, 3) best onto moved ones."""
    u, _, vt = np.linalg.svd((moved - centre).T @ (points - centre))
    return rotvec(u @ np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))]) @ vt)


def without_turn(vertices: F64, displacement: F64, weight: F64, R: F64, centre: F64) -> F64:
    """Rest displacement (V, 3) that gives `displacement` once `weight` (V,) of a turn R about a centre is skinned."""
    blend = np.eye(3) + weight[:, None, None] * (R - np.eye(3))
    shift = weight[:, None] * (centre - R @ centre)
    wanted = vertices + displacement - shift
    return np.linalg.solve(blend, wanted[..., None])[..., 0] - vertices


def random_actions(names: tuple[str, ...], count: int, rng: np.random.Generator) -> F64:
    """(N, A) plausible strengths in 0..1: a few actions at a time, left and right mostly together."""
    stems: dict[str, list[int]] = {}
    for i, name in enumerate(names):
        stem = next(
            (name.removesuffix(s) for s in SIDED if name.endswith(s) and name.removesuffix(s) + _other(s) in names),
            name,
        )
        stems.setdefault(stem, []).append(i)
    out = np.zeros((count, len(names)))
    for members in stems.values():
        on = rng.random(count) < 0.3
        strength = rng.beta(1.2, 1.5, count) * on
        for i in members:
            alone = rng.random(count) < 0.25
            out[:, i] = np.where(alone, rng.beta(1.2, 1.5, count) * (rng.random(count) < 0.3), strength)
    if (
        "mouthClose" in names and "jawOpen" in names
    ):  # it brings the lips together over an open jaw, and means nothing alone
        out[:, names.index("mouthClose")] *= out[:, names.index("jawOpen")]
    return out


def _other(side: str) -> str:
    return SIDED[1 - SIDED.index(side)]


def basis(actions: F64, strengths: F64, vertex_weight: F64, keep: int) -> tuple[F64, F64, F64]:
    """Principal expressions (V, 3, keep), coefficients of each action (A, keep), and cumulated energy (A,).

    Coefficients have unit variance over `strengths` (N, A), and zero is the neutral face (second moment about zero is
    not used: the mean expression stays reachable because the basis spans the actions).
    """
    A = len(actions)
    flat = actions.reshape(A, -1)
    weighted = flat * np.repeat(np.sqrt(vertex_weight), 3)
    covariance = np.cov(strengths.T)
    root = _root(covariance)
    values, vectors = np.linalg.eigh(root @ (weighted @ weighted.T) @ root)
    order = np.argsort(values)[::-1]
    energy = np.cumsum(values[order]) / values.sum()
    order = order[:keep]
    dirs = (flat.T @ root @ vectors[:, order]).reshape(*actions.shape[1:], keep)
    coefficients = np.linalg.solve(root, vectors[:, order])
    sign = np.where(coefficients[np.abs(coefficients).argmax(0), np.arange(keep)] < 0, -1.0, 1.0)
    return dirs * sign, coefficients * sign, energy


def _root(covariance: F64) -> F64:
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(np.maximum(values, 1e-12))) @ vectors.T
