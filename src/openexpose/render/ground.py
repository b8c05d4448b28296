"""A floor that shows nothing but the soft shadow of what stands on it."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from openexpose.errors import ConfigError
from openexpose.geometry.camera import Camera, PerspectiveCamera
from openexpose.render.rays import rays
from openexpose.render.scene import Scene


@dataclass(frozen=True)
class Ground:
    """A level plane y = height_m of a y-up world, and the darkness of the shadow on it."""

    height_m: float
    strength: float = 0.55
    """Alpha of the shadow where no light arrives."""
    reach_m: float = 0.5
    """Surfaces higher than this above the floor cast nothing."""

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 1 or self.reach_m <= 0:
            raise ConfigError(f"strength={self.strength}, reach_m={self.reach_m}: need 0..1 and > 0")


def ground_shadow(scene: Scene, camera: Camera, ground: Ground) -> Float[np.ndarray, "H W"]:
    """Alpha of the floor's shadow at each pixel. Raises ConfigError for a WeakCamera: its world has no floor."""
    if not isinstance(camera, PerspectiveCamera):
        raise ConfigError("a ground needs a PerspectiveCamera in a y-up world; drop Look.ground for a weak camera")
    shadow, origin_m, step_m = scene.kept(ground, lambda: _shadow_map(scene, ground))
    c, r = np.meshgrid(np.arange(camera.width_px), np.arange(camera.height_px))
    eye, directions = rays(camera, np.stack([c.ravel(), r.ravel()], axis=-1).astype(np.float64), 0.0)
    height, down = ground.height_m - eye[0, 1], directions[:, 1]
    ahead = down * height > 1e-9
    t = height / down[ahead]
    x = (eye[0, 0] + t * directions[ahead, 0] - origin_m[0]) / step_m
    z = (eye[0, 2] + t * directions[ahead, 2] - origin_m[1]) / step_m
    alpha = np.zeros(len(directions), dtype=np.float32)
    alpha[ahead] = map_coordinates(shadow, np.stack([x, z]), order=1, mode="constant", cval=0.0)
    return alpha.reshape(camera.height_px, camera.width_px)


def _shadow_map(scene: Scene, ground: Ground) -> tuple[NDArray[np.float32], NDArray[np.float64], float]:
    """Shadow alpha on a square grid over the floor (x along axis 0, z along axis 1), its corner and its spacing."""
    cells, samples = 64, 32
    flat = scene.vertices[:, [0, 2]].astype(np.float64)
    low, high = flat.min(axis=0) - ground.reach_m, flat.max(axis=0) + ground.reach_m
    step_m = float((high - low).max() / (cells - 1))
    n = np.ceil((high - low) / step_m).astype(int) + 1
    x, z = np.meshgrid(low[0] + step_m * np.arange(n[0]), low[1] + step_m * np.arange(n[1]), indexing="ij")
    points = np.stack([x, np.full_like(x, ground.height_m), z], axis=-1).reshape(-1, 3).astype(np.float32)
    up = np.broadcast_to(np.array([0, 1, 0], dtype=np.float32), points.shape)
    dark = 1 - scene.sky_share(points, up, samples, ground.reach_m)
    soft = gaussian_filter(dark.reshape(n[0], n[1]), 1.0, mode="constant")
    return (soft * ground.strength).astype(np.float32), low, step_m
