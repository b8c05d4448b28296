"""The nearest face of a triangle mesh for many points, in numpy and scipy, without a loop over points.

How: points are put in Morton order, so that eight neighbours make a small block and eight small blocks a large one.
The distance to one face near its block bounds each point from above. A face can only matter to a block if its
enclosing ball comes closer than that: a k-d tree over the faces lists them for large blocks, then the lists are sifted
for small blocks and for single points, each time by one matrix product. The few faces left (about ten a point) are
evaluated exactly in float64. Every bound is conservative, so the answer is that of trying all faces.
"""

import itertools
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_GROUP = 8
"""Points in a small block, and small blocks in a large one."""
_PART = (4096, 32768)
"""Fewest and most points that one thread takes at a time."""
_PAIRS = 150_000
"""Pairs sifted at a time: the arrays stay in the processor's cache."""
_MOST = 20_000_000
"""Pairs that a thread may hold at most; bounds the memory where points are about equally far from many faces."""
_EXACT = 16_384
"""Pairs evaluated exactly at a time, for the same reason."""
_MARGIN = 1 + 1e-9
"""Bounds are widened by this factor, far above the rounding of float64."""
_FLAT = 1e-14
"""Height of a face over its longest side that is rounding alone."""
_ROUNDING = 1e-14
"""Relative rounding of a product of six terms in float64, with room: 6 * 2**-53 = 7e-16."""


@dataclass(frozen=True, eq=False)
class _Lists:
    """Candidate faces of n balls, one list after another, in any order."""

    owner: Ints
    """(n,) which ball each list belongs to."""
    start: Ints
    """(n + 1,) where each list begins."""
    faces: Ints

    @classmethod
    def of(cls, owner: Ints, count: Ints, faces: Ints) -> "_Lists":
        return cls(owner, np.concatenate([[0], np.cumsum(count)]), faces)

    def batches(self) -> Iterator[Ints]:
        """Lists of similar length together, so that tables of them waste little."""
        size = np.diff(self.start)
        order = np.argsort(size, kind="stable")
        batch = np.cumsum(size[order] * _GROUP) // _PAIRS
        octave = np.log2(np.maximum(size[order], 1)).astype(np.int64)
        yield from np.split(order, np.flatnonzero(np.diff(batch) + np.diff(octave)) + 1)

    def table(self, lists: Ints, nothing: int) -> Ints:
        """(n, K) faces of some lists, short ones filled up with the number `nothing`."""
        size = self.start[lists + 1] - self.start[lists]
        column = np.arange(size.max())
        at = np.minimum(self.start[lists][:, None] + column, len(self.faces) - 1)
        return np.where(column < size[:, None], np.take(self.faces, at), nothing)


class Blocks:
    """Faces prepared for searching. Coordinates are expected about zero: far from it, digits are lost."""

    def __init__(self, corners: Floats) -> None:
        """From the corners of faces (F, 3, 3), F > 0; those without area are segments or points."""
        self.order: Ints = np.argsort(morton(corners.mean(1)), kind="stable")
        corners = corners[self.order]
        self.middle, self.radius = _enclosing_balls(corners)
        square = np.einsum("fc,fc->f", self.middle, self.middle)
        self.largest = float(square.max())
        rows = [
            -2 * self.middle,
            (square - self.radius**2)[:, None],
            np.ones((len(square), 1)),
            -2 * self.radius[:, None],
        ]
        self.balls = np.concatenate([np.concatenate(rows, 1), [[0, 0, 0, np.inf, 0, 0]]])
        """One row a face for `_sifted`, and one that no ball comes near."""
        self.tree = cKDTree(self.middle)
        self.frames = _frames(corners)

    def closest(self, p: Floats) -> tuple[Floats, Ints]:
        """Squared distance (N,) and face (N,) of points (N, 3), N > 0; exact, whatever the distance. All cores."""
        squared, face = np.empty(len(p)), np.empty(len(p), np.int64)
        threads = os.cpu_count() or 1
        part = min(max(len(p) // threads, _PART[0]), _PART[1])
        parts = np.array_split(np.argsort(morton(p), kind="stable"), -(-len(p) // part))
        with ThreadPoolExecutor(min(len(parts), threads)) as pool:
            solved = pool.map(lambda rows: self._part(p[rows]), parts)
            for rows, (s, f) in zip(parts, solved, strict=True):
                squared[rows], face[rows] = s, f
        return squared, self.order[face]

    def _part(self, sorted_points: Floats) -> tuple[Floats, Ints]:
        """Squared distance and face of each of (N, 3) points in Morton order."""
        count = len(sorted_points)
        fill = np.repeat(sorted_points[-1:], -count % _GROUP**2, axis=0)
        points = np.concatenate([sorted_points, fill]).reshape(-1, _GROUP, 3)
        small = (points.min(1) + points.max(1)) / 2
        _, near = self.tree.query(small)
        columns = np.ascontiguousarray(points.reshape(-1, 3).T)
        bound = np.sqrt(self._squared(columns, np.repeat(near, _GROUP))) * _MARGIN
        bound = bound.reshape(-1, _GROUP)
        large = small.reshape(-1, _GROUP, 3).mean(1)
        # Closer than `bound` to a point means closer than bound + |point - centre| to the block's centre.
        small_reach = (bound + np.linalg.norm(points - small[:, None], axis=2)).max(1).reshape(-1, _GROUP) * _MARGIN
        offset = np.linalg.norm(small.reshape(-1, _GROUP, 3) - large[:, None], axis=2)
        lists = self._listed(large, (small_reach + offset).max(1) * _MARGIN)
        lists = self._sifted(lists, small.reshape(-1, _GROUP, 3), small_reach)
        if len(lists.faces) * _GROUP > _MOST and count > _GROUP**2:  # points in the middle of a ball see every face
            halves = [self._part(half) for half in np.array_split(sorted_points, 2)]
            return np.concatenate([h[0] for h in halves]), np.concatenate([h[1] for h in halves])
        lists = self._sifted(lists, points, bound)
        point = np.repeat(lists.owner, np.diff(lists.start))
        squared = np.empty(len(point))
        for k in range(0, len(point), _EXACT):
            part = slice(k, k + _EXACT)
            squared[part] = self._squared(np.take(columns, point[part], axis=1), lists.faces[part])
        best = np.empty(columns.shape[1])
        best[lists.owner] = np.minimum.reduceat(squared, lists.start[:-1])
        hit = np.flatnonzero(squared == np.take(best, point))
        winner = np.empty(len(best), np.int64)
        winner[point[hit]] = lists.faces[hit]
        return best[:count], winner[:count]

    def _listed(self, centre: Floats, reach: Floats) -> _Lists:
        """Faces whose ball may come within reach (B,) of each centre (B, 3)."""
        found = self.tree.query_ball_point(centre, reach + self.radius.max(), return_sorted=False)
        count = np.fromiter(map(len, found), np.int64, len(found))
        faces = np.fromiter(itertools.chain.from_iterable(found), np.int64, int(count.sum()))
        return _Lists.of(np.arange(len(centre)), count, faces)

    def _sifted(self, lists: _Lists, centre: Floats, reach: Floats) -> _Lists:
        """Lists of the children (B * G) out of those of their parents (B).

        centre (B, G, 3), reach (B, G): a face stays if |centre - middle| <= reach + radius. With the square taken
        apart, |c - m|^2 - radius^2 - 2 reach radius <= reach^2, the left side is one product of rows of six.
        """
        owners, counts, faces = [], [], []
        for batch in lists.batches():
            table = lists.table(batch, len(self.radius))
            b = lists.owner[batch]
            left = np.empty((len(b), _GROUP, 6))
            left[..., :3], left[..., 3], left[..., 5] = centre[b], 1, reach[b]
            left[..., 4] = square = np.einsum("bgc,bgc->bg", centre[b], centre[b])
            limit = reach[b] ** 2 + _ROUNDING * (square + reach[b] ** 2 + self.largest)
            stays = left @ np.take(self.balls, table, axis=0).transpose(0, 2, 1) <= limit[..., None]
            count = np.count_nonzero(stays, axis=2).reshape(-1)
            row = np.arange(len(count))  # of `stays`; its place in `table` is that of its parent
            shift = (row - row // _GROUP) * table.shape[1]
            owners.append((b[:, None] * _GROUP + np.arange(_GROUP)).reshape(-1))
            counts.append(count)
            faces.append(np.take(table, np.flatnonzero(stays) - np.repeat(shift, count)))
        return _Lists.of(np.concatenate(owners), np.concatenate(counts), np.concatenate(faces))

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


def _enclosing_balls(corners: Floats) -> tuple[Floats, Floats]:
    """Centres (F, 3), on the faces, and radii (F,) of the smallest balls about triangles (F, 3, 3)."""
    side = np.stack([corners[:, 2] - corners[:, 1], corners[:, 0] - corners[:, 2], corners[:, 1] - corners[:, 0]], 1)
    squared = np.einsum("fsc,fsc->fs", side, side)  # opposite corners 0, 1, 2
    weight = squared * (squared.sum(1, keepdims=True) - 2 * squared)  # barycentric circumcentre; < 0 where obtuse
    longest = np.arange(3) == squared.argmax(1)[:, None]
    blunt = (weight <= 0).any(1)
    weight[blunt] = np.where(longest[blunt], 0.0, 1.0)  # middle of the longest side
    middle = np.einsum("fs,fsc->fc", weight / weight.sum(1, keepdims=True), corners)
    return middle, np.linalg.norm(corners - middle[:, None], axis=2).max(1) * _MARGIN


def _frames(corners: Floats) -> Floats:
    """(17, F) each face in its own plane: corner a, axes ab / in-plane / normal, b = (length, 0), c = (cx, cy)."""
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    e1, length = _unit(b - a)
    cx = ((c - a) * e1).sum(1)
    e2, cy = _unit(c - a - cx[:, None] * e1)
    e2, _ = _unit(e2 - (e2 * e1).sum(1, keepdims=True) * e1)  # a needle's first e2 leans on e1 by its rounding
    # A face without area has no plane: axes that vanish would lose the distance, so any orthonormal frame is taken.
    for flat in np.flatnonzero((length == 0) | (cy <= _FLAT * np.maximum(length, np.abs(cx)))):
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


def morton(points: Floats) -> NDArray[np.uint32]:
    """Codes whose order keeps neighbours together: bits of the three coordinates interleaved, 10 each.

    The upper 15 of the 30 bits are those of a grid of 32 cells a side.
    """
    at = np.ascontiguousarray(points.T, np.float32)  # contiguous axes: five times as fast
    at -= at.min(1, keepdims=True)
    at *= 1023 / (float(at.max()) or 1.0)
    cell = at.astype(np.uint32)
    bits = np.arange(1024, dtype=np.uint32)
    for shift, mask in ((16, 0x030000FF), (8, 0x0300F00F), (4, 0x030C30C3), (2, 0x09249249)):
        bits = (bits | (bits << np.uint32(shift))) & np.uint32(mask)
    out: NDArray[np.uint32] = bits.take(cell[0]) | (bits << 1).take(cell[1]) | (bits << 2).take(cell[2])
    return out
