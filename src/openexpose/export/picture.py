"""Pictures as the bytes of a PNG, JPEG or WebP file."""

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
    media_type: Literal["image/png", "image/jpeg", "image/webp"]
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
        """Small, without alpha; for photos."""
        return cls(_encoded(rgb, "JPEG", quality), "image/jpeg", rgb.shape[1], rgb.shape[0], alt, caption)

    @classmethod
    def webp(cls, rgba: UInt8[np.ndarray, "H W C"], *, alt: str, caption: str = "", quality: int = 85) -> "Picture":
        """Small, with alpha if C is 4: renderings that should stand on light and dark pages."""
        return cls(_encoded(rgba, "WEBP", quality), "image/webp", rgba.shape[1], rgba.shape[0], alt, caption)


def _encoded(rgb: UInt8[np.ndarray, "H W C"], kind: str, quality: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, kind, quality=quality, optimize=True)  # PNG ignores the quality
    return buffer.getvalue()
