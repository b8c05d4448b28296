"""Light on surfaces: from hits to colours, all in linear light until the last step."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from openexpose.errors import ConfigError
from openexpose.render.scene import Hits, Material, Scene

Vector = tuple[float, float, float]


@dataclass(frozen=True)
class Light:
    """A far light."""

    towards: Vector
    """From the surface to the light, any length; frame: see Lighting."""
    colour: Vector = (1.0, 1.0, 1.0)
    """Linear RGB, may exceed 1."""
    casts_shadow: bool = False


@dataclass(frozen=True)
class Lighting:
    """All light of a picture. Directions are in camera axes (x right, y down, z away) or world axes."""

    lights: tuple[Light, ...]
    sky: Vector = (0.37, 0.38, 0.41)
    """Ambient light from above, linear RGB."""
    ground: Vector = (0.21, 0.19, 0.18)
    """Ambient light from below."""
    up: Vector = (0.0, -1.0, 0.0)
    frame: Literal["camera", "world"] = "camera"

    def __post_init__(self) -> None:
        for v in (self.up, *(light.towards for light in self.lights)):
            if not np.linalg.norm(v) > 0:
                raise ConfigError(f"a light direction of {v}: needs a length above 0")


STUDIO = Lighting(
    lights=(
        Light(towards=(-0.55, -0.65, -0.75), colour=(1.10, 1.06, 1.00), casts_shadow=True),
        Light(towards=(0.90, -0.10, -0.60), colour=(0.22, 0.25, 0.30)),
        Light(towards=(0.55, -0.55, 0.85), colour=(0.42, 0.44, 0.48)),
    )
)
"""Three-point light fixed to the camera: warm key from upper left, cool fill, rim from behind."""
FLAT = Lighting(lights=(Light(towards=(0.0, 0.0, -1.0), colour=(0.55, 0.55, 0.55)),), sky=(0.4,) * 3, ground=(0.4,) * 3)
"""A soft headlight: for charts where labels matter more than form."""


@dataclass(frozen=True, eq=False)
class Surface:
    """Hit points with what shading needs; N samples, float32, world axes."""

    face: NDArray[np.int32]
    bary: NDArray[np.float32]
    towards_eye: NDArray[np.float32]
    """Unit vectors."""
    normals: NDArray[np.float32]
    """Unit, turned to the viewer's side."""


def surface_at(scene: Scene, hits: Hits, towards_eye: NDArray[np.float32]) -> Surface:
    """The surface under the rays; every hit must be a real one (face >= 0)."""
    n = interpolated(hits.bary, scene.corner_normals[hits.face])
    facing = np.einsum("nc,nc->n", scene.face_normals[hits.face], towards_eye)
    length = np.maximum(np.sqrt(np.einsum("nc,nc->n", n, n)), np.float32(1e-20))
    n *= (np.where(facing < 0, np.float32(-1), np.float32(1)) / length)[:, None]
    return Surface(face=hits.face, bary=hits.bary, towards_eye=towards_eye, normals=n)


def interpolated(bary: NDArray[np.float32], corners: NDArray[np.float32]) -> NDArray[np.float32]:
    """Weighted sum over the corners: (N, 3) weights of (N, 3 corners) numbers or (N, 3 corners, C) vectors."""
    if corners.ndim == 2:
        return np.einsum("nk,nk->n", bary, corners)
    out = bary[:, :1] * corners[:, 0]
    out += bary[:, 1:2] * corners[:, 1]
    out += bary[:, 2:] * corners[:, 2]
    return out


def shade(
    scene: Scene,
    surface: Surface,
    lighting: Lighting,
    *,
    R_camera_world: Float[np.ndarray, "3 3"],
    openness: NDArray[np.float32] | None,
) -> NDArray[np.float32]:
    """(N, 3) sRGB colours 0..1 of the surface samples.

    openness: (V,) share of ambient light that reaches each vertex, None for all.
    Wrapped Lambert + Blinn-Phong + a rim term; ambient light blends from ground to sky with the normal.
    """
    turn = R_camera_world.T if lighting.frame == "camera" else np.eye(3)
    albedo = _albedo(scene, surface)
    ambient_share = None if openness is None else interpolated(surface.bary, openness[scene.faces][surface.face])
    directions = [_unit(turn @ np.array(light.towards)) for light in lighting.lights]
    shadows = [
        _lit_share(scene, surface, d) if light.casts_shadow else None
        for light, d in zip(lighting.lights, directions, strict=True)
    ]
    ambient = _ambient(surface.normals, lighting, _unit(turn @ np.array(lighting.up)), ambient_share)
    out = np.empty_like(albedo)
    mesh = scene.mesh_of_face[surface.face]
    for material in dict.fromkeys(m.material for m in scene.meshes):
        own = np.array([m.material == material for m in scene.meshes])
        pick: NDArray[np.bool_] | slice = slice(None) if own.all() else own[mesh]
        rows = [None if s is None else s[pick] for s in shadows]
        direct, gloss = _direct(
            surface.normals[pick],
            surface.towards_eye[pick],
            material,
            lighting,
            list(zip(directions, rows, strict=True)),
        )
        light = ambient[pick] + direct
        out[pick] = albedo[pick] * light + gloss
    return to_srgb(out)


def to_srgb(linear: NDArray[np.float32]) -> NDArray[np.float32]:
    """sRGB in 0..1 of linear light, with a soft shoulder above 0.8 instead of a hard clip."""
    x = np.maximum(linear, np.float32(0))
    over = np.maximum(x - np.float32(0.8), 0)
    x = np.minimum(x, np.float32(0.8)) + over / (1 + over * np.float32(5))
    return np.where(
        x <= 0.0031308, x * np.float32(12.92), np.float32(1.055) * x ** np.float32(1 / 2.4) - np.float32(0.055)
    )


def _albedo(scene: Scene, surface: Surface) -> NDArray[np.float32]:
    if scene.face_albedo is not None:
        return scene.face_albedo[surface.face]
    return interpolated(surface.bary, scene.corner_albedo[surface.face])


def _ambient(
    normals: NDArray[np.float32], lighting: Lighting, up: NDArray[np.float32], share: NDArray[np.float32] | None
) -> NDArray[np.float32]:
    height = (_along(normals, up) * np.float32(0.5) + np.float32(0.5))[:, None]
    sky, ground = np.array(lighting.sky, dtype=np.float32), np.array(lighting.ground, dtype=np.float32)
    ambient = ground + height * (sky - ground)
    return ambient if share is None else ambient * share[:, None]


def _direct(
    normals: NDArray[np.float32],
    towards_eye: NDArray[np.float32],
    material: Material,
    lighting: Lighting,
    lights: list[tuple[NDArray[np.float32], NDArray[np.float32] | None]],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Light that the surface scatters (to be multiplied with its colour), and its gloss; (N, 3) each.

    Channels first inside: numpy is several times faster along long rows.
    """
    n, eye = np.ascontiguousarray(normals.T), np.ascontiguousarray(towards_eye.T)
    n_eye = n[0] * eye[0] + n[1] * eye[1] + n[2] * eye[2]
    rim = np.float32(material.rim) * (1 - np.clip(n_eye, 0, 1)) ** 3
    diffuse = np.stack([rim, rim, rim])
    gloss = np.zeros_like(diffuse)
    for light, (d, lit) in zip(lighting.lights, lights, strict=True):
        n_d = n[0] * d[0] + n[1] * d[1] + n[2] * d[2]
        eye_d = eye[0] * d[0] + eye[1] * d[1] + eye[2] * d[2]
        # the halfway vector is eye + d; both are unit, so its squared length is 2 + 2 eye . d
        shine = np.maximum((n_eye + n_d) / np.sqrt(np.maximum(2 + 2 * eye_d, np.float32(1e-9))), 0)
        shine = np.float32(material.specular) * shine ** np.float32(material.shininess) * (n_d > 0)
        if lit is not None:
            shine *= lit
        for c in range(3):
            wrap = np.float32(material.wrap[c])
            scattered = np.maximum((n_d + wrap) * np.float32(light.colour[c] / (1 + wrap) ** 2), 0)
            diffuse[c] += scattered if lit is None else scattered * lit
            gloss[c] += shine * np.float32(light.colour[c])
    return diffuse.T, gloss.T


def _lit_share(scene: Scene, surface: Surface, d: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N,) share of a far, wide light that reaches each sample, computed at the vertices and interpolated.

    A light of about 10 degrees: eight rays in a cone around its direction.
    """
    seen = np.zeros(len(scene.faces), dtype=bool)
    seen[surface.face] = True
    needed = np.zeros(len(scene.vertices), dtype=bool)
    needed[scene.faces[seen]] = True
    used = np.flatnonzero(needed)
    points = scene.vertices[used] + scene.normals[used] * np.float32(scene.lift_m)
    x = _unit(np.cross(d, [0.31, 0.87, 0.38] if abs(d[1]) < 0.8 else [1.0, 0.0, 0.0]))
    y = np.cross(d, x)
    free = np.zeros(len(used), dtype=np.float32)
    rays = 8
    for k in range(rays):
        radius, angle = 0.18 * np.sqrt((k + 0.5) / rays), 2.3999632 * k
        ray = _unit(d + radius * (np.cos(angle) * x + np.sin(angle) * y))
        free += ~scene.blocked(points, np.broadcast_to(ray, points.shape), 10 * scene.size_m)
    share = np.zeros(len(scene.vertices), dtype=np.float32)
    share[used] = free / rays
    return interpolated(surface.bary, share[scene.faces][surface.face])


def _along(vectors: NDArray[np.float32], d: NDArray[np.float32]) -> NDArray[np.float32]:
    """Dot products with one vector, written out: BLAS would start threads for rows of three."""
    return vectors[:, 0] * d[0] + vectors[:, 1] * d[1] + vectors[:, 2] * d[2]


def _unit(v: NDArray[np.floating]) -> NDArray[np.float32]:
    return (v / np.linalg.norm(v)).astype(np.float32)
