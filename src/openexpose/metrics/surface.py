"""Exact distances from many points to a triangle mesh, without a loop over points.

How: points that lie together (Morton order) form blocks. Centroids of faces stand in a k-d tree; around a block's
sphere only faces whose own sphere can hold the closest point are kept. Inside a block one small matrix product gives
all point-centroid distances; the exact distance to the nearest centroid's face bounds each point, and only the few
faces whose sphere comes closer are evaluated exactly. Every bound is conservative, so the answer is that of trying all
faces; what remains is rounding of float64.
"""

import itertools
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from openexpose.errors import DataError, ShapeError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_BLOCK = 32
"""Points that share one list of candidate faces."""
_PAIRS = 200_000
"""Point-face pairs worked on at a time: the arrays stay in the processor's cache."""
_MARGIN = 1 + 1e-9
"""Bounds are widened by this factor, far above rounding, so that rounding never drops the closest face."""


@dataclass(frozen=True, eq=False)
class Closest:
    """Nearest point of a surface for each query point, in the unit of the mesh."""

    distance: Floats
    """(N,) distance, >= 0."""
    face: Ints
    """(N,) a face that holds the nearest point; the lowest index where several do, up to rounding."""


class Surface:
    """A triangle mesh prepared for distance queries; keep it when many point sets meet one mesh."""

    def __init__(self, vertices: NDArray[np.floating], faces: NDArray[np.integer]) -> None:
        """From vertices (V, 3) in any one unit and faces (F, 3). Faces of zero area are segments or points.

        Raises ShapeError for other shapes or an empty mesh, DataError for vertices that are not finite or do not exist.
        """
        v, f = np.asarray(vertices, np.float64), np.asarray(faces)
        if v.ndim != 2 or f.ndim != 2 or v.shape[1] != 3 or f.shape[1] != 3 or f.shape[0] == 0:
            raise ShapeError(f"a mesh needs vertices (V, 3) and faces (F, 3), F > 0; got {v.shape} and {f.shape}")
        if not np.isfinite(v).all():
            raise DataError("the mesh has vertices that are NaN or infinite; no distance to it can be measured")
        if f.min() < 0 or f.max() >= len(v):
            raise DataError(f"the mesh has faces that name vertices outside 0..{len(v) - 1}")
        self.centre = v[f].mean((0, 1))
        """Origin of the inner coordinates: keeps digits where a scan stands far from zero."""
        corners = v[f] - self.centre
        self.order: Ints = np.argsort(_morton(corners.mean(1)), kind="stable")
        corners = corners[self.order]
        self.middle: Floats = corners.mean(1)
        self.radius: Floats = np.linalg.norm(corners - self.middle[:, None], axis=2).max(1) * _MARGIN
        self.tree = cKDTree(self.middle)
        self.frames = _frames(corners)

    def closest(self, points: NDArray[np.floating]) -> Closest:
        """The nearest point of the surface for each of (N, 3) points: exact, whatever the distance.

        Raises ShapeError or DataError for points of another shape or not finite.
        """
        p = np.asarray(points, np.float64)
        if p.ndim != 2 or p.shape[1] != 3:
            raise ShapeError(f"points must be (N, 3), got {p.shape}")
        if not np.isfinite(p).all():
            raise DataError("points to measure from hold NaN or infinity")
        squared, face = np.empty(len(p)), np.empty(len(p), np.int64)
        if len(p) == 0:
            return Closest(squared, face)
        blocks = _Blocks.of(p - self.centre)
        near = _Near.of(blocks, self)
        with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
            for rows, s, f in pool.map(lambda b: self._solve(blocks, near, b), near.batches()):
                squared[blocks.rows[rows]], face[blocks.rows[rows]] = s, f
        return Closest(np.sqrt(squared), self.order[face])

    def _solve(self, blocks: "_Blocks", near: "_Near", b: Ints) -> tuple[Ints, Floats, Ints]:
        """Squared distances and faces (len(b), _BLOCK) of some blocks."""
        faces, real = near.table(b)
        K = faces.shape[1]
        offset = self.middle[faces] - blocks.centre[b][:, None]
        right = np.empty((len(b), 5, K))
        right[:, :3] = -2 * offset.transpose(0, 2, 1)
        right[:, 3] = 1
        right[:, 4] = np.where(real, np.einsum("bkc,bkc->bk", offset, offset), np.inf)
        to_middle = blocks.left[b] @ right  # squared distances point - centroid, (B, C, K)
        flat = np.ascontiguousarray(blocks.points[b].reshape(-1, 3).T)
        nearest = np.take_along_axis(faces, to_middle.argmin(2), 1).reshape(-1)
        bound = np.sqrt(self._squared(flat, nearest)).reshape(len(b), -1, 1)
        limit = bound + self.radius[faces][:, None]
        limit *= limit * _MARGIN
        live = np.flatnonzero(to_middle <= limit)
        point = live // K
        face = faces[point // _BLOCK, live - point * K]
        squared = self._squared(flat[:, point], face)
        start = np.searchsorted(point, np.arange(flat.shape[1]))
        best = np.minimum.reduceat(squared, start)
        hit = np.flatnonzero(squared == best[point])[::-1]
        winner = np.empty(flat.shape[1], np.int64)
        winner[point[hit]] = face[hit]
        return b, best.reshape(len(b), -1), winner.reshape(len(b), -1)

    def _squared(self, p: Floats, face: Ints) -> Floats:
        """Squared distances of points (3, M) to one face each (M,)."""
        k = np.take(self.frames, face, axis=1)
        dx, dy, dz = p[0] - k[0], p[1] - k[1], p[2] - k[2]
        x = dx * k[3] + dy * k[4] + dz * k[5]
        y = dx * k[6] + dy * k[7] + dz * k[8]
        z = dx * k[9] + dy * k[10] + dz * k[11]
        length, cx, cy, per_ac, per_bc = k[12:]
        bx, xb, up = cx - length, x - length, cy * y
        best = np.clip(x, 0, length)  # along ab
        best -= x
        best *= best
        best += y * y
        for ex, px, per in ((cx, x, per_ac), (bx, xb, per_bc)):  # along ac, along bc
            t = (px * ex + up) * per
            np.clip(t, 0, 1, out=t)
            u = t * ex - px
            u *= u
            t *= cy
            t -= y
            t *= t
            u += t
            np.minimum(best, u, out=best)
        inside = (y > 0) & (bx * y > cy * xb) & (cy * x > cx * y)  # strict: a face without area has no inside
        best[inside] = 0
        z *= z
        best += z
        return best


@dataclass(frozen=True, eq=False)
class _Blocks:
    """Query points in groups of neighbours; the last group is filled up with repeats."""

    rows: Ints
    """(B, C) which point."""
    points: Floats
    """(B, C, 3)."""
    centre: Floats
    """(B, 3) of the block's box."""

    @classmethod
    def of(cls, points: Floats) -> "_Blocks":
        order = np.argsort(_morton(points), kind="stable")
        rows = np.concatenate([order, np.repeat(order[-1:], -len(order) % _BLOCK)]).reshape(-1, _BLOCK)
        grouped = points[rows]
        return cls(rows, grouped, (grouped.min(1) + grouped.max(1)) / 2)

    @cached_property
    def left(self) -> Floats:
        """(B, C, 5) factor of the product that gives squared distances in the block's own coordinates."""
        local = self.points - self.centre[:, None]
        ones = np.ones((*local.shape[:2], 1))
        return np.concatenate([local, np.einsum("bcx,bcx->bc", local, local)[..., None], ones], 2)

    @property
    def radius(self) -> Floats:
        """(B,) of the sphere about the centre that holds the block."""
        return np.sqrt(self.left[..., 3].max(1)) * _MARGIN


@dataclass(frozen=True, eq=False)
class _Near:
    """Which faces can be closest to some point of each block."""

    faces: Ints
    """All lists, one after another."""
    start: Ints
    """(B + 1,) where each block's list begins."""

    @classmethod
    def of(cls, blocks: _Blocks, surface: Surface) -> "_Near":
        radius = blocks.radius
        to_surface, _ = surface.tree.query(blocks.centre)
        # A point is at most `radius` from the centre, so at most `to_surface + radius` from the surface.
        reach = (to_surface + 2 * radius) * _MARGIN
        lists = surface.tree.query_ball_point(blocks.centre, reach + surface.radius.max(), return_sorted=False)
        count = np.fromiter(map(len, lists), np.int64, len(lists))
        faces = np.fromiter(itertools.chain.from_iterable(lists), np.int64, int(count.sum()))
        block = np.repeat(np.arange(len(count)), count)
        offset = surface.middle[faces] - blocks.centre[block]
        keep = np.einsum("kc,kc->k", offset, offset) <= (reach[block] + surface.radius[faces]) ** 2
        count = np.bincount(block[keep], minlength=len(count))
        return cls(faces[keep], np.concatenate([[0], np.cumsum(count)]))

    def batches(self) -> Iterator[Ints]:
        """Blocks in groups with lists of similar length, so that tables waste little."""
        count = np.diff(self.start)
        order = np.argsort(count, kind="stable")
        group = np.cumsum(count[order] * _BLOCK) // _PAIRS
        yield from np.split(order, np.flatnonzero(np.diff(group)) + 1)

    def table(self, b: Ints) -> tuple[Ints, NDArray[np.bool_]]:
        """(len(b), K) faces of these blocks, and which entries are real."""
        count = self.start[b + 1] - self.start[b]
        column = np.arange(count.max())
        at = np.minimum(self.start[b][:, None] + column, len(self.faces) - 1)
        return self.faces[at], column < count[:, None]


def _frames(corners: Floats) -> Floats:
    """(17, F) each face in its own plane: corner a, axes ab / in-plane / normal, b = (length, 0), c = (cx, cy)."""
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    e1, length = _unit(b - a)
    cx = ((c - a) * e1).sum(1)
    e2, cy = _unit(c - a - cx[:, None] * e1)
    e1 = np.where(length[:, None] > 0, e1, 0)
    # A face without area has no plane: axes that vanish would lose the distance, so any orthonormal frame is taken.
    for flat in np.flatnonzero((length == 0) | (cy == 0)):
        e1[flat], e2[flat] = _any_axes(e1[flat], (c - a)[flat])
        cx[flat], cy[flat] = (c - a)[flat] @ e1[flat], 0.0
    per = [_inverse(cx**2 + cy**2), _inverse((cx - length) ** 2 + cy**2)]
    return np.stack([*a.T, *e1.T, *e2.T, *np.cross(e1, e2).T, length, cx, cy, *per])


def _any_axes(e1: Floats, c: Floats) -> tuple[Floats, Floats]:
    """Two orthonormal axes, the first along e1 (or along c where e1 vanishes, or along x)."""
    first = next((v / n for v in (e1, c) if (n := np.linalg.norm(v)) > 0), np.array([1.0, 0.0, 0.0]))
    other = np.eye(3)[np.abs(first).argmin()]
    second = other - (other @ first) * first
    return first, second / np.linalg.norm(second)


def _unit(v: Floats) -> tuple[Floats, Floats]:
    length = np.linalg.norm(v, axis=1)
    return v / np.where(length > 0, length, 1)[:, None], length


def _inverse(v: Floats) -> Floats:
    return np.where(v > 0, 1 / np.where(v > 0, v, 1), 0)


def _morton(points: Floats) -> NDArray[np.uint32]:
    """Codes whose order keeps neighbours together: bits of the three coordinates interleaved, 10 each."""
    low = points.min(0)
    span = float((points.max(0) - low).max()) or 1.0
    cell = ((points - low) * (1023 / span)).astype(np.uint32).T
    for shift, mask in ((16, 0x030000FF), (8, 0x0300F00F), (4, 0x030C30C3), (2, 0x09249249)):
        cell = (cell | (cell << np.uint32(shift))) & np.uint32(mask)
    return cell[0] | (cell[1] << np.uint32(1)) | (cell[2] << np.uint32(2))
