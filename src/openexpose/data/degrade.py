"""Damage to pixels that leaves everything where it is: channel noise, low resolution, and more beyond the reference."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from openexpose.errors import ConfigError

Pixels = UInt8[np.ndarray, "H W 3"]


Chance = np.random.Generator | np.random.RandomState


@dataclass(frozen=True)
class DegradeConfig:
    """Each is the probability that it happens to a sample; all off by default."""

    colour: float = 0.0
    """Brightness, contrast, saturation and hue change."""
    blur: float = 0.0
    """Gaussian blur, sigma up to 2 crop pixels."""
    jpeg: float = 0.0
    """JPEG compression, quality 15 to 75."""
    occlude: float = 0.0
    """A turned ellipse or rectangle of one colour hides up to 45 % of the crop's side."""

    def __post_init__(self) -> None:
        """Raises ConfigError naming a probability outside 0 to 1."""
        for name in ("colour", "blur", "jpeg", "occlude"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"degrade.{name}={getattr(self, name)}: a probability between 0 and 1")


@dataclass(frozen=True)
class Damage:
    """What chance decided. Lengths are shares of the crop's side, so that crop and view are damaged alike."""

    colour: Float[np.ndarray, "3 4"] | None
    """RGB1 -> RGB, in grey levels."""
    blur_sigma: float
    jpeg_quality: int
    """0: none."""
    occluder: tuple[float, float, float, float, float, int] | None
    """Centre x, y, half axes a, b, turn in degrees, kind (0 ellipse, 1 rectangle)."""
    occluder_rgb: tuple[int, int, int]


NO_DAMAGE = Damage(None, 0.0, 0, None, (0, 0, 0))


def draw_damage(cfg: DegradeConfig, rng: Chance) -> Damage:
    """Return one draw; the same number of chances is used whatever is switched on."""
    happens = [rng.random() < p for p in (cfg.colour, cfg.blur, cfg.jpeg, cfg.occlude)]
    colour = _colour_matrix(rng)
    sigma, quality = rng.uniform(0.3, 2.0) / 256, int(rng.uniform(15, 75))
    spot = (
        rng.uniform(0.1, 0.9), rng.uniform(0.1, 0.9), rng.uniform(0.05, 0.22), rng.uniform(0.05, 0.22),
        rng.uniform(0, 180), int(rng.random() < 0.5),
    )  # fmt: skip
    rgb = (int(rng.uniform(0, 256)), int(rng.uniform(0, 256)), int(rng.uniform(0, 256)))
    return Damage(
        colour if happens[0] else None, sigma if happens[1] else 0.0, quality if happens[2] else 0,
        spot if happens[3] else None, rgb,
    )  # fmt: skip


def _colour_matrix(rng: Chance) -> Float[np.ndarray, "3 4"]:
    """Hue turn about the grey axis, saturation, contrast, then brightness, as one matrix."""
    hue, saturation, contrast, brightness = (
        rng.uniform(-0.25, 0.25), rng.uniform(0.5, 1.5), rng.uniform(0.7, 1.3), rng.uniform(-30.0, 30.0),
    )  # fmt: skip
    grey = np.full((3, 3), 1 / 3)
    axis = np.array([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / np.sqrt(3)
    turn = grey + np.cos(hue) * (np.eye(3) - grey) + np.sin(hue) * axis
    mix = contrast * (saturation * turn + (1 - saturation) * grey)
    return np.column_stack([mix, np.full(3, 128 * (1 - contrast) + brightness)])


def damaged(rgb: Pixels, damage: Damage, *, origin_px: tuple[float, float], side_px: float) -> Pixels:
    """Return damaged pixels.

    origin_px: where the crop's top left corner lies in `rgb`.  side_px: the crop's side there. For the crop itself
    these are (0, 0) and its size; for a view they place the same damage at the same spot.
    """
    if damage.occluder is not None:
        rgb = _occluded(rgb, damage, origin_px, side_px)
    if damage.colour is not None:
        mixed = rgb @ damage.colour[:, :3].T + damage.colour[:, 3]
        rgb = np.clip(np.rint(mixed), 0, 255).astype(np.uint8)
    if damage.blur_sigma > 0:
        rgb = np.asarray(cv2.GaussianBlur(rgb, (0, 0), damage.blur_sigma * side_px), np.uint8)
    if damage.jpeg_quality:
        _, data = cv2.imencode(".jpg", rgb, [cv2.IMWRITE_JPEG_QUALITY, damage.jpeg_quality])
        rgb = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
    return rgb


def _occluded(rgb: Pixels, damage: Damage, origin_px: tuple[float, float], side_px: float) -> Pixels:
    assert damage.occluder is not None
    x, y, a, b, turn_deg, kind = damage.occluder
    rows, columns = np.indices(rgb.shape[:2], np.float32)
    u, v = columns - (origin_px[0] + x * side_px), rows - (origin_px[1] + y * side_px)
    c, s = np.cos(np.deg2rad(turn_deg)), np.sin(np.deg2rad(turn_deg))
    p, q = np.abs(c * u + s * v) / (a * side_px), np.abs(c * v - s * u) / (b * side_px)
    inside = np.maximum(p, q) <= 1 if kind else p * p + q * q <= 1
    return np.where(inside[..., None], np.asarray(damage.occluder_rgb, np.uint8), rgb)


def channel_noise(rgb: Pixels, gain: tuple[float, float, float]) -> Pixels:
    """Return each channel times its factor, rounded and cut at 255 (spec 7.3)."""
    if gain == (1.0, 1.0, 1.0):
        return rgb
    table = np.clip(np.rint(np.arange(256)[:, None] * np.asarray(gain)), 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(rgb, table[None]), np.uint8)


def lowered(rgb: Pixels, factor: float, *, bilinear: bool) -> Pixels:
    """Return the picture shrunk by `factor` and enlarged again.

    bilinear: shrink by sampling, as the reference does by mistake (spec 7.3); else by averaging areas.
    """
    if factor == 1:
        return rgb
    height, width = rgb.shape[:2]
    how = cv2.INTER_LINEAR if bilinear else cv2.INTER_AREA
    small = cv2.resize(rgb, (int(width // factor), int(height // factor)), interpolation=how)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
