"""Small photos of the free models for the miniature raw trees, in the colours and frames of real photos."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from openexpose.geometry.camera import PerspectiveCamera
from openexpose.render.raycast import Look, render

QUICK = Look(samples=1, occlusion_rays=0)


def pinhole(focal_px: float, width_px: int, height_px: int, middle_px: tuple[float, float] | None = None):
    """A camera at the origin looking along +z (OpenCV axes)."""
    cx, cy = ((width_px - 1) / 2, (height_px - 1) / 2) if middle_px is None else middle_px
    K = np.array([[focal_px, 0, cx], [0, focal_px, cy], [0, 0, 1.0]])
    return PerspectiveCamera(K, np.eye(4), width_px, height_px)


def photo_of(
    vertices_m: NDArray[np.floating],
    faces: NDArray[np.integer],
    camera: PerspectiveCamera,
    grey: int = 90,
) -> NDArray[np.uint8]:
    """The mesh, in the camera's frame, before a plain background."""
    seen = render(np.asarray(vertices_m, np.float64), np.asarray(faces), camera, look=QUICK)
    return seen.over((grey, grey, min(grey + 30, 255)))


def save_photo(path: Path, rgb: NDArray[np.uint8]) -> None:
    """Write a JPEG or PNG, by the name's ending, and the folders it needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rgb).save(path, **({"quality": 92} if path.suffix == ".jpg" else {}))


def blank_photo(path: Path, width_px: int, height_px: int, grey: int = 120) -> None:
    """Write a photo of one colour."""
    save_photo(path, np.full((height_px, width_px, 3), grey, np.uint8))
