"""Packs of small labelled photos: one `.npz` of WebP images and 2D keypoints with flags (docs/data_format.md)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from openexpose.data.record import Keypoints, Record
from openexpose.errors import DataError
from openexpose.readers import Npz
from openexpose.skeleton import Skeleton

SKELETONS = {14: "lspet", 17: "coco", 68: "ibug68"}
"""Convention by number of keypoints, where the caller names none."""
BOX_SCALE = 1.2
"""The person's box is the keypoints' box with both sides times this, as the reference's converters do (spec 6.2)."""


class PhotoPack:
    """A pack as a store: rows with keypoints, photos as bytes. Flag 1 becomes confidence 1, flag 0 confidence 0."""

    def __init__(self, path: Path, rows: NDArray[np.int64], skeleton: Skeleton) -> None:
        """rows: which images of the pack, in which order. Use `open`."""
        with Npz(path) as z:
            webp = z.memmap("webp")
            self._webp = z.read("webp") if webp is None else webp
            self._offsets = z.read("offsets")
            self._points = z.read("keypoints2d").astype(np.float64)
            self.sources = z.read("source") if "source" in z else np.zeros(len(self._points), np.uint8)
        if len(self._offsets) != len(self._points) + 1 or (np.diff(self._offsets) < 0).any():
            raise DataError(f"{path}: offsets and keypoints2d disagree; get the pack again")
        if self._offsets[-1] > len(self._webp) or self._points.shape[1:] != (len(skeleton), 3):
            raise DataError(
                f"{path}: keypoints {self._points.shape[1:]} are not those of {skeleton.name!r}, or images miss"
            )
        self.path, self.rows, self.skeleton = Path(path), rows, skeleton

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        skeleton: str | None = None,
        first: int = 0,
        last: int | None = None,
        sources: Sequence[int] | None = None,
    ) -> "PhotoPack":
        """Return the images `first` to `last` (not included; negative counts from the end) of these sources.

        skeleton: the keypoints' convention; None tells it from their number.
        Raises AssetError for a missing or damaged file, DataError if nothing is left or the convention is unclear.
        """
        with Npz(path) as z:
            n, k = z.header("keypoints2d").shape[:2]
            source = z.read("source") if "source" in z else np.zeros(n, np.uint8)
        if skeleton is None and k not in SKELETONS:
            raise DataError(f"{path} has {k} keypoints; say which convention they follow")
        rows = np.arange(n, dtype=np.int64)[slice(first, last)]
        rows = rows if sources is None else rows[np.isin(source[rows], list(sources))]
        if not len(rows):
            raise DataError(f"{path}: no image is left of {n} with first={first}, last={last}, sources={sources}")
        return cls(path, rows, Skeleton.read(SKELETONS[k] if skeleton is None else skeleton))

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return self.path.stem

    def __len__(self) -> int:
        return len(self.rows)

    def __reduce__(self) -> tuple[object, ...]:
        return PhotoPack, (self.path, self.rows, self.skeleton)

    def row(self, index: int) -> Record:
        """Return one row; its photo is named by its number in the pack."""
        at = int(self.rows[index])
        points = self._points[at]
        return Record(f"{self.name}#{at}", _box_around(points), Keypoints(self.skeleton, points))

    def photo(self, index: int) -> bytes:
        """Return one image's WebP bytes."""
        at = int(self.rows[index])
        return self._webp[self._offsets[at] : self._offsets[at + 1]].tobytes()


def _box_around(points: np.ndarray) -> np.ndarray | None:
    """Left, top, width, height around the flagged points, enlarged; None if they span no area."""
    seen = points[points[:, 2] > 0, :2]
    if len(seen) < 2 or (np.ptp(seen, 0) <= 0).any():
        return None
    size = np.ptp(seen, 0) * BOX_SCALE
    return np.concatenate([(seen.min(0) + seen.max(0) - size) / 2, size])
