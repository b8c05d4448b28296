"""The people of a benchmark's HumanData file: who they are, where they stand in which photo, how they are cut out."""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from openexpose import images
from openexpose.data.humandata import HumanData
from openexpose.errors import ConfigError, DataError
from openexpose.geometry.crop import Crop

BOX_SCALE = 1.0
"""Side of the crop over the longer side of the stored box, as the reference tests: its boxes have their margin."""
DEMO_SCALE = 1.25
"""What a detector's box is scaled by; not for the boxes of the benchmarks."""


@dataclass(frozen=True, eq=False)
class Sitters:
    """Rows of a HumanData file, in its order; a photo of two people is two rows."""

    data: HumanData
    photos: Path
    """Folder that `image_path` is relative to."""
    box_scale: float = BOX_SCALE
    count: int = 0
    """How many rows, from the first."""

    @classmethod
    def open(
        cls, store: Path, photos: Path, *, box_scale: float = BOX_SCALE, first: int | None = None, command: str
    ) -> "Sitters":
        """From a file and the folder of its photos, all of which must be there.

        first: only so many rows. command: what to ask `openexpose doctor` about.
        Raises DataError for photos or boxes that are missing, ConfigError for a size that is not positive.
        """
        if box_scale <= 0 or (first is not None and first < 1):
            raise ConfigError(f"box_scale={box_scale}, n={first}: both must be positive")
        data = HumanData.open(store)
        lacking = [k for k in ("image_path", "bbox_xywh") if k not in data.columns]
        if lacking or not len(data):
            raise DataError(f"{store} has {len(data)} rows and no {' or '.join(lacking)}; {_convert(command)}")
        out = cls(data, photos, box_scale, len(data) if first is None else min(first, len(data)))
        missing = [p for p in dict.fromkeys(out._paths) if not (photos / p).is_file()]
        if missing:
            raise DataError(
                f"{len(missing)} photos of {store} are not in {photos}, for instance {missing[0]}. "
                f'Give their folder with --photos; `openexpose doctor --for "{command}"` shows what is missing'
            )
        return out

    def __len__(self) -> int:
        return self.count

    @property
    def full(self) -> int:
        """How many rows the file has."""
        return len(self.data)

    @cached_property
    def _paths(self) -> tuple[str, ...]:
        return tuple(str(p) for p in self.data.column("image_path")[: self.count])

    @cached_property
    def names(self) -> tuple[str, ...]:
        """A name of its own for each row: its photo, and "#2" behind the second person of one photo."""
        seen: Counter[str] = Counter()
        out = []
        for path in self._paths:
            seen[path] += 1
            out.append(path if seen[path] == 1 else f"{path} #{seen[path]}")
        return tuple(out)

    def photo(self, row: int) -> UInt8[np.ndarray, "_ _ 3"]:
        """Pixels of a row's photo, upright RGB. Raises DataError if it is damaged."""
        return images.read_rgb(self.photos / self._paths[row])

    @cached_property
    def boxes_xywh_px(self) -> Float[np.ndarray, "N 4"]:
        """Stored boxes: left, top, width, height."""
        return np.asarray(self.data.column("bbox_xywh")[: self.count, :4], np.float64)

    def crop(self, row: int, crop_px: int) -> Crop:
        """Where the network looks. Raises DataError naming the row if its box has no area."""
        x, y, w, h = (float(v) for v in self.boxes_xywh_px[row])
        try:
            return Crop.around((x, y, x + w, y + h), scale=self.box_scale, size_px=crop_px)
        except DataError as e:
            raise DataError(f"{self.data.path}, row {row} ({self.names[row]}): {e}") from e

    def said(self) -> tuple[str, ...]:
        """Which box convention is in use, and which part of the file, for the page."""
        box = (
            f"box: bbox_xywh of {self.data.path.name}, side = its longer side x {self.box_scale:g}, same middle "
            f"(the reference tests with {BOX_SCALE:g}; {DEMO_SCALE:g} is for a detector's box; another box moves "
            "results by 7-12 mm)"
        )
        out = [box]
        at_origin = self.boxes_from_origin()
        if at_origin:
            out.append(
                f"boxes: {at_origin} of {len(self)} reach from the photo's corner, because points that were not found "
                "lie at (0, 0): the reference's quirk, which makes crops larger"
            )
        if len(self) < self.full:
            out.append(f"only the first {len(self)} of {self.full} rows: not the benchmark's figure")
        return tuple(out)

    def boxes_from_origin(self) -> int:
        """How many boxes are 1.2 times a keypoint box that begins at (0, 0), as forced confidences make them."""
        x, y, w, h = self.boxes_xywh_px.T
        margin = (1.2 - 1) / 2 / 1.2  # on each side, as a share of the scaled box
        return int(((np.abs(x + w * margin) < 1e-3) & (np.abs(y + h * margin) < 1e-3)).sum())


def _convert(command: str) -> str:
    return f'convert it again (`openexpose data convert`), or see `openexpose doctor --for "{command}"`'
