"""The whole photo as one person: for photos that are crops already."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from openexpose.detect import Detection
from openexpose.nets.inputs import BOX_SCALE


@dataclass(frozen=True)
class WholePhoto:
    """Says that there is one person, so large that the network sees the photo's longer side from end to end."""

    label: str = "whole"
    """What found the people."""

    def __call__(self, photo: UInt8[np.ndarray, "H W 3"]) -> list[Detection]:
        """One detection; its box is the middle of the photo, smaller by the scale that crops add to boxes."""
        height, width = photo.shape[:2]
        half_w, half_h = 0.5 * width / BOX_SCALE, 0.5 * height / BOX_SCALE
        x, y = 0.5 * (width - 1), 0.5 * (height - 1)
        return [Detection((x - half_w, y - half_h, x + half_w, y + half_h))]
