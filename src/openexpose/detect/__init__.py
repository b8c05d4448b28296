"""Who is in the photo, and where: detectors, and people that the caller has found already.

`builtin.py` is the network that ships; `torchvision_rcnn.py` wraps Keypoint R-CNN; `whole.py` takes the whole photo as
one person; `given.py` reads boxes and keypoints from files. A detector is anything that can be called like `Detector`.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8

from openexpose.errors import DataError


@dataclass(frozen=True, eq=False)
class Detection:
    """A person in a photo, before anything is fitted."""

    box_px: tuple[float, float, float, float]
    """x0, y0, x1, y1 in photo pixels, tight around the person; may reach over the photo's border."""
    score: float = 1.0
    """How sure it is that this is a person, 0 to 1."""
    keypoints: Float[np.ndarray, "K 3"] | None = None
    """x, y in photo pixels and confidence, where the finder gives them; for information only."""

    def __post_init__(self) -> None:
        """Raises DataError if the box has no area, or a number is not finite."""
        x0, y0, x1, y1 = self.box_px
        if not (np.isfinite([*self.box_px, self.score]).all() and x1 > x0 and y1 > y0):
            raise DataError(
                f"box {tuple(round(float(v), 2) for v in self.box_px)} with score {self.score} is not finite "
                "(x0, y0, x1, y1) with x1 > x0 and y1 > y0"
            )


@runtime_checkable
class Detector(Protocol):
    """Finds people. May be called from several threads at once."""

    @property
    def label(self) -> str:
        """What found the people, for the result file."""
        ...

    def __call__(self, photo: UInt8[np.ndarray, "H W 3"]) -> list[Detection]:
        """All people of an upright RGB photo, surest first; an empty list when there is nobody."""
        ...
