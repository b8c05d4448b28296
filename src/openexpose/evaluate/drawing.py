"""The picture of one sample for a gallery: photo, true and predicted points, predicted surface."""

import numpy as np
from jaxtyping import Float, Int, UInt8

from openexpose.geometry.affine import moved
from openexpose.geometry.camera import WeakCamera
from openexpose.geometry.crop import Crop
from openexpose.render.overlay import PALETTE, Rgb, composite, draw_keypoints
from openexpose.render.raycast import Look, render
from openexpose.render.scene import BLUE

PANEL_PX = 224
TRUE: Rgb = PALETTE[2]
"""Colour of true points."""
PREDICTED: Rgb = PALETTE[0]
"""Colour of predicted points."""
_QUICK = Look(samples=2, occlusion_rays=0)


def two_panels(
    photo: UInt8[np.ndarray, "H W 3"],
    square: Crop,
    vertices_m: Float[np.ndarray, "V 3"],
    faces: Int[np.ndarray, "F 3"],
    camera: Float[np.ndarray, "3"],
    *,
    true_px: Float[np.ndarray, "K 2"],
    pred_px: Float[np.ndarray, "K 2"],
) -> UInt8[np.ndarray, "P W2 3"]:
    """The square twice: with true points (green) and predicted ones (red), and with the surface laid over it.

    square: where the network looked.  vertices_m, camera: camera axes about the model's own origin, and (s, tx, ty).
    Points are in photo pixels; those that are not a number are left out.
    """
    view = Crop(square.centre_px, square.side_px, PANEL_PX)
    panel = view.cut(photo)
    T = view.T_crop_photo
    dots = draw_keypoints(panel, moved(T, true_px), colours=[TRUE], radius_px=_dot_px(len(true_px)))
    dots = draw_keypoints(dots, moved(T, pred_px), colours=[PREDICTED], radius_px=_dot_px(len(true_px)))
    s, tx, ty = (float(v) for v in camera)
    seen = render(vertices_m, faces, WeakCamera.in_crop(s, tx, ty, side_px=PANEL_PX), material=BLUE, look=_QUICK)
    return np.concatenate([dots, composite(panel, seen, opacity=0.8)], 1)


def _dot_px(points: int) -> float:
    """Many points are drawn small."""
    return 2.0 if points < 30 else 1.2
