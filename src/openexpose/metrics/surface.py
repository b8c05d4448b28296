"""Exact distances from many points to a triangle mesh."""

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from openexpose.errors import DataError, ShapeError
from openexpose.extras import need
from openexpose.metrics.blocks import Blocks, morton

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Engine = Literal["auto", "igl", "numpy"]
"""igl: libigl's tree of boxes (extra [igl]). numpy: our own blocks. Both try, in effect, every face in float64, so
their distances differ by rounding alone. auto: igl where it is installed."""
_THIN = 1e-3
"""Height over longest side below which a face is a needle. Barycentric coordinates lose the square of it in digits."""


@dataclass(frozen=True, eq=False)
class Closest:
    """Nearest point of a surface for each query point, in the unit of the mesh."""

    distance: Floats
    """(N,) distance, >= 0."""
    face: Ints
    """(N,) a face that holds the nearest point; one of them where several do."""


class _Search(Protocol):
    def closest(self, p: Floats) -> tuple[Floats, Ints]:
        """Squared distance (N,) and face (N,) of points (N, 3), N > 0."""


class Surface:
    """A triangle mesh prepared for distance queries; keep it when many point sets meet one mesh."""

    def __init__(self, vertices: NDArray[np.floating], faces: NDArray[np.integer], *, engine: Engine = "auto") -> None:
        """From vertices (V, 3) in any one unit and faces (F, 3). Faces of zero area are segments or points.

        Raises ShapeError for other shapes or an empty mesh, DataError for vertices that are not finite or do not exist,
        MissingExtra for engine="igl" without libigl.
        """
        v, f = np.asarray(vertices, np.float64), np.asarray(faces, np.int64)
        if v.ndim != 2 or f.ndim != 2 or v.shape[1] != 3 or f.shape[1] != 3 or f.shape[0] == 0:
            raise ShapeError(f"a mesh needs vertices (V, 3) and faces (F, 3), F > 0; got {v.shape} and {f.shape}")
        if not np.isfinite(v).all():
            raise DataError("the mesh has vertices that are NaN or infinite; no distance to it can be measured")
        if f.min() < 0 or f.max() >= len(v):
            raise DataError(f"the mesh has faces that name vertices outside 0..{len(v) - 1}")
        self.centre = v[f].mean((0, 1))
        """Origin of the inner coordinates: keeps digits where a scan stands far from zero."""
        self.engine = _chosen(engine)
        """"igl" or "numpy"."""
        inner = v - self.centre
        self._search: _Search = _Tree(inner, f) if self.engine == "igl" else Blocks(inner[f])

    def closest(self, points: NDArray[np.floating]) -> Closest:
        """The nearest point of the surface for each of (N, 3) points: exact, whatever the distance. Uses all cores.

        Raises ShapeError or DataError for points of another shape or not finite.
        """
        p = np.asarray(points, np.float64)
        if p.ndim != 2 or p.shape[1] != 3:
            raise ShapeError(f"points must be (N, 3), got {p.shape}")
        if not np.isfinite(p).all():
            raise DataError("points to measure from hold NaN or infinity")
        if len(p) == 0:
            return Closest(np.empty(0), np.empty(0, np.int64))
        squared, face = self._search.closest(p - self.centre)
        return Closest(np.sqrt(squared), face)


class _Tree:
    """libigl's tree of boxes, and blocks for needles, where libigl's arithmetic is too coarse.

    libigl's threads (IGL_NUM_THREADS, else all cores) get points together with their neighbours.
    """

    def __init__(self, vertices: Floats, faces: Ints) -> None:
        corners = vertices[faces]
        thin = _are_thin(corners)
        self.vertices, self.faces = np.ascontiguousarray(vertices), np.ascontiguousarray(faces[~thin])
        self.number, self.needles = np.flatnonzero(~thin), np.flatnonzero(thin)
        self.tree = need("igl", "igl").AABB()
        self.tree.init(self.vertices, self.faces)
        self.blocks = Blocks(corners[thin]) if thin.any() else None

    def closest(self, p: Floats) -> tuple[Floats, Ints]:
        """See `_Search`."""
        squared, face = np.full(len(p), np.inf), np.empty(len(p), np.int64)
        if len(self.faces):
            cell = (morton(p) >> 15).astype(np.uint16)  # 16 bits are sorted by counting
            order = np.argsort(cell, kind="stable")
            squared[order], found, _ = self.tree.squared_distance(self.vertices, self.faces, p[order])
            face[order] = self.number[found]
        if self.blocks is not None:
            other, found = self.blocks.closest(p)
            closer = other < squared
            squared[closer], face[closer] = other[closer], self.needles[found[closer]]
        return squared, face


def _are_thin(corners: Floats) -> NDArray[np.bool_]:
    """(F,) whether the height of a face over its longest side is next to nothing."""
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    longest = np.maximum(((b - a) ** 2).sum(1), np.maximum(((c - b) ** 2).sum(1), ((a - c) ** 2).sum(1)))
    thin: NDArray[np.bool_] = np.linalg.norm(np.cross(b - a, c - a), axis=1) <= _THIN * longest
    return thin


def _chosen(engine: Engine) -> Literal["igl", "numpy"]:
    if engine == "auto":
        return "igl" if find_spec("igl") is not None else "numpy"
    return engine
