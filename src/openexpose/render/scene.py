"""Meshes with materials, and the ray-tracing structure over all of them.

Everything here is headless and CPU-only: embreex (Intel's Embree) answers the ray queries, numpy does the rest.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray

from openexpose.errors import DataError, ShapeError

Kept = TypeVar("Kept")
Colour = tuple[float, float, float]
"""sRGB, each 0..1."""


@dataclass(frozen=True)
class Material:
    """How a surface answers light."""

    colour: Colour = (0.80, 0.78, 0.75)
    """sRGB base colour where the mesh brings no colours of its own."""
    wrap: Colour = (0.10, 0.10, 0.10)
    """How far light reaches round the terminator, per channel: 0 stone, more in red looks like skin."""
    specular: float = 0.10
    """Strength of the highlight."""
    shininess: float = 24.0
    """Blinn-Phong exponent: larger is a smaller highlight."""
    rim: float = 0.10
    """Brightening of grazing angles."""


CLAY = Material()
"""A neutral plaster figure: for judging shape."""
SKIN = Material(colour=(0.80, 0.62, 0.53), wrap=(0.32, 0.16, 0.12), specular=0.14, shininess=18.0, rim=0.12)
"""A soft skin-like colour."""
BLUE = Material(colour=(0.62, 0.72, 0.86), wrap=(0.12, 0.12, 0.12), specular=0.12, shininess=24.0, rim=0.10)
"""The light blue of mesh-recovery overlays: stands out from photos."""


@dataclass(frozen=True, eq=False)
class Mesh:
    """A triangle mesh as the renderer wants it. Raises DataError for faces or coordinates that cannot be drawn."""

    vertices_m: Float[np.ndarray, "V 3"]
    faces: Int[np.ndarray, "F 3"]
    """Counter-clockwise from outside; both sides are drawn."""
    material: Material = CLAY
    vertex_colours: Float[np.ndarray, "V 3"] | None = None
    """sRGB 0..1, instead of the material's colour."""
    face_colours: Float[np.ndarray, "F 3"] | None = None
    """sRGB 0..1, instead of the material's colour; not together with vertex_colours."""
    smooth: bool = True
    """Interpolate vertex normals; False shows the facets."""

    def __post_init__(self) -> None:
        v, f = self.vertices_m, self.faces
        if v.ndim != 2 or v.shape[1] != 3 or f.ndim != 2 or f.shape[1] != 3 or not len(f):
            raise ShapeError(f"a mesh needs vertices (V, 3) and at least one face (F, 3), got {v.shape} and {f.shape}")
        if not np.isfinite(v).all():
            raise DataError(f"vertex {int(np.argmax(~np.isfinite(v).all(axis=1)))} of the mesh is not finite")
        if f.min() < 0 or f.max() >= len(v):
            raise DataError(f"the faces name vertices {f.min()}..{f.max()}, the mesh has 0..{len(v) - 1}")
        if self.vertex_colours is not None and self.face_colours is not None:
            raise DataError("a mesh has vertex colours or face colours, not both")


def vertex_normals(vertices_m: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"]) -> Float[np.ndarray, "V 3"]:
    """Unit normals, each the area-weighted mean over the faces around the vertex; zero where those cancel.

    Source: the cross product of two edges has twice the face's area as its length (Gouraud 1971).
    """
    corners = vertices_m[faces]
    weighted = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    flat = faces.ravel()
    total = np.stack(
        [np.bincount(flat, weights=np.repeat(weighted[:, k], 3), minlength=len(vertices_m)) for k in range(3)], axis=-1
    )
    length = np.linalg.norm(total, axis=-1, keepdims=True)
    return (total / np.where(length > 1e-30, length, 1.0)).astype(vertices_m.dtype)


def to_linear(srgb: NDArray[np.floating]) -> NDArray[np.float32]:
    """Linear light of sRGB values in 0..1 (IEC 61966-2-1)."""
    x = np.clip(np.asarray(srgb, dtype=np.float32), 0.0, 1.0)
    return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4).astype(np.float32)


@dataclass(frozen=True)
class Hits:
    """What each ray met first; rays that met nothing have face -1."""

    face: NDArray[np.int32]
    """Index over the faces of all meshes, in order."""
    bary: NDArray[np.float32]
    """(N, 3), weights of the face's three corners."""
    t: NDArray[np.float32]
    """Ray parameter: origin + t * direction."""


@dataclass(eq=False)
class Scene:
    """Meshes ready to be hit by rays; build once, render from many sides."""

    meshes: Sequence[Mesh]
    _kept: dict[Hashable, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if not self.meshes:
            raise DataError("a scene needs at least one mesh")
        offsets = np.cumsum([0] + [len(m.vertices_m) for m in self.meshes])
        self.vertices: NDArray[np.float32] = np.concatenate([m.vertices_m for m in self.meshes]).astype(np.float32)
        parts = [m.faces.astype(np.int64) + o for m, o in zip(self.meshes, offsets[:-1], strict=True)]
        self.faces: NDArray[np.int32] = np.concatenate(parts).astype(np.int32)
        self.first_face: NDArray[np.int64] = np.cumsum([0] + [len(p) for p in parts])
        self.mesh_of_face: NDArray[np.int32] = np.repeat(np.arange(len(parts), dtype=np.int32), [len(p) for p in parts])
        self._embree = EmbreeScene(robust=True)  # no ray slips between two faces
        self._geometry = TriangleMesh(self._embree, self.vertices, self.faces)

    @classmethod
    def of(cls, *meshes: Mesh) -> "Scene":
        """A scene of the given meshes."""
        return cls(meshes)

    @cached_property
    def normals(self) -> NDArray[np.float32]:
        """(V, 3) vertex normals."""
        return vertex_normals(self.vertices, self.faces)

    @cached_property
    def corner_normals(self) -> NDArray[np.float32]:
        """(F, 3 corners, 3) normals to interpolate; the face's own where its mesh is not smooth."""
        smooth = np.array([m.smooth for m in self.meshes])[self.mesh_of_face]
        corners = self.normals[self.faces]
        return corners if smooth.all() else np.where(smooth[:, None, None], corners, self.face_normals[:, None])

    @cached_property
    def face_normals(self) -> NDArray[np.float32]:
        """(F, 3), length twice the face's area."""
        a, b, c = (self.vertices[self.faces[:, k]] for k in range(3))
        return np.cross(b - a, c - a)

    @cached_property
    def size_m(self) -> float:
        """Diagonal of the bounding box."""
        return float(np.linalg.norm(np.ptp(self.vertices, axis=0)))

    @cached_property
    def lift_m(self) -> float:
        """How far off the surface its own shadow rays start: a third of the median edge."""
        edges = self.vertices[self.faces[:, 1]] - self.vertices[self.faces[:, 0]]
        return 0.3 * float(np.median(np.linalg.norm(edges, axis=1)))

    @cached_property
    def face_albedo(self) -> NDArray[np.float32] | None:
        """(F, 3) linear colour of each face, or None if some mesh has colours at its vertices."""
        if any(m.vertex_colours is not None for m in self.meshes):
            return None
        rows = [
            to_linear(np.broadcast_to(np.array(m.material.colour), m.faces.shape))
            if m.face_colours is None
            else to_linear(m.face_colours)
            for m in self.meshes
        ]
        return np.concatenate(rows)

    @cached_property
    def corner_albedo(self) -> NDArray[np.float32]:
        """(F, 3 corners, 3) linear colours."""
        rows = []
        for m in self.meshes:
            if m.vertex_colours is not None:
                rows.append(to_linear(m.vertex_colours)[m.faces])
            elif m.face_colours is not None:
                rows.append(np.repeat(to_linear(m.face_colours)[:, None], 3, axis=1))
            else:
                rows.append(np.broadcast_to(to_linear(np.array(m.material.colour)), (len(m.faces), 3, 3)))
        return np.concatenate(rows)

    def cast(self, origins: NDArray[np.float32], directions: NDArray[np.float32]) -> Hits:
        """First hits of the rays origin + t * direction, t > 0; both arrays (N, 3), float32."""
        found = self._embree.run(np.ascontiguousarray(origins), np.ascontiguousarray(directions), output=True)
        u, v = found["u"], found["v"]
        return Hits(face=found["primID"], bary=np.stack([1 - u - v, u, v], axis=-1), t=found["tfar"])

    def blocked(
        self, origins: NDArray[np.float32], directions: NDArray[np.float32], reach_m: float
    ) -> Bool[np.ndarray, " N"]:
        """Which rays meet a surface before `reach_m`; unit directions."""
        reach = np.full(len(origins), reach_m, dtype=np.float32)
        found = self._embree.run(
            np.ascontiguousarray(origins), np.ascontiguousarray(directions), reach, query="OCCLUDED"
        )
        return found != -1

    def openness(self, rays: int, reach_m: float) -> NDArray[np.float32]:
        """(V,) cosine-weighted share of the sky each vertex sees within `reach_m`; 1 is free. Cached.

        Per vertex, not per pixel: it does not depend on the view, and interpolation hides the sampling noise.
        Source: ambient occlusion (Zhukov et al. 1998), directions on a Fibonacci spiral turned per vertex.
        """
        return self.kept(
            ("openness", rays, reach_m),
            lambda: self._smoothed(self.sky_share(self.vertices, self.normals, rays, reach_m)),
        )

    def kept(self, key: Hashable, make: Callable[[], Kept]) -> Kept:
        """What `make` returned for this key the first time: for results that do not depend on the view."""
        if key not in self._kept:
            self._kept[key] = make()
        found: Kept = self._kept[key]
        return found

    def sky_share(
        self, points: NDArray[np.float32], normals: NDArray[np.float32], rays: int, reach_m: float
    ) -> NDArray[np.float32]:
        """(N,) cosine-weighted share of the half sphere above each point that is free within `reach_m`."""
        start = points + normals * np.float32(0.1 * self.lift_m)
        x, y = _tangents(normals)
        turn = (np.arange(len(points), dtype=np.float32) * np.float32(2.3999632)) % np.float32(2 * np.pi)
        free = np.zeros(len(points), dtype=np.float32)
        chunk = max(1, 2_000_000 // max(1, len(points)))
        for first in range(0, rays, chunk):
            k = np.arange(first, min(first + chunk, rays), dtype=np.float32)
            radius = np.sqrt((k + 0.5) / rays).astype(np.float32)
            angle = k[:, None] * np.float32(2.3999632) + turn
            along_x, along_y = radius[:, None] * np.cos(angle), radius[:, None] * np.sin(angle)
            up = np.sqrt(1 - radius**2)[:, None, None]
            d = along_x[..., None] * x + along_y[..., None] * y + up * normals
            origins = np.broadcast_to(start, d.shape).reshape(-1, 3)
            free += len(k) - self.blocked(origins, d.reshape(-1, 3), reach_m).reshape(len(k), -1).sum(axis=0)
        return free / np.float32(rays)

    def _smoothed(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """One pass of averaging over each vertex's faces."""
        mean = values[self.faces].mean(axis=1)
        flat = self.faces.ravel()
        total = np.bincount(flat, weights=np.repeat(mean, 3), minlength=len(values))
        count = np.bincount(flat, minlength=len(values))
        return np.where(count > 0, total / np.maximum(count, 1), values).astype(np.float32)


def _tangents(n: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Two unit vectors square to each unit normal (Duff et al. 2017)."""
    sign = np.where(n[:, 2] >= 0, np.float32(1), np.float32(-1))
    a = -1 / (sign + n[:, 2])
    b = n[:, 0] * n[:, 1] * a
    x = np.stack([1 + sign * n[:, 0] ** 2 * a, sign * b, -sign * n[:, 0]], axis=-1)
    return x, np.stack([b, sign + n[:, 1] ** 2 * a, -n[:, 1]], axis=-1)
