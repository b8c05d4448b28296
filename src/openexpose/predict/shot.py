"""A photo ready to be looked at: its pixels, its name and its camera."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from openexpose import images
from openexpose.errors import DataError
from openexpose.geometry.camera import PerspectiveCamera
from openexpose.prediction import FocalFrom, default_focal_px, photo_camera


@dataclass(frozen=True, eq=False)
class Shot:
    """One photo."""

    rgb: UInt8[np.ndarray, "H W 3"]
    """Upright, 0 to 255."""
    name: str
    camera: PerspectiveCamera
    """Of the whole photo."""
    focal_from: FocalFrom

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height."""
        return self.rgb.shape[1], self.rgb.shape[0]


def read_shot(
    source: Path | str | bytes,
    *,
    name: str = "",
    focal_px: float | None = None,
    max_pixels: int = images.MAX_PIXELS,
) -> Shot:
    """Decode a photo file; its focal length is `focal_px`, else EXIF's, else the photo's diagonal.

    Raises DataError naming the photo if it is missing, damaged, no image, or larger than `max_pixels`.
    """
    path = Path(source) if isinstance(source, str) else source
    with images.opened(path, name=name) as photo:
        from_exif = photo.focal_px
        rgb = photo.decode(density=1.0, max_pixels=max_pixels).rgb
    label = name or (path.name if isinstance(path, Path) else "photo")
    return _shot(rgb, label, focal_px, from_exif)


def shot_of(rgb: np.ndarray, *, name: str = "photo", focal_px: float | None = None) -> Shot:
    """A photo that is in memory already. Raises DataError for anything but uint8 RGB (H, W, 3)."""
    if not isinstance(rgb, np.ndarray) or rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or not rgb.size:
        what = f"{rgb.dtype} {rgb.shape}" if isinstance(rgb, np.ndarray) else type(rgb).__name__
        raise DataError(
            f"{name}: a photo is a uint8 array (H, W, 3) of RGB, got {what}; see openexpose.images.read_rgb"
        )
    return _shot(np.ascontiguousarray(rgb), name, focal_px, None)


def _shot(rgb: UInt8[np.ndarray, "H W 3"], name: str, given: float | None, exif: float | None) -> Shot:
    height, width = rgb.shape[:2]
    source: FocalFrom = "given" if given is not None else "exif" if exif is not None else "default"
    focal_px = given if given is not None else exif if exif is not None else default_focal_px(width, height)
    return Shot(rgb, name, photo_camera(width, height, focal_px), source)
