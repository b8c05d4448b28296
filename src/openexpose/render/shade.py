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
        Light(towards=(0.55, -0.55, 0.85), colour=(0.55, 0.57, 0.62)),
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
    points: NDArray[np.float32]
    towards_eye: NDArray[np.float32]
    """Unit vectors."""
    normals: NDArray[np.float32]
    """Unit, turned to the viewer's side."""


def surface_at(scene: Scene, hits: Hits, points: NDArray[np.float32], towards_eye: NDArray[np.float32]) -> Surface:
    """The surface under the rays; every hit must be a real one (face >= 0)."""
    corners = scene.faces[hits.face]
    smooth = np.array([m.smooth for m in scene.meshes])
    n = np.einsum("nk,nkc->nc", hits.bary, scene.normals[corners])
    if not smooth.all():
        rough = ~smooth[scene.mesh_of_face[hits.face]]
        v = scene.vertices[corners[rough]]
        n[rough] = np.cross(v[:, 1] - v[:, 0], v[:, 2] - v[:, 0])
    n /= np.maximum(np.sqrt(np.einsum("nc,nc->n", n, n)), np.float32(1e-20))[:, None]
    v = scene.vertices[corners]
    facing = np.einsum("nc,nc->n", np.cross(v[:, 1] - v[:, 0], v[:, 2] - v[:, 0]), towards_eye)
    n[facing < 0] *= -1
    return Surface(face=hits.face, bary=hits.bary, points=points, towards_eye=towards_eye, normals=n)


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
    ambient_share = (
        None if openness is None else np.einsum("nk,nk->n", surface.bary, openness[scene.faces[surface.face]])
    )
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
    return np.einsum("nk,nkc->nc", surface.bary, scene.corner_albedo[surface.face])


def _ambient(
    normals: NDArray[np.float32], lighting: Lighting, up: NDArray[np.float32], share: NDArray[np.float32] | None
) -> NDArray[np.float32]:
    height = (normals @ up * np.float32(0.5) + np.float32(0.5))[:, None]
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
    """Light that the surface scatters (to be multiplied with its colour), and its gloss."""
    wrap = np.array(material.wrap, dtype=np.float32)
    diffuse = np.zeros_like(normals)
    gloss = np.zeros_like(normals)
    for light, (d, lit) in zip(lighting.lights, lights, strict=True):
        colour = np.array(light.colour, dtype=np.float32)
        cosine = normals @ d
        half = towards_eye + d
        half_cosine = np.einsum("nc,nc->n", half, normals) / np.maximum(
            np.sqrt(np.einsum("nc,nc->n", half, half)), 1e-6
        )
        shine = material.specular * np.maximum(half_cosine, 0) ** np.float32(material.shininess) * (cosine > 0)
        scattered = np.maximum((cosine[:, None] + wrap) / (1 + wrap) ** 2, 0)
        if lit is not None:
            scattered *= lit[:, None]
            shine = shine * lit
        diffuse += scattered * colour
        gloss += shine[:, None].astype(np.float32) * colour
    grazing = 1 - np.clip(np.einsum("nc,nc->n", normals, towards_eye), 0, 1)
    diffuse += np.float32(material.rim) * (grazing**3)[:, None]
    return diffuse, gloss


def _lit_share(scene: Scene, surface: Surface, d: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N,) share of a far, wide light that reaches each sample, computed at the vertices and interpolated.

    A light of about 10 degrees: eight rays in a cone around its direction.
    """
    used, inverse = np.unique(scene.faces[surface.face], return_inverse=True)
    points = scene.vertices[used] + scene.normals[used] * np.float32(scene.lift_m)
    x = _unit(np.cross(d, [0.31, 0.87, 0.38] if abs(d[1]) < 0.8 else [1.0, 0.0, 0.0]))
    y = np.cross(d, x)
    free = np.zeros(len(used), dtype=np.float32)
    rays = 8
    for k in range(rays):
        radius, angle = 0.18 * np.sqrt((k + 0.5) / rays), 2.3999632 * k
        ray = _unit(d + radius * (np.cos(angle) * x + np.sin(angle) * y))
        free += ~scene.blocked(points, np.broadcast_to(ray, points.shape), 10 * scene.size_m)
    share = (free / rays)[inverse.reshape(-1, 3)]
    return np.einsum("nk,nk->n", surface.bary, share.astype(np.float32))


def _unit(v: NDArray[np.floating]) -> NDArray[np.float32]:
    return (v / np.linalg.norm(v)).astype(np.float32)
