"""Square cut-outs of photos: the affine between photo and crop, and two ways to sample pixels.

Pixel frames (the only two in the package). Photo: x right, y down, (0, 0) is the *centre* of the top left pixel, so a
photo W wide spans -0.5 to W - 0.5. Crop: the same inside the cut-out. T_a_b maps homogeneous points from b to a.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, Int32, UInt8
from torch import Tensor

from openexpose.errors import DataError

MEAN_RGB = (123.675, 116.28, 103.53)
"""ImageNet mean, in grey levels of 0 to 255."""
STD_RGB = (58.395, 57.12, 57.375)
"""ImageNet standard deviation, in grey levels."""
MIN_SEEN = 1e-3
"""A person's box that shows less of the photo than this share of itself is refused."""

Photo = UInt8[Tensor, "_ _ 3"] | Float[Tensor, "_ _ 3"]
"""Upright RGB, 0 to 255, any size."""


@dataclass(frozen=True)
class Crop:
    """A square of a photo, not turned, resampled to `size_px` pixels a side."""

    centre_px: tuple[float, float]
    """x, y in the photo."""
    side_px: float
    """Side in photo pixels."""
    size_px: int
    """Side in crop pixels."""

    def __post_init__(self) -> None:
        """Raises DataError if centre or side is not a finite number, or the side is not positive."""
        if not (np.isfinite([*self.centre_px, self.side_px]).all() and self.side_px > 0 and self.size_px > 0):
            raise DataError(f"a crop needs a finite centre and a positive side, got {self}")

    @classmethod
    def around(cls, box_px: Sequence[float], *, scale: float, size_px: int) -> "Crop":
        """The square around a box (x0, y0, x1, y1): its longer side times `scale`, same middle (spec 9).

        Raises DataError if the box has no area or a number that is not finite.
        """
        x0, y0, x1, y1 = (float(v) for v in box_px)
        if not (np.isfinite([x0, y0, x1, y1]).all() and x1 > x0 and y1 > y0):
            raise DataError(f"box {[x0, y0, x1, y1]} is not (x0, y0, x1, y1) with x1 > x0 and y1 > y0")
        return cls(((x0 + x1) / 2, (y0 + y1) / 2), max(x1 - x0, y1 - y0) * scale, size_px)

    @property
    def T_crop_photo(self) -> Float[np.ndarray, "2 3"]:
        """Photo pixels to crop pixels, float64; the crop's point size/2 is the centre (spec 10.0, row 7)."""
        k, half = self.size_px / self.side_px, self.size_px / 2
        return np.array([[k, 0, half - k * self.centre_px[0]], [0, k, half - k * self.centre_px[1]]])

    @property
    def T_photo_crop(self) -> Float[np.ndarray, "2 3"]:
        """Crop pixels to photo pixels, float64."""
        return inverse_affine(self.T_crop_photo)

    def cut(self, photo: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "S S 3"]:
        """The crop's pixels, black outside the photo; normalise them afterwards."""
        return warp(photo, self.T_crop_photo, self.size_px)

    def seen(self, height: int, width: int) -> float:
        """Share of the crop's area that lies on a photo of this size, 0 to 1."""
        half = self.side_px / 2
        across = [
            max(0.0, min(c + half, n - 0.5) - max(c - half, -0.5))
            for c, n in zip(self.centre_px, (width, height), strict=True)
        ]
        return across[0] * across[1] / self.side_px**2


def inverse_affine(T: Float[np.ndarray, "*B 2 3"]) -> Float[np.ndarray, "*B 2 3"]:
    """The affine that undoes T. Raises DataError if T squeezes the plane to a line or a point."""
    A = T[..., :2]
    if not (np.isfinite(T).all() and (np.abs(np.linalg.det(A)) > 1e-12).all()):
        raise DataError(f"affine has no inverse: {T.tolist()}")
    inv = np.linalg.inv(A)
    return np.concatenate([inv, -inv @ T[..., 2:]], -1)


def warp(
    photo: UInt8[np.ndarray, "H W C"], T_crop_photo: Float[np.ndarray, "2 3"], size_px: int
) -> UInt8[np.ndarray, "S S C"]:
    """A crop through any affine: bilinear, black outside the photo.

    Rounds as OpenCV 4's `warpAffine` does (places to 1/32 pixel, weights to 1/32768) and is bit-equal to it; OpenCV 5
    changed that and moves up to a tenth of the pixels by a grey level. Raises DataError if the affine has no inverse.
    """
    M = inverse_affine(T_crop_photo)
    steps = np.arange(size_px)
    fixed = []  # photo coordinates in 1/32 pixels, one array for x and one for y
    for row in M:
        across = np.rint(row[0] * steps * 1024).astype(np.int64)
        down = np.rint((row[1] * steps + row[2]) * 1024).astype(np.int64) + 16
        fixed.append(np.clip((down[:, None] + across) >> 5, -(2**30), 2**30).astype(np.int32))
    if M[0, 1] == M[1, 0] == 0:
        return _warp_straight(photo, fixed[0][0], fixed[1][:, 0])
    (x, y), (fx, fy) = [v >> 5 for v in fixed], [v & 31 for v in fixed]
    height, width, channels = photo.shape
    total = np.full((size_px, size_px, channels), 1 << 14, np.int32)
    for dy, wy in ((0, 32 - fy), (1, fy)):
        for dx, wx in ((0, 32 - fx), (1, fx)):
            inside = (x + dx >= 0) & (x + dx < width) & (y + dy >= 0) & (y + dy < height)
            grey = photo[np.clip(y + dy, 0, height - 1), np.clip(x + dx, 0, width - 1)]
            total += grey * (wx * wy * 32 * inside)[..., None]
    return (total >> 15).astype(np.uint8)


def _warp_straight(
    photo: UInt8[np.ndarray, "H W C"], x_32: Int32[np.ndarray, " S"], y_32: Int32[np.ndarray, " S"]
) -> UInt8[np.ndarray, "S S C"]:
    """`warp` without a turn: first along the rows, then down the columns. Places in 1/32 pixels."""
    (columns, column_weights), (rows, row_weights) = (
        _fixed_taps(at, length) for at, length in ((x_32, photo.shape[1]), (y_32, photo.shape[0]))
    )
    left, channels = columns.min(), photo.shape[2]
    grey = photo[:, left : columns.max() + 1][rows].take(columns - left, 1).reshape(2, len(rows) // 2, 2, -1)
    row_weights, column_weights = row_weights[..., None], column_weights.repeat(channels, 1)
    across = grey[:, :, 0] * column_weights[0] + grey[:, :, 1] * column_weights[1]
    down = across[0] * row_weights[0] + across[1] * row_weights[1]
    return ((down + (1 << 9)) >> 10).astype(np.uint8).reshape(len(down), -1, channels)


def _fixed_taps(
    at_32: Int32[np.ndarray, " S"], length: int
) -> tuple[Int32[np.ndarray, " 2*S"], Int32[np.ndarray, "2 S"]]:
    """The pixels before and after each place, one list behind the other, and their weights (of 32, zero outside)."""
    pixels = (at_32 >> 5) + np.array([[0], [1]], np.int32)
    after = at_32 & 31
    weights = np.stack([32 - after, after]) * ((pixels >= 0) & (pixels < length))
    return np.clip(pixels, 0, length - 1).ravel(), weights


def check_photo(photo: object, where: str) -> Tensor:
    """The photo as a (H, W, 3) tensor sharing its memory, unless that is read-only or runs backwards.

    Takes a numpy array or a tensor; uint8, or float with values of 0 to 255. Raises DataError starting with `where`
    for grey, alpha and 16-bit photos and for empty ones, naming what came instead.
    """
    tensor = photo
    if isinstance(photo, np.ndarray) and photo.dtype in (np.uint8, np.float32, np.float64):
        plain = photo.flags.writeable and min(photo.strides, default=0) >= 0  # torch takes no other
        tensor = torch.from_numpy(photo if plain else photo.copy())
    if not isinstance(tensor, Tensor):
        kind = f"{photo.dtype} array" if isinstance(photo, np.ndarray) else type(photo).__name__
        raise DataError(f"{where}: a photo is a uint8 (H, W, 3) array or tensor, got a {kind}; see openexpose.images")
    if tensor.ndim != 3 or tensor.shape[-1] != 3 or 0 in tensor.shape:
        hint = {2: "grey", 3: "alpha or channels first"}.get(tensor.ndim, "a batch")
        raise DataError(
            f"{where}: a photo is RGB of shape (H, W, 3), got {tuple(tensor.shape)} ({hint}?); see openexpose.images"
        )
    if tensor.dtype != torch.uint8 and not tensor.is_floating_point():
        raise DataError(f"{where}: a photo is uint8 or float, got {tensor.dtype}; read it with openexpose.images")
    return tensor


def normalise(crops: UInt8[Tensor, "B H W 3"], dtype: torch.dtype = torch.float32) -> Float[Tensor, "B 3 H W"]:
    """What the networks eat: RGB minus ImageNet mean, over its deviation."""
    mean, std = (torch.tensor(v, dtype=dtype, device=crops.device) for v in (MEAN_RGB, STD_RGB))
    return ((crops.to(dtype) - mean) / std).permute(0, 3, 1, 2).contiguous()


def sample_square(
    photo: Photo, centre_px: Float[Tensor, "2"], side_px: Float[Tensor, ""], size_px: int, *, frame_hw: tuple[int, int]
) -> Float[Tensor, "3 S S"]:
    """A normalised square cut out of a photo; reads only the pixels it needs (spec 3.2).

    The square's edges land on the centres of the first and last crop pixels; bilinear, not smoothed; outside the
    photo it is zero *after* normalisation, the mean colour. frame_hw: height and width that coordinates are expressed
    in on the way; the reference uses the largest of the batch, which moves a crop by up to 1e-4 px (docs/parity.md,
    row 8). Precision and gradients follow `centre_px` and `side_px`. A box without finite numbers gives zeros.
    """
    x, y = (_sampled_at(centre_px[i], side_px, size_px, frame_hw[1 - i]) for i in (0, 1))
    rows, row_weights = _taps(y, photo.shape[0])
    columns, column_weights = _taps(x, photo.shape[1])
    first, last = int(columns.min()), int(columns.max()) + 1
    narrow = last - first < 2 * size_px  # blending every column once is less than two for each of the crop's
    pixels = photo[:, first:last].index_select(0, rows.flatten())
    pixels = pixels if narrow else pixels.index_select(1, columns.flatten() - first)
    grey = pixels.to(centre_px.dtype).unflatten(0, (size_px, 2))
    grey = grey[:, 0] * row_weights[:, 0, None, None] + grey[:, 1] * row_weights[:, 1, None, None]
    grey = grey.index_select(1, columns.flatten() - first) if narrow else grey
    grey = grey.unflatten(1, (size_px, 2))
    grey = grey[:, :, 0] * column_weights[:, 0, None] + grey[:, :, 1] * column_weights[:, 1, None]  # (S, S, 3)
    inside = row_weights.sum(1)[:, None] * column_weights.sum(1)
    mean, std = (grey.new_tensor(v)[:, None, None] for v in (MEAN_RGB, STD_RGB))
    return (grey.permute(2, 0, 1).contiguous() - inside * mean) / std


def sample_squares(
    photos: Sequence[Photo], centre_px: Float[Tensor, "B 2"], side_px: Float[Tensor, " B"], size_px: int
) -> Float[Tensor, "B 3 S S"]:
    """`sample_square` for each person of a batch, from photos of any sizes, without padding them."""
    if not photos:
        return centre_px.new_zeros(0, 3, size_px, size_px)
    frame_hw = (max(p.shape[0] for p in photos), max(p.shape[1] for p in photos))
    boxes = zip(photos, centre_px, side_px, strict=True)
    return torch.stack([sample_square(photo, c, s, size_px, frame_hw=frame_hw) for photo, c, s in boxes])


def _sampled_at(centre_px: Tensor, side_px: Tensor, size_px: int, frame: int) -> Float[Tensor, " S"]:
    """Photo coordinates of a crop's columns (or rows), composed and rounded as the reference does."""
    step = torch.arange(size_px, dtype=centre_px.dtype, device=centre_px.device) / (size_px - 1)
    unit = 2.0 / max(frame - 1, 1)
    normal = (unit * side_px) * step + (unit * (centre_px - 0.5 * side_px) - 1.0)  # -1 to 1 over the frame
    return (normal + 1.0) * (0.5 * (frame - 1)) if frame > 1 else (normal + 1.0) * 0.5


def _taps(at_px: Float[Tensor, " S"], length: int) -> tuple[Int[Tensor, "S 2"], Float[Tensor, "S 2"]]:
    """The two pixels around each coordinate and their weights; zero weight outside the photo."""
    safe = torch.where(torch.isfinite(at_px), at_px, -2.0).clamp(-2.0, length + 1.0)
    first = safe.detach().floor()
    fraction = safe - first
    places = torch.stack([first, first + 1], -1).long()
    weights = torch.stack([1 - fraction, fraction], -1)
    inside = (places >= 0) & (places < length)
    return places.clamp(0, length - 1), torch.where(inside, weights, 0.0)
