"""2x3 affines between pixel frames, in numpy: made, chained, applied to points, and used to resample photos.

Frames as in `geometry.crop`: (0, 0) is the centre of the top left pixel; T_a_b maps points of b to a.
"""

from functools import reduce

import cv2
import numpy as np
from jaxtyping import Float, UInt8

Affine = Float[np.ndarray, "2 3"]

_LONGEST_SIDE = 32_000
"""OpenCV counts source columns in 16 bits; longer photos are cut to the part that is needed."""


def crop_affine(centre_px: Float[np.ndarray, "2"], side_px: float, size_px: int, turn_deg: float) -> Affine:
    """Return T_crop_photo of a turned square: k [[cos, sin], [-sin, cos]], the centre landing on (size/2, size/2).

    side_px: of the square, in the photo.  size_px: of the crop, in its own pixels.  turn_deg: the photo appears turned
    by this much counter-clockwise. Source: spec 7.3; agrees with OpenCV's three-point solution to 1e-5.
    """
    k, r = size_px / side_px, np.deg2rad(turn_deg)
    A = k * np.array([[np.cos(r), np.sin(r)], [-np.sin(r), np.cos(r)]])
    return np.column_stack([A, size_px / 2 - A @ centre_px])


def flip_affine(width_px: int) -> Affine:
    """Return the left-right mirror of a photo: x -> width - 1 - x."""
    return np.array([[-1.0, 0.0, width_px - 1.0], [0.0, 1.0, 0.0]])


def canvas_turn(size_px: tuple[int, int], turn_deg: float) -> tuple[Affine, tuple[int, int]]:
    """Return T_canvas_photo and the canvas (width, height) that holds a photo turned about its middle pixel.

    The reference's way (spec 7.3, Rotation): the middle is (w // 2, h // 2) and sizes are cut to whole pixels.
    """
    width, height = size_px
    c, s = np.cos(np.deg2rad(turn_deg)), np.sin(np.deg2rad(turn_deg))
    canvas = (int(height * abs(s) + width * abs(c)), int(height * abs(c) + width * abs(s)))
    middle = np.array([width // 2, height // 2], float)
    A = np.array([[c, s], [-s, c]])
    shift = np.array([canvas[0] / 2, canvas[1] / 2]) - A @ middle
    return np.column_stack([A, shift]), canvas


def compose(*chain: Affine) -> Affine:
    """Return the product of affines, the last applied first: compose(T_a_b, T_b_c) is T_a_c."""
    return reduce(lambda T, U: np.column_stack([T[:, :2] @ U[:, :2], T[:, :2] @ U[:, 2] + T[:, 2]]), chain)


def moved(T: Affine, points_px: Float[np.ndarray, "*K 2"]) -> Float[np.ndarray, "*K 2"]:
    """Return points mapped by an affine."""
    return points_px @ T[:, :2].T + T[:, 2]


def resample(
    photo: UInt8[np.ndarray, "H W 3"],
    T_out_photo: Affine,
    size_px: tuple[int, int],
    *,
    outside: tuple[int, int, int] = (0, 0, 0),
) -> UInt8[np.ndarray, "h w 3"]:
    """Return the photo seen through an affine, bilinear, with one colour outside it.

    size_px: width and height of the result.  outside: RGB, 0 to 255; black is what the networks were trained with.
    """
    if max(photo.shape[:2]) > _LONGEST_SIDE:
        photo, T_out_photo = _needed_part(photo, T_out_photo, size_px)
    out = cv2.warpAffine(
        photo, T_out_photo, size_px, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=outside
    )
    return np.asarray(out, np.uint8)


def _needed_part(photo: np.ndarray, T: Affine, size_px: tuple[int, int]) -> tuple[np.ndarray, Affine]:
    w, h = size_px
    corners = moved(np.asarray(cv2.invertAffineTransform(T)), np.array([[0, 0], [w, 0], [0, h], [w, h]], float))
    limit = np.array(photo.shape[1::-1])
    lo = np.clip(np.floor(corners.min(0)).astype(int) - 2, 0, limit - 1)
    hi = np.clip(np.ceil(corners.max(0)).astype(int) + 3, lo + 1, limit)
    part = photo[lo[1] : hi[1], lo[0] : hi[0]]
    return part, np.column_stack([T[:, :2], moved(T, lo.astype(float))])
