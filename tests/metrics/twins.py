"""Slow, obvious numpy twins of the metrics: one person, one point at a time."""

import numpy as np

Array = np.ndarray


def procrustes(x: Array, y: Array) -> Array:
    """x (P, 3) turned, scaled and moved onto y; never mirrored."""
    mx, my = x.mean(0), y.mean(0)
    a, b = x - mx, y - my
    U, _, Vt = np.linalg.svd(a.T @ b)
    Z = np.diag([1.0, 1.0, np.sign(np.linalg.det(U @ Vt))])
    R = Vt.T @ Z @ U.T
    s = np.trace(R @ a.T @ b) / (a**2).sum()
    return np.array([s * R @ p for p in a]) + my


def moved(x: Array, y: Array, align: str, root: list[int]) -> Array:
    match align:
        case "none":
            return x
        case "root":
            return x - x[root].mean(0) + y[root].mean(0)
        case "centroid":
            return x - x.mean(0) + y.mean(0)
        case "scale":
            return x * (x * y).sum() / (x * x).sum()
    return procrustes(x, y)


def mean_distance_mm(pred: Array, true: Array, align: str, root: list[int], seen: Array | None = None) -> Array:
    """One number per person."""
    out = []
    for n in range(len(pred)):
        x = moved(pred[n], true[n], align, root)
        each = [1000 * np.linalg.norm(x[j] - true[n, j]) for j in range(len(x)) if seen is None or seen[n, j]]
        out.append(sum(each) / len(each) if each else np.nan)
    return np.array(out)


def share_within(pred: Array, true: Array, size: Array, at: float, seen: Array) -> Array:
    out = []
    for n in range(len(pred)):
        good = [np.linalg.norm(pred[n, j] - true[n, j]) <= at * size[n] for j in range(len(pred[n])) if seen[n, j]]
        out.append(sum(good) / len(good) if good and size[n] > 0 else np.nan)
    return np.array(out)


def f_score(pred: Array, true: Array, at_mm: float) -> float:
    def share(a: Array, b: Array) -> float:
        return float(np.mean([min(1000 * np.linalg.norm(p - q) for q in b) < at_mm for p in a]))

    precision, recall = share(pred, true), share(true, pred)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def closest_on_triangle(p: Array, a: Array, b: Array, c: Array) -> Array:
    """Nearest point of one triangle by Voronoi regions (Ericson, Real-Time Collision Detection 5.1.5)."""
    ab, ac, ap = b - a, c - a, p - a
    d1, d2 = ab @ ap, ac @ ap
    if d1 <= 0 and d2 <= 0:
        return a
    bp = p - b
    d3, d4 = ab @ bp, ac @ bp
    if d3 >= 0 and d4 <= d3:
        return b
    vc = d1 * d4 - d3 * d2
    if vc <= 0 and d1 >= 0 and d3 <= 0:
        return a + ab * d1 / (d1 - d3)
    cp = p - c
    d5, d6 = ab @ cp, ac @ cp
    if d6 >= 0 and d5 <= d6:
        return c
    vb = d5 * d2 - d1 * d6
    if vb <= 0 and d2 >= 0 and d6 <= 0:
        return a + ac * d2 / (d2 - d6)
    va = d3 * d6 - d5 * d4
    if va <= 0 and d4 >= d3 and d5 >= d6:
        return b + (c - b) * (d4 - d3) / ((d4 - d3) + (d5 - d6))
    total = va + vb + vc
    return a + ab * vb / total + ac * vc / total


def distance_to_mesh(points: Array, vertices: Array, faces: Array) -> Array:
    """All faces for every point. Arrays of `Fraction` are taken exactly; only the root is rounded."""
    off = [[p - closest_on_triangle(p, *vertices[f]) for f in faces] for p in points]
    return np.array([float(min(d @ d for d in row)) ** 0.5 for row in off])
