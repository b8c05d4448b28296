"""Pictures as the bytes of a PNG or JPEG file."""

import io
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import UInt8
from PIL import Image


@dataclass(frozen=True)
class Picture:
    """An encoded picture with its words."""

    data: bytes
    media_type: Literal["image/png", "image/jpeg"]
    width_px: int
    height_px: int
    alt: str
    """What a reader who cannot see it should know."""
    caption: str = ""

    @classmethod
    def png(cls, rgb: UInt8[np.ndarray, "H W C"], *, alt: str, caption: str = "") -> "Picture":
        """Lossless; C is 3, or 4 with alpha."""
        return cls(_encoded(rgb, "PNG", 0), "image/png", rgb.shape[1], rgb.shape[0], alt, caption)

    @classmethod
    def jpeg(cls, rgb: UInt8[np.ndarray, "H W 3"], *, alt: str, caption: str = "", quality: int = 88) -> "Picture":
        """Small; for photos and many renderings."""
        return cls(_encoded(rgb, "JPEG", quality), "image/jpeg", rgb.shape[1], rgb.shape[0], alt, caption)


def _encoded(rgb: UInt8[np.ndarray, "H W C"], kind: str, quality: int) -> bytes:
    buffer = io.BytesIO()
    options = {"quality": quality, "optimize": True} if kind == "JPEG" else {"optimize": True}
    Image.fromarray(rgb).save(buffer, kind, **options)
    return buffer.getvalue()
