"""Pictures of meshes by ray casting: no OpenGL, no display, no GPU.

One ray through the middle of each pixel inside the meshes' outline box; pixels where the picture changes quickly (an
outline, a crease, a border between meshes) are cast again with a grid of rays. Source of the idea: adaptive
supersampling (Whitted 1980).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt8
from numpy.typing import NDArray

from openexpose.errors import ConfigError
from openexpose.geometry.camera import Camera, PerspectiveCamera
from openexpose.render.ground import Ground, ground_shadow
from openexpose.render.rays import rays
from openexpose.render.scene import CLAY, Hits, Material, Mesh, Scene
from openexpose.render.shade import STUDIO, Lighting, Surface, shade, surface_at


@dataclass(frozen=True)
class Look:
    """How a picture is made; the meshes bring their own materials."""

    lighting: Lighting = STUDIO
    samples: int = 4
    """Rays along each side of a pixel that needs smoothing: 4 casts 16. 1 switches it off."""
    everywhere: bool = False
    """Supersample all covered pixels, not only those where the picture changes quickly. Slow; for comparisons."""
    occlusion_rays: int = 24
    """Rays per vertex that find how much ambient light reaches it; 0 switches ambient occlusion off."""
    occlusion_reach_m: float = 0.35
    """Surfaces further away do not darken."""
    ground: Ground | None = None
    """A floor that is invisible but for the soft shadow on it."""

    def __post_init__(self) -> None:
        if not 1 <= self.samples <= 16 or self.occlusion_rays < 0 or self.occlusion_reach_m <= 0:
            raise ConfigError(
                f"samples={self.samples}, occlusion_rays={self.occlusion_rays}, "
                f"occlusion_reach_m={self.occlusion_reach_m}: need 1..16, >= 0, > 0"
            )


@dataclass(frozen=True, eq=False)
class Rendered:
    """A picture, and what is seen at the middle of each of its pixels. H rows, W columns."""

    rgb: UInt8[np.ndarray, "H W 3"]
    """sRGB, not multiplied by alpha; black where alpha is 0."""
    alpha: Float[np.ndarray, "H W"]
    """0..1, share of the pixel that meshes (and the ground's shadow) cover."""
    depth_m: Float[np.ndarray, "H W"]
    """z in the camera frame, inf where nothing is seen."""
    normals: Float[np.ndarray, "H W 3"]
    """Unit, world axes, towards the viewer; 0 where nothing is seen."""
    mesh_ids: Int[np.ndarray, "H W"]
    """Which mesh of the scene, -1 for none."""
    face_ids: Int[np.ndarray, "H W"]
    """Which face of that mesh, -1 for none."""
    bary: Float[np.ndarray, "H W 3"]
    """Weights of that face's three corners; 0 where nothing is seen."""

    def over(self, background: tuple[int, int, int] = (255, 255, 255)) -> UInt8[np.ndarray, "H W 3"]:
        """The picture on a plain background, sRGB."""
        a = self.alpha[..., None]
        return np.rint(self.rgb * a + np.array(background, dtype=np.float32) * (1 - a)).astype(np.uint8)

    def rgba(self) -> UInt8[np.ndarray, "H W 4"]:
        """The picture with alpha as its fourth channel, for PNG files."""
        return np.dstack([self.rgb, np.rint(self.alpha * 255).astype(np.uint8)])


def render(
    vertices_m: Float[np.ndarray, "V 3"],
    faces: Int[np.ndarray, "F 3"],
    camera: Camera,
    *,
    material: Material = CLAY,
    look: Look = Look(),
) -> Rendered:
    """A picture of one mesh.

    vertices_m: metres, world frame of a PerspectiveCamera, camera axes for a WeakCamera.
    Raises DataError or ShapeError for a mesh that cannot be drawn.
    """
    return render_scene(Scene.of(Mesh(vertices_m, faces, material=material)), camera, look=look)


def render_scene(scene: Scene, camera: Camera, *, look: Look = Look()) -> Rendered:
    """A picture of several meshes at once; reuse the scene to see it from many sides."""
    h, w = camera.height_px, camera.width_px
    rows, columns = outline_box(scene, camera)
    frame = _Frame.empty(h, w)
    if rows.start < rows.stop and columns.start < columns.stop:
        c, r = np.meshgrid(np.arange(columns.start, columns.stop), np.arange(rows.start, rows.stop))
        shape = c.shape
        pixels = np.stack([c.ravel(), r.ravel()], axis=-1).astype(np.float64)
        hits, surface, hit = _seen(scene, camera, pixels)
        frame.keep(scene, (rows, columns), shape, hits, surface, hit)
        openness = scene.openness(look.occlusion_rays, look.occlusion_reach_m) if look.occlusion_rays else None
        smoothed = np.zeros(len(hit), dtype=bool)
        if look.samples > 1:
            near = np.ones(shape, dtype=bool) if look.everywhere else _busy(frame, (rows, columns))
            smoothed = near.ravel()
        plain = hit & ~smoothed
        R = _axes(camera)
        rgb, alpha = np.zeros((len(hit), 3), dtype=np.float32), hit.astype(np.float32)
        samples = [_select(surface, plain[hit])]
        spread = _spread(pixels[smoothed], look.samples)
        _, fine, fine_hit = _seen(scene, camera, spread)
        samples.append(fine)
        colours = shade(scene, _joined(samples), look.lighting, R_camera_world=R, openness=openness)
        count = int(plain.sum())
        rgb[plain] = colours[:count]
        rgb[smoothed], alpha[smoothed] = _averaged(colours[count:], fine_hit, look.samples**2)
        frame.rgb[rows, columns] = rgb.reshape(*shape, 3)
        frame.alpha[rows, columns] = alpha.reshape(shape)
    if look.ground is not None:
        frame.lay_on(ground_shadow(scene, camera, look.ground))
    return frame.finished()


def outline_box(scene: Scene, camera: Camera) -> tuple[slice, slice]:
    """Rows and columns that contain every mesh, with one pixel to spare; the whole picture if one is too near."""
    v = scene.vertices.astype(np.float64)
    if isinstance(camera, PerspectiveCamera) and camera.to_camera(v)[:, 2].min() <= 1e-6:
        return slice(0, camera.height_px), slice(0, camera.width_px)
    px = camera.project(v)
    low, high = np.floor(px.min(axis=0)) - 1, np.ceil(px.max(axis=0)) + 2
    (c0, r0), (c1, r1) = (np.clip(x, 0, [camera.width_px, camera.height_px]).astype(int) for x in (low, high))
    return slice(r0, r1), slice(c0, c1)


@dataclass(eq=False)
class _Frame:
    """The picture while it is being made."""

    rgb: NDArray[np.float32]
    alpha: NDArray[np.float32]
    depth_m: NDArray[np.float32]
    normals: NDArray[np.float32]
    mesh_ids: NDArray[np.int32]
    face_ids: NDArray[np.int32]
    bary: NDArray[np.float32]

    @classmethod
    def empty(cls, h: int, w: int) -> "_Frame":
        z = np.zeros((h, w, 3), dtype=np.float32)
        none = np.full((h, w), -1, dtype=np.int32)
        far = np.full((h, w), np.inf, dtype=np.float32)
        return cls(z, z[..., 0].copy(), far, z.copy(), none, none.copy(), z.copy())

    def keep(
        self,
        scene: Scene,
        window: tuple[slice, slice],
        shape: tuple[int, int],
        hits: Hits,
        surface: Surface,
        hit: NDArray[np.bool_],
    ) -> None:
        """Write down what the rays through the pixel centres met."""
        where = hit.reshape(shape)
        self.depth_m[window][where] = hits.t[hit]
        self.normals[window][where] = surface.normals
        self.bary[window][where] = surface.bary
        mesh = scene.mesh_of_face[surface.face]
        self.mesh_ids[window][where] = mesh
        self.face_ids[window][where] = surface.face - scene.first_face[mesh]

    def lay_on(self, shadow: NDArray[np.float32]) -> None:
        """Put a black layer with the given alpha behind the meshes."""
        total = self.alpha + (1 - self.alpha) * shadow
        self.rgb *= (self.alpha / np.maximum(total, 1e-6))[..., None]
        self.alpha = total

    def finished(self) -> Rendered:
        rgb = np.rint(np.clip(self.rgb, 0, 1) * 255).astype(np.uint8)
        return Rendered(rgb, self.alpha, self.depth_m, self.normals, self.mesh_ids, self.face_ids, self.bary)


def _seen(scene: Scene, camera: Camera, pixels: NDArray[np.floating]) -> tuple[Hits, Surface, NDArray[np.bool_]]:
    """What the rays through pixel positions meet: all hits (t is depth), the surface of the real ones, which are."""
    near_m = float(scene.vertices[:, 2].min()) - 1.0
    origins, directions = rays(camera, pixels, near_m)
    hits = scene.cast(origins, directions)
    hit = hits.face >= 0
    real = Hits(face=hits.face[hit], bary=hits.bary[hit], t=hits.t[hit])
    ahead = directions[hit]
    towards_eye = -ahead / np.sqrt(np.einsum("nc,nc->n", ahead, ahead))[:, None]
    surface = surface_at(scene, real, towards_eye)
    if not isinstance(camera, PerspectiveCamera):
        hits = Hits(face=hits.face, bary=hits.bary, t=hits.t + np.float32(near_m))
    return hits, surface, hit


def _busy(frame: _Frame, window: tuple[slice, slice]) -> NDArray[np.bool_]:
    """Pixels that differ from a neighbour in mesh, in depth by more than the slope explains, or in normal."""
    mesh, depth, normals = frame.mesh_ids[window], frame.depth_m[window], frame.normals[window]
    busy = np.zeros(mesh.shape, dtype=bool)
    for axis in (0, 1):
        a: tuple[slice, ...] = (slice(None, -1), slice(None)) if axis == 0 else (slice(None), slice(None, -1))
        b: tuple[slice, ...] = (slice(1, None), slice(None)) if axis == 0 else (slice(None), slice(1, None))
        both = (mesh[a] >= 0) & (mesh[b] >= 0)
        apart = np.zeros(both.shape, dtype=np.float32)
        apart[both] = np.abs(depth[a][both] - depth[b][both])
        turned = np.einsum("ijc,ijc->ij", normals[a], normals[b]) < 0.8
        differs = (mesh[a] != mesh[b]) | (both & (turned | (apart > 0.02)))
        busy[a] |= differs
        busy[b] |= differs
    return busy


def _spread(pixels: NDArray[np.floating], side: int) -> NDArray[np.float64]:
    """A side x side grid of positions inside each pixel."""
    steps = (np.arange(side) + 0.5) / side - 0.5
    grid = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
    return (pixels[:, None] + grid).reshape(-1, 2)


def _averaged(
    colours: NDArray[np.float32], hit: NDArray[np.bool_], each: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean colour over the hits of each pixel, and the share of its rays that hit."""
    full = np.zeros((len(hit), 3), dtype=np.float32)
    full[hit] = colours
    count = hit.reshape(-1, each).sum(axis=1).astype(np.float32)
    return full.reshape(-1, each, 3).sum(axis=1) / np.maximum(count, 1)[:, None], count / each


def _select(s: Surface, keep: NDArray[np.bool_]) -> Surface:
    return Surface(s.face[keep], s.bary[keep], s.towards_eye[keep], s.normals[keep])


def _joined(parts: list[Surface]) -> Surface:
    return Surface(
        face=np.concatenate([p.face for p in parts]),
        bary=np.concatenate([p.bary for p in parts]),
        towards_eye=np.concatenate([p.towards_eye for p in parts]),
        normals=np.concatenate([p.normals for p in parts]),
    )


def _axes(camera: Camera) -> NDArray[np.float64]:
    """R_camera_world; a WeakCamera looks along the world's own axes."""
    return camera.T_camera_world[:3, :3] if isinstance(camera, PerspectiveCamera) else np.eye(3)
