"""From photos and boxes to a batch for the networks, checked: what is wrong is said with the person's number."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from openexpose.errors import DataError
from openexpose.geometry.crop import MIN_SEEN, Crop, check_photo, normalise
from openexpose.nets.attention import Look

BOX_SCALE = 1.25
"""Side of a person's crop over the longer side of their box, when the box comes from a detector (spec 9)."""


def crop_of_box(box_px: Sequence[float], crop_px: int, *, scale: float = BOX_SCALE) -> Crop:
    """The body crop around a person's box (x0, y0, x1, y1). Raises DataError if the box has no area or a NaN."""
    return Crop.around(box_px, scale=scale, size_px=crop_px)


def look_at(photos: Sequence[np.ndarray | Tensor], crops: Sequence[Crop]) -> Look:
    """One batch: row i is the person whom `crops[i]` shows in `photos[i]`. Persons of one photo may share its array.

    photos: uint8 RGB (H, W, 3) of any size; no photo is copied or padded. No persons give an empty batch.
    Raises DataError naming the person: photo of another kind, crop beside the photo, crops of different sizes.
    """
    if len(photos) != len(crops):
        raise DataError(f"{len(photos)} photos for {len(crops)} crops: give one photo for each person")
    checked = [check_photo(photo, f"photo of person {i}") for i, photo in enumerate(photos)]
    for i, (photo, crop) in enumerate(zip(checked, crops, strict=True)):
        height, width = photo.shape[:2]
        if crop.size_px != crops[0].size_px:
            raise DataError(f"person {i}: crop of {crop.size_px} px in a batch of {crops[0].size_px} px crops")
        if crop.seen(height, width) < MIN_SEEN:
            raise DataError(
                f"person {i}: the square of {crop.side_px:.1f} px around {crop.centre_px} lies outside "
                f"the {width} x {height} px photo; leave this person out or correct the box"
            )
    size = crops[0].size_px if crops else 32
    cut = [
        torch.from_numpy(crop.cut(_bytes(photo, i))) for i, (photo, crop) in enumerate(zip(checked, crops, strict=True))
    ]
    pixels = torch.stack(cut) if cut else torch.zeros(0, size, size, 3, dtype=torch.uint8)
    T = np.stack([c.T_crop_photo for c in crops]) if crops else np.zeros((0, 2, 3))
    sides = torch.tensor([c.side_px for c in crops], dtype=torch.float32)
    return Look(normalise(pixels), checked, torch.from_numpy(T).float(), sides)


def _bytes(photo: Tensor, person: int) -> np.ndarray:
    if photo.dtype != torch.uint8:
        raise DataError(f"photo of person {person} is {photo.dtype}; body crops are cut from uint8 photos")
    return photo.numpy(force=True)
