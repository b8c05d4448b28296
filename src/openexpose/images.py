"""Photos: upright RGB pixels of any common file, their size without decoding, and decoding at reduced scale."""

import importlib
import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from openexpose.errors import DataError, MissingExtra

Source = Path | bytes

MAX_PIXELS = 180_000_000
"""Default limit on width * height: about the largest photo a camera makes; larger ones may be bombs."""
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "AVIF", "HEIF")
"""The only decoders that are ever asked; the first frame of animations is read. HEIF needs the package pillow-heif."""
SUFFIXES = (
    ".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm", ".avif", ".heic", ".heif",
)  # fmt: skip
"""File name endings of the formats above, for listing folders."""
_REDUCTIONS = (8, 4, 2)
_ORIENTATION_TAG = 0x0112
_EXIF_IFD, _FOCAL_35MM_TAG = 0x8769, 0xA405
_FILM_DIAGONAL_MM = float(np.hypot(36, 24))
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_TRANSPOSED = (5, 6, 7, 8)
_MIRRORED_X = (2, 3, 6, 7)
_MIRRORED_Y = (3, 4, 7, 8)
_DAMAGE = (
    OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, LookupError, TypeError, MemoryError,
    ArithmeticError, AttributeError, NotImplementedError, AssertionError,
)  # fmt: skip


@dataclass(frozen=True)
class Decoded:
    """A photo's pixels, perhaps fewer than the file has."""

    rgb: UInt8[np.ndarray, "h w 3"]
    """Upright, 0 to 255."""
    T_decoded_photo: Float[np.ndarray, "2 3"]
    """Upright full-size pixels -> pixels of `rgb`; both count from the centre of the top left pixel."""
    size_px: tuple[int, int]
    """Width and height of the upright full-size photo."""


class Photo:
    """An opened photo of which only the header has been read."""

    def __init__(self, image: Image.Image, label: str) -> None:
        """Use `opened`."""
        self._image, self._label = image, label
        self._orientation = _orientation(image)
        width, height = image.size
        self.size_px: tuple[int, int] = (height, width) if self._orientation in _TRANSPOSED else (width, height)
        """Width and height of the upright photo."""

    @property
    def focal_px(self) -> float | None:
        """The focal length that EXIF tells, in pixels of the full-size photo; None where it tells none.

        From FocalLengthIn35mmFilm, which is defined over the diagonal; wrong for photos that were cropped afterwards.
        """
        try:
            value = float(self._image.getexif().get_ifd(_EXIF_IFD).get(_FOCAL_35MM_TAG, 0))
        except _DAMAGE:
            return None
        return value / _FILM_DIAGONAL_MM * float(np.hypot(*self.size_px)) if 1 <= value <= 10_000 else None

    def decode(self, *, density: float, max_pixels: int = MAX_PIXELS) -> Decoded:
        """Return the pixels, once. See `openexpose.images.decode`."""
        image, (width, height) = self._image, self._image.size
        if width * height > max_pixels:
            raise DataError(
                f"{self._label} has {width} x {height} pixels, more than {max_pixels:,} allowed; "
                "raise max_pixels if you trust it"
            )
        reduction = next((r for r in _REDUCTIONS if density * r <= 1 and min(width, height) >= r), 1)
        if reduction > 1 and image.format in ("JPEG", "MPO"):
            image.draft(None, (width // reduction, height // reduction))
        pixels = _to_rgb(image)
        reduction = 1 if pixels.shape[:2] == (height, width) else reduction
        if pixels.shape[:2] != (-(-height // reduction), -(-width // reduction)):
            raise ValueError(f"decoder returned {pixels.shape[1]} x {pixels.shape[0]} pixels of {width} x {height}")
        return _upright(pixels, self._orientation, reduction, (width, height))


@contextmanager
def opened(source: Source, *, name: str = "") -> Iterator[Photo]:
    """Yield the photo with its header parsed, so that its size can decide how finely to decode it.

    source: a file or its bytes.  name: what to call bytes in an error.
    Raises DataError naming the photo if it is missing, empty or no image, then or while it is decoded inside the block.
    """
    label = f"photo {source}" if isinstance(source, Path) else (name or "photo given as bytes")
    try:
        stream = source.open("rb") if isinstance(source, Path) else io.BytesIO(source)
    except OSError as e:
        raise DataError(f"{label} cannot be opened: {e.strerror or e}; check the path") from e
    with stream, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns about odd metadata of photos that decode well
        try:
            head = stream.read(32)
            if not head:
                raise DataError(f"{label} is empty (0 bytes); copy it again")
            yield Photo(_identify(stream, head, label), label)
        except _DAMAGE as e:
            raise DataError(f"{label} is damaged or truncated ({e}); copy it again or leave it out") from e


def photo_size(source: Source, *, name: str = "") -> tuple[int, int]:
    """Return width and height of the upright photo, from its header alone. Raises DataError as `opened`."""
    with opened(source, name=name) as photo:
        return photo.size_px


def read_rgb(source: Source, *, name: str = "", max_pixels: int = MAX_PIXELS) -> UInt8[np.ndarray, "H W 3"]:
    """Return the photo as upright RGB, 0 to 255, whatever the file holds.

    Turned and mirrored by EXIF; 16 bits become 8; grey, palette and CMYK become RGB; transparent parts become white.
    Raises DataError naming the photo if it is missing, damaged, truncated, no image, or larger than `max_pixels`.
    """
    return decode(source, name=name, max_pixels=max_pixels).rgb


def decode(source: Source, *, density: float = 1.0, name: str = "", max_pixels: int = MAX_PIXELS) -> Decoded:
    """Return the photo with at least `density` decoded pixels per photo pixel along each axis.

    A JPEG is decoded at 1/2, 1/4 or 1/8 when that suffices (its frequencies above are never computed, so nothing
    aliases); other formats are always decoded in full. `T_decoded_photo` accounts for rounded sizes and EXIF turns.
    Raises DataError as `read_rgb`.
    """
    with opened(source, name=name) as photo:
        return photo.decode(density=density, max_pixels=max_pixels)


def list_photos(folder: Path) -> tuple[Path, ...]:
    """Return the photos directly inside a folder, sorted by name; DataError if it is no folder."""
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; give a folder of photos")
    return tuple(sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file()))


def _identify(stream: io.IOBase, head: bytes, label: str) -> Image.Image:
    """Ask our formats only. `Image.open` would also enforce Pillow's own global pixel limit; ours is an argument."""
    Image.init()
    if head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS and "HEIF" not in Image.OPEN:
        _register_heif(label)
    for kind in (k for k in FORMATS if k in Image.OPEN):
        factory, accept = Image.OPEN[kind]
        accepted = accept is None or accept(head)
        if accepted and not isinstance(accepted, str):
            stream.seek(0)
            image = factory(stream, "")  # type: ignore[arg-type]
            if kind == "PNG" and "exif" not in image.info:
                at = stream.tell()
                image.info["exif"] = _exif_of_png(stream)  # else Pillow would decode all pixels in search of it
                stream.seek(at)
            return image
    raise DataError(f"{label} is not an image we read ({', '.join(FORMATS)}); convert it to JPEG or PNG")


def _register_heif(label: str) -> None:
    """Let Pillow read the photos of iPhones, if the package for it is there."""
    try:
        importlib.import_module("pillow_heif").register_heif_opener()
    except ModuleNotFoundError as e:
        raise MissingExtra(
            f"{label} is HEIC: pip install pillow-heif (its codec has a licence of its own), or convert it to JPEG"
        ) from e


def _exif_of_png(stream: io.IOBase) -> bytes:
    """The EXIF block of a PNG, wherever it stands, by walking over the chunks; empty if there is none."""
    stream.seek(8)
    while len(head := stream.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind == b"eXIf":
            return b"Exif\0\0" + stream.read(length)
        if kind == b"IEND":
            break
        stream.seek(length + 4, io.SEEK_CUR)
    return b""


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8; 1 where there is none or it cannot be read (as OpenCV does)."""
    try:
        value = image.getexif().get(_ORIENTATION_TAG, 1)
    except _DAMAGE:
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _to_rgb(image: Image.Image) -> UInt8[np.ndarray, "h w 3"]:
    image.load()
    if image.mode.startswith("I"):
        deep = np.asarray(image).astype(np.int64)
        if deep.min(initial=0) < 0 or deep.max(initial=0) > 65535:
            raise ValueError("grey values outside 16 bits; convert it to 8 bits")
        grey = ((deep + 128) // 257).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if image.mode == "F":
        raise ValueError("floating-point pixels have no agreed range; convert it to 8 bits")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        seen = np.asarray(image.convert("RGBA"), dtype=np.uint16)
        alpha = seen[..., 3:]
        return ((seen[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
    return np.array(image if image.mode == "RGB" else image.convert("RGB"), dtype=np.uint8)


def _upright(pixels: np.ndarray, orientation: int, reduction: int, size_px: tuple[int, int]) -> Decoded:
    height, width = pixels.shape[:2]
    shrink = np.array([[1 / reduction, 0, 0.5 / reduction - 0.5], [0, 1 / reduction, 0.5 / reduction - 0.5], [0, 0, 1]])
    turn_decoded = _turning(orientation, width, height)
    turn_photo = _turning(orientation, *size_px)
    if orientation in _TRANSPOSED:
        pixels, size_px = pixels.transpose(1, 0, 2), size_px[::-1]
    pixels = pixels[:: -1 if orientation in _MIRRORED_Y else 1, :: -1 if orientation in _MIRRORED_X else 1]
    T_decoded_photo = turn_decoded @ shrink @ np.linalg.inv(turn_photo)
    return Decoded(np.ascontiguousarray(pixels), T_decoded_photo[:2], size_px)


def _turning(orientation: int, width: int, height: int) -> Float[np.ndarray, "3 3"]:
    """Stored pixels -> upright pixels for one EXIF orientation of a stored width x height."""
    T = np.eye(3)
    if orientation in _TRANSPOSED:
        T = T[[1, 0, 2]]
        width, height = height, width
    if orientation in _MIRRORED_X:
        T = np.array([[-1.0, 0, width - 1], [0, 1, 0], [0, 0, 1]]) @ T
    if orientation in _MIRRORED_Y:
        T = np.array([[1.0, 0, 0], [0, -1, height - 1], [0, 0, 1]]) @ T
    return T
