"""Where to look again: from the body's guess to boxes around hands and head in the full-size photo (spec 3.1)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from openexpose.geometry.camera import weak_project
from openexpose.geometry.crop import Photo, sample_squares

RIGHT_HAND_POINTS = (21, *range(40, 55), *range(71, 76))
"""Wrist, fingers and tips among the 144 keypoints of SMPL-X and FreeBody (pinned by name in the tests)."""
LEFT_HAND_POINTS = (20, *range(25, 40), *range(66, 71))
HEAD_POINTS = (15, 22, 23, 24, *range(55, 60), *range(76, 144))
"""Head, jaw, eyeballs; nose, eyes, ears; the 51 face landmarks and the 17 of the jaw contour."""


@dataclass(frozen=True)
class Look:
    """A batch of persons: what the body network sees, and the photos to look at again."""

    crops: Float[Tensor, "B 3 S S"]
    """Normalised RGB body crops."""
    photos: Sequence[Photo]
    """Each person's full-size photo, RGB 0 to 255, of any size; persons may share one."""
    T_crop_photo: Float[Tensor, "B 2 3"]
    """Photo pixels to body-crop pixels."""
    side_px: Float[Tensor, " B"]
    """Side of each body crop in photo pixels."""


@dataclass(frozen=True)
class Squares:
    """A square in each person's photo."""

    centre_px: Float[Tensor, "B 2"]
    """x, y in photo pixels."""
    side_px: Float[Tensor, " B"]
    """Side in photo pixels."""

    @property
    def corners_px(self) -> Float[Tensor, "B 4"]:
        """x0, y0, x1, y1 in photo pixels."""
        half = self.side_px[:, None] / 2
        return torch.cat([self.centre_px - half, self.centre_px + half], -1)

    @property
    def T_photo_unit(self) -> Float[Tensor, "B 2 3"]:
        """The unit square ([0, 1], y down) to photo pixels; crop losses are measured in its units (spec 7.2)."""
        scale = self.side_px[:, None, None] * torch.eye(2, dtype=self.side_px.dtype, device=self.side_px.device)
        return torch.cat([scale, (self.centre_px - self.side_px[:, None] / 2)[..., None]], -1)

    def cut(self, photos: Sequence[Photo], size_px: int) -> Float[Tensor, "B 3 S S"]:
        """The normalised crops, resampled to `size_px`."""
        return sample_squares(photos, self.centre_px, self.side_px, size_px)


def project_px(points_m: Float[Tensor, "B K 3"], camera: Float[Tensor, "B 3"], crop_px: int) -> Float[Tensor, "B K 2"]:
    """Where points are seen in the body crop, pixels 0 to crop_px - 1 (docs/parity.md, rows 4 and 7).

    camera: (s, tx, ty) of weak perspective, u = s * (X_xy + t) within [-1, 1].
    """
    return (weak_project(points_m, camera) * 0.5 + 0.5) * (crop_px - 1)


def squares_around(points_px: Float[Tensor, "B K 2"], subset: Sequence[int], scale: float, look: Look) -> Squares:
    """The photo square around some of the points of the body crop.

    Middle of their tight box, moved to the photo; its longer side times `scale`, over the crop's width in *pixels*
    (256, not 255: docs/parity.md, row 7) times the body crop's side in the photo. Body crops are not turned.
    """
    crop_px = look.crops.shape[-1]
    chosen = points_px[:, list(subset)]
    low, high = chosen.amin(1), chosen.amax(1)
    side_crop_px = (high - low).amax(-1) * scale
    T = look.T_crop_photo.to(points_px.dtype)
    centre_px = torch.linalg.solve(T[:, :, :2], (low + high) / 2 - T[:, :, 2])
    return Squares(centre_px, side_crop_px / crop_px * look.side_px.to(points_px.dtype))
