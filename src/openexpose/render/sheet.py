"""Contact sheets: many pictures on one, with captions."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from openexpose.errors import DataError

PAPER = (246, 246, 248)
INK = (38, 40, 46)


def sheet(
    images: Sequence[UInt8[np.ndarray, "_ _ 3"]],
    *,
    columns: int,
    captions: Sequence[str] = (),
    title: str = "",
    gap_px: int = 8,
    text_px: int = 15,
) -> UInt8[np.ndarray, "H W 3"]:
    """One picture with the images in rows of `columns`, each in a cell of the largest size, centred.

    captions: one below each image, or none at all.   title: above everything.
    Raises DataError for no images or a wrong number of captions.
    """
    if not images or columns < 1:
        raise DataError(f"a sheet of {len(images)} images in {columns} columns: need at least one of each")
    if captions and len(captions) != len(images):
        raise DataError(f"{len(captions)} captions for {len(images)} images")
    cell_h, cell_w = max(i.shape[0] for i in images), max(i.shape[1] for i in images)
    caption_h = round(text_px * 1.7) if captions else 0
    title_h = round(text_px * 2.6) if title else 0
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    width = columns * (cell_w + gap_px) + gap_px
    height = title_h + rows * (cell_h + caption_h + gap_px) + gap_px
    paper = np.empty((height, width, 3), dtype=np.uint8)
    paper[:] = PAPER
    corners = [
        (gap_px + (k % columns) * (cell_w + gap_px), title_h + gap_px + (k // columns) * (cell_h + caption_h + gap_px))
        for k in range(len(images))
    ]
    for image, (x, y) in zip(images, corners, strict=True):
        top, left = y + (cell_h - image.shape[0]) // 2, x + (cell_w - image.shape[1]) // 2
        paper[top : top + image.shape[0], left : left + image.shape[1]] = image
    if not captions and not title:
        return paper
    picture = Image.fromarray(paper)
    draw = ImageDraw.Draw(picture)
    if title:
        font = ImageFont.load_default(size=round(text_px * 1.5))
        draw.text((gap_px + 2, 0.55 * title_h), title, font=font, fill=INK, anchor="lm")
    font = ImageFont.load_default(size=text_px)
    for caption, (x, y) in zip(captions, corners, strict=False):
        place = (x + 0.5 * cell_w, y + cell_h + 0.5 * caption_h)
        draw.text(place, _shortened(caption, cell_w, draw, font), font=font, fill=INK, anchor="mm")
    return np.asarray(picture).copy()


def _shortened(
    text: str, width_px: int, draw: ImageDraw.ImageDraw, font: ImageFont.ImageFont | ImageFont.FreeTypeFont
) -> str:
    """The text, cut with an ellipsis where it would leave its cell."""
    if draw.textlength(text, font=font) <= width_px:
        return text
    kept = text
    while kept and draw.textlength(kept + "…", font=font) > width_px:
        kept = kept[:-1]
    return kept + "…"
