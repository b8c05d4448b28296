"""Finding what is wrong with a data file: every row, named with its field."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from openexpose import images
from openexpose.data.dataset import HumanDataStore, Store
from openexpose.data.humandata import FAMILIES, KEYPOINTS, HumanData
from openexpose.errors import DataError

MOST_METRES = 100.0
"""3D joints further from the origin than this are millimetres, or wrong."""
IN_MILLIMETRES = ("stirling",)
"""`config` of files whose 3D points are in millimetres, because the reference's are (docs/data.md)."""
MOST_RADIANS = 4 * np.pi
"""Rotation vectors longer than this are degrees, or wrong."""
MOST_COEFFICIENT = 30.0
"""Shape and expression coefficients beyond this many standard deviations are no person."""
MOST_PIXELS = 100_000.0
CHUNK_ROWS = 4096
_ROTATIONS = ("orient", "pose")


@dataclass(frozen=True)
class Finding:
    """One thing wrong with one row."""

    row: int
    field: str
    problem: str

    def __str__(self) -> str:
        return f"row {self.row}, {self.field}: {self.problem}"


def check_values(data: HumanData) -> Iterator[Finding]:
    """Yield every value of a HumanData file that is not finite or not plausible in its unit, a chunk of rows at a time.

    Looks at boxes (pixels), 2D keypoints (pixels), 3D keypoints (metres), rotations (radians), shape and expression.
    """
    unit = 1000.0 if "config" in data.columns and str(data.column("config")) in IN_MILLIMETRES else 1.0
    for start in range(0, len(data), CHUNK_ROWS):
        rows = slice(start, min(start + CHUNK_ROWS, len(data)))
        for key in data.keys():  # noqa: SIM118
            if data.columns.rows(key) == len(data) and data.column(key).dtype.kind == "f":
                yield from _check_chunk(key, np.asarray(data.column(key)[rows], np.float64), start, unit)


def check_photos(store: Store, *, decode: bool) -> Iterator[Finding]:
    """Yield every row whose photo is missing or damaged, or whose box does not lie on it.

    decode: read all pixels, which finds truncated photos; else only the headers.
    """
    for i in range(len(store)):
        record = store.row(i)
        try:
            source = store.photo(i)
            width, height = images.photo_size(source, name=record.photo)
            if decode:
                images.read_rgb(source, name=record.photo)
        except DataError as e:
            yield Finding(i, "image_path", str(e))
            continue
        if record.box_xywh_px is None:
            yield Finding(i, "bbox_xywh", "this row has no box (no two keypoints are known)")
            continue
        x, y, w, h = record.box_xywh_px
        apart = min(x + w, width) <= max(x, 0) or min(y + h, height) <= max(y, 0)
        if w > 0 and h > 0 and apart:  # boxes without an area are found by their values
            yield Finding(
                i, "bbox_xywh", f"box {record.box_xywh_px.tolist()} does not touch the {width} x {height} photo"
            )


def check(store: Store, *, photos: bool, decode: bool) -> Iterator[Finding]:
    """Yield everything wrong with a store: values if it is a HumanData file, then photos if asked."""
    if isinstance(store, HumanDataStore):
        yield from check_values(store.data)
    if photos:
        yield from check_photos(store, decode=decode)


def _check_chunk(key: str, values: NDArray[np.float64], first_row: int, unit: float) -> Iterator[Finding]:
    flat = values.reshape(len(values), -1)
    broken = ~np.isfinite(flat).all(1)
    yield from _report(broken, first_row, key, "holds a value that is not finite")
    limit = _limit(key, unit)
    if key in KEYPOINTS:
        confidence = values[..., -1]
        yield from _report(
            ((confidence < 0) | (confidence > 1 + 1e-6)).any(-1) & ~broken,
            first_row,
            key,
            "has a confidence outside 0 to 1",
        )
        values = np.where(confidence[..., None] > 0, values[..., :-1], 0)
    elif key == "bbox_xywh":
        empty = (values[:, 2] <= 0) | (values[:, 3] <= 0)
        yield from _report(empty & ~broken, first_row, key, "is empty: width and height must be positive")
    elif any(word in key for word in _ROTATIONS):
        values = np.linalg.norm(values.reshape(len(values), -1, 3), axis=-1) if flat.shape[1] % 3 == 0 else values
    if limit is not None:
        most, said = limit
        sizes = np.abs(np.where(np.isfinite(values), values, 0)).reshape(len(values), -1).max(1, initial=0)
        yield from _report(sizes > most, first_row, key, f"reaches {{:.4g}}, more than {most:.4g} {said}", sizes)


def _limit(key: str, unit: float) -> tuple[float, str] | None:
    """The largest plausible size of a column's values, and what to think of larger ones."""
    if key in ("keypoints2d", "bbox_xywh"):
        return MOST_PIXELS, "pixels"
    if key in ("keypoints3d", "vertices"):
        return MOST_METRES * unit, "metres: millimetres?" if unit == 1 else "millimetres"
    outer, _, inner = key.partition("/")
    if outer in FAMILIES:
        if any(word in inner for word in _ROTATIONS):
            return MOST_RADIANS, "radians: degrees?"
        if inner in ("betas", "expression"):
            return MOST_COEFFICIENT, "standard deviations"
    return None


def _report(
    bad: NDArray[np.bool_] | np.bool_, first_row: int, key: str, problem: str, values: NDArray[np.float64] | None = None
) -> Iterator[Finding]:
    for i in np.flatnonzero(np.atleast_1d(bad)):
        yield Finding(first_row + int(i), key, problem if values is None else problem.format(values[i]))
