"""Drawings on photos: meshes, keypoints with labels, skeleton lines. Every function returns a new picture."""

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont

from openexpose.errors import DataError
from openexpose.render.raycast import Rendered

Rgb = tuple[int, int, int]
"""sRGB bytes."""

PALETTE: tuple[Rgb, ...] = (
    (230, 85, 70),
    (46, 134, 193),
    (39, 160, 105),
    (222, 150, 30),
    (142, 90, 180),
    (30, 165, 175),
    (200, 80, 140),
    (120, 130, 60),
)
"""Colours that stay apart on skin and on grey."""


def composite(
    photo: UInt8[np.ndarray, "H W 3"], rendered: Rendered, *, opacity: float = 1.0
) -> UInt8[np.ndarray, "H W 3"]:
    """The rendered picture laid over a photo of the same size.

    opacity: 0 shows only the photo, 1 hides it behind the mesh. Raises DataError for different sizes.
    """
    if photo.shape[:2] != rendered.alpha.shape:
        raise DataError(
            f"the photo has {photo.shape[1]} x {photo.shape[0]} pixels, the rendering "
            f"{rendered.alpha.shape[1]} x {rendered.alpha.shape[0]}: render with the photo's camera (WeakCamera.moved)"
        )
    if not 0 <= opacity <= 1:
        raise DataError(f"opacity={opacity}: must be between 0 and 1")
    a = (rendered.alpha * np.float32(opacity))[..., None]
    return np.rint(photo * (1 - a) + rendered.rgb * a).astype(np.uint8)


def draw_bones(
    image: UInt8[np.ndarray, "H W 3"],
    points_px: Float[np.ndarray, "N 2"],
    bones: Sequence[tuple[int, int]],
    *,
    colours: Sequence[Rgb] = PALETTE,
    thickness_px: int = 2,
) -> UInt8[np.ndarray, "H W 3"]:
    """The image with a line for each pair of points; points that are not finite have no lines.

    colours: one for each bone, repeated from the start when there are fewer.
    """
    canvas = image.copy()
    for k, (i, j) in enumerate(bones):
        if not (0 <= i < len(points_px) and 0 <= j < len(points_px)):
            raise DataError(f"bone {k} joins points {i} and {j}, there are {len(points_px)} points")
        ends = points_px[[i, j]]
        if np.isfinite(ends).all():
            (a, b) = (_fixed_point(p) for p in ends)
            cv2.line(canvas, a, b, colours[k % len(colours)], thickness_px, cv2.LINE_AA, shift=_SHIFT)
    return canvas


def draw_keypoints(
    image: UInt8[np.ndarray, "H W 3"],
    points_px: Float[np.ndarray, "N 2"],
    *,
    colours: Sequence[Rgb] = PALETTE[:1],
    labels: Sequence[str] | None = None,
    radius_px: float = 3.0,
    text_px: int = 11,
) -> UInt8[np.ndarray, "H W 3"]:
    """The image with a ringed dot at each point; points that are not finite are left out.

    colours: one for each point, repeated from the start when there are fewer.
    labels: texts beside the dots, placed where they cover each other least, joined to their dot by a thin line.
    """
    canvas = image.copy()
    seen = [int(k) for k in np.flatnonzero(np.isfinite(points_px).all(axis=1))]
    for k in seen:
        centre = _fixed_point(points_px[k])
        for grow, colour in ((1.0, (255, 255, 255)), (0.0, colours[k % len(colours)])):
            radius = round((radius_px + grow) * (1 << _SHIFT))
            cv2.circle(canvas, centre, radius, colour, cv2.FILLED, cv2.LINE_AA, shift=_SHIFT)
    if labels is None:
        return canvas
    if len(labels) != len(points_px):
        raise DataError(f"{len(labels)} labels for {len(points_px)} points")
    return _draw_labels(canvas, {k: (points_px[k], labels[k], colours[k % len(colours)]) for k in seen}, text_px)


_SHIFT = 4
"""cv2 draws at 1/16 pixel."""


def _fixed_point(point_px: Float[np.ndarray, " 2"]) -> tuple[int, int]:
    far = np.clip(point_px, -10_000, 10_000)  # cv2 keeps coordinates in 32 bits
    return round(float(far[0]) * (1 << _SHIFT)), round(float(far[1]) * (1 << _SHIFT))


Box = tuple[float, float, float, float]


def _draw_labels(
    canvas: UInt8[np.ndarray, "H W 3"],
    items: dict[int, tuple[Float[np.ndarray, " 2"], str, Rgb]],
    text_px: int,
) -> UInt8[np.ndarray, "H W 3"]:
    picture = Image.fromarray(canvas)
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(size=text_px)
    taken: list[Box] = [(p[0] - 2, p[1] - 2, p[0] + 2, p[1] + 2) for p, _, _ in items.values()]
    boxes: dict[int, Box] = {}
    for k, (point, text, _) in items.items():
        size = (draw.textlength(text, font=font) + 4, text_px * 1.25)
        boxes[k] = _free_place(point, size, taken, (picture.width, picture.height))
        taken.append(boxes[k])
    for k, (point, _, colour) in items.items():
        x0, y0, x1, y1 = boxes[k]
        near = (min(max(point[0], x0), x1), min(max(point[1], y0), y1))
        draw.line([(point[0], point[1]), near], fill=colour, width=1)
    for k, (_, text, colour) in items.items():
        x0, y0, x1, y1 = boxes[k]
        draw.rounded_rectangle((x0, y0, x1, y1), radius=2, fill=(255, 255, 255))
        draw.text((x0 + 2, 0.5 * (y0 + y1)), text, font=font, fill=tuple(c * 6 // 10 for c in colour), anchor="lm")
    return np.asarray(picture).copy()


def _free_place(
    point: Float[np.ndarray, " 2"], size: tuple[float, float], taken: list[Box], picture: tuple[int, int]
) -> Box:
    """The box around the point, near first, that covers the taken ones least."""
    w, h = size
    best: tuple[float, Box] | None = None
    others = np.array(taken)
    for distance in (6.0, 14.0, 24.0, 38.0, 56.0, 80.0):
        for k in range(12):
            angle = np.pi / 6 * k
            x = point[0] + np.cos(angle) * (distance + 0.5 * w) - 0.5 * w
            y = point[1] + np.sin(angle) * (distance + 0.5 * h) - 0.5 * h
            box = (float(x), float(y), float(x + w), float(y + h))
            outside = max(0, -x) + max(0, x + w - picture[0]) + max(0, -y) + max(0, y + h - picture[1])
            cost = _covered(box, others) + 100 * outside + distance
            if best is None or cost < best[0]:
                best = (float(cost), box)
        if best is not None and best[0] <= distance:
            break
    assert best is not None
    return best[1]


def _covered(box: Box, others: Float[np.ndarray, "M 4"]) -> float:
    wide = np.minimum(box[2], others[:, 2]) - np.maximum(box[0], others[:, 0])
    high = np.minimum(box[3], others[:, 3]) - np.maximum(box[1], others[:, 1])
    return float((np.maximum(wide, 0) * np.maximum(high, 0)).sum())
