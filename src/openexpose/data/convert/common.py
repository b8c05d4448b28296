"""What a converter gets and gives, and what several of them need.

A converter is a module with three functions (`Converter`): `jobs` names the pieces of work of one output file, `load`
reads what all pieces share, once in each process, and `rows` yields the `Record`s of one piece and a `Problem` for
everything that had to be left out. It never writes anything: `run.py` does.
"""

from collections.abc import Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from openexpose import images
from openexpose.data.record import Record
from openexpose.errors import DataError
from openexpose.readers import Npz

BOX_SCALE = 1.2
"""Side of a box over the extent of its keypoints (spec 6.2)."""
CHUNK_ROWS = 2000
"""Rows of a piece of work, where nothing else divides a data set."""


@dataclass(frozen=True)
class Options:
    """What the user chose."""

    root: Path
    """Folder of the raw data set, as docs/data.md draws it."""
    reference_quirks: bool = False
    """Repeat the reference's bugs, for files equal to its own (docs/parity.md)."""
    photos: bool = True
    """Look for every photo; rows without one are left out and reported."""
    body_models: Path | None = None
    """Folder with the body models' files, for the data sets whose parameters need one."""


@dataclass(frozen=True)
class Job:
    """A piece of work: done by one process, kept on disk when done."""

    name: str
    """Says which piece, for people: a file, or `rows 0 to 1999`. Unique within its output."""
    sources: tuple[Path, ...] = ()
    """Raw files it reads; it is done again when one of them changes."""
    args: tuple[str | int | float | None, ...] = ()
    """Whatever else `rows` needs to know."""


@dataclass(frozen=True)
class Problem:
    """Something of the raw data that could not be used, and what came of it."""

    where: str
    """File, and row or field inside it."""
    what: str
    """What is wrong, and what was done about it."""

    def __str__(self) -> str:
        """One line."""
        return " ".join(f"{self.where}: {self.what}".split())


@runtime_checkable
class Converter(Protocol):
    """The functions of a converter's module."""

    def jobs(self, output: str, options: Options) -> Sequence[Job]:
        """Return the pieces of one output file in the order of its rows. DataError if the raw data is not there.

        output: one of the names in the converter's line of `table.py`, such as `ehf_val`.
        """

    def load(self, output: str, options: Options) -> Any:
        """Return what all pieces of an output share (tables, annotations), or None. Called once in each process."""

    def rows(self, job: Job, loaded: Any, options: Options) -> Iterator[Record | Problem]:
        """Yield the rows of one piece. A DataError or AssetError leaves the whole piece out and is reported.

        All rows of an output have the same fields, and keypoints in the same convention.
        """


def chunks(count: int, sources: tuple[Path, ...] = (), *, size: int | None = None) -> list[Job]:
    """Return pieces of `size` rows (default CHUNK_ROWS) that cover rows 0 to count - 1; `args` is (start, stop)."""
    size = size or CHUNK_ROWS
    starts = range(0, count, size)
    return [Job(f"rows {i} to {min(i + size, count) - 1}", sources, (i, min(i + size, count))) for i in starts]


def keypoint_box(
    xyc_px: Float[np.ndarray, "K 3"], *, scale: float = BOX_SCALE, every: bool = False
) -> Float[np.ndarray, "4"] | None:
    """Return left, top, width, height around the known points, each side scaled about its middle.

    every: also points of confidence 0 (the reference's EHF boxes). None with fewer than two known points.
    """
    points = xyc_px[:, :2] if every else xyc_px[xyc_px[:, 2] > 0, :2]
    if len(points) < 2:
        return None
    low, high = points.min(0), points.max(0)
    size = (high - low) * scale
    return np.asarray([*((low + high) / 2 - size / 2), *size], np.float64)


def photo_problem(path: Path, *, size_px: tuple[int, int] | None = None) -> Problem | None:
    """Return what is wrong with a photo that a row needs, from its header alone; None if it will do.

    size_px: width and height that the annotations were made for, where the data set fixes them.
    """
    if not path.is_file():
        return Problem(str(path), "photo is missing; row left out")
    try:
        size = images.photo_size(path)
    except DataError as e:
        return left_out(str(path), e)
    if size_px is not None and size != tuple(size_px):
        return Problem(
            str(path), f"photo is {size[0]} x {size[1]}, annotated at {size_px[0]} x {size_px[1]}; row left out"
        )
    return None


def left_out(where: str, error: Exception, what: str = "row") -> Problem:
    """Return the problem that an error makes of a row (or whatever else is left out); `where` is said once."""
    return Problem(where, f"{str(error).removeprefix(f'{where}: ')}; {what} left out")


def need_folder(path: Path, what: str) -> Path:
    """Return the folder; DataError saying what it should hold if it is not there."""
    if not path.is_dir():
        raise DataError(f"{path} is no folder; it should hold {what}. docs/data.md draws the tree of each data set")
    return path


def need_file(path: Path, what: str) -> Path:
    """Return the file; DataError saying what it should hold if it is not there."""
    if not path.is_file():
        raise DataError(f"{path} is missing; it holds {what}. docs/data.md draws the tree of each data set")
    return path


def need_keys(found: Mapping[str, object], wanted: Sequence[str], where: Path) -> None:
    """Raise DataError if a file of annotations lacks one of the names (another version, or another file)."""
    missing = [k for k in wanted if k not in found]
    if missing:
        raise DataError(
            f"{where} has no {missing}, but {sorted(map(str, found))[:20]}; it is another version, or another file"
        )


def same_length(columns: Mapping[str, object], where: Path) -> int:
    """Return the number of rows that all columns of a file have; DataError if they differ (a truncated file)."""
    sized = {k: v for k, v in columns.items() if isinstance(v, Sized) and getattr(v, "ndim", 1) > 0}
    single = [k for k in columns if k not in sized]
    if single:
        raise DataError(f"{where}: {single} should have a value for each row; it is another version, or another file")
    lengths = {k: len(v) for k, v in sized.items()}
    if len(set(lengths.values())) != 1:
        raise DataError(f"{where}: columns differ in length, {lengths}; the file is truncated or mixed, get it again")
    return next(iter(lengths.values()))


def row_count(path: Path, columns: Sequence[str]) -> int:
    """Return the number of rows of a `.npz` file of columns, from its headers.

    Raises AssetError if it is missing or damaged, DataError if it lacks a column or the first has no rows.
    """
    with Npz(path) as z:
        need_keys(dict.fromkeys(z.keys()), columns, path)
        shape = z.header(columns[0]).shape
    if not shape:
        raise DataError(f"{path}: {columns[0]!r} is a single value; it is another version, or another file")
    return shape[0]
