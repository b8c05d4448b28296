"""Reading pickles nobody vouches for: plain containers, numpy arrays, sparse matrices, chumpy values, nothing else."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from openexpose.readers.inert import MAX_DIMS, ArrayCell, Blob, Cell, Constructor, DtypeCell, RecordCell, SparseCell
from openexpose.readers.limits import MAX_FILE_BYTES, Budget, UnreadableError, blame, read_bytes
from openexpose.readers.pickle_machine import PickleMachine

MAX_DEPTH = 100
_DAMAGE = (ValueError, TypeError, KeyError, IndexError, OverflowError, ArithmeticError, MemoryError, struct.error)


@dataclass(frozen=True)
class SparseMatrix:
    """A sparse matrix as (row, column, value) triples whose indices were checked against `shape`."""

    shape: tuple[int, int]
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    values: NDArray[np.float64]

    def dense(self, max_entries: int = 1 << 26) -> NDArray[np.float64]:
        """The full matrix, float64; UnreadableError when it has more than `max_entries` entries."""
        if prod(self.shape) > max_entries:
            raise UnreadableError(f"a sparse matrix of shape {self.shape} is too large to fill out")
        out = np.zeros(self.shape)
        np.add.at(out, (self.rows, self.columns), self.values)
        return out


@dataclass(frozen=True)
class Record:
    """An object that is kept only as its class name and attributes, because nothing here needs its value."""

    name: str
    state: Mapping[Any, Any]


def read_pickle(path: Path, max_bytes: int = MAX_FILE_BYTES) -> Any:
    """The value in a pickle file: containers, numbers, text, read-only numpy arrays, SparseMatrix, Record.

    Python 2 text is read as latin-1. Chumpy values come back as their arrays. Nothing named in the file is imported
    or called; a pickle that names anything else is refused with that name.
    Raises AssetError for a missing, damaged, oversized or refused file.
    """
    return parse_pickle(read_bytes(Path(path), max_bytes), str(path))


def parse_pickle(data: bytes | memoryview, where: str) -> Any:
    """The value in pickle bytes, as `read_pickle`; `where` names their source in the error."""
    try:
        budget = Budget(len(data))
        return _Resolver(budget).resolve(PickleMachine(data, budget).run())
    except UnreadableError as e:
        raise blame(where, e) from e
    except _DAMAGE as e:
        raise blame(where, f"damaged pickle ({type(e).__name__}: {str(e)[:120]})") from e


class _Resolver:
    """Turns cells into values all the way down; each object is visited once."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.done: dict[int, Any] = {}
        self.keep: list[Any] = []  # ids stay unique only while their objects live
        self.open: set[int] = set()

    def resolve(self, value: Any, depth: int = 0) -> Any:
        """`value` without cells; lists and dictionaries are changed in place."""
        if not isinstance(value, list | dict | tuple | Cell | Constructor):
            return value
        if depth > MAX_DEPTH:
            raise UnreadableError(f"it is nested deeper than {MAX_DEPTH} levels")
        if id(value) in self.done:
            return self.done[id(value)]
        self.budget.spend(200)
        self.keep.append(value)
        if isinstance(value, list):
            self.done[id(value)] = value
            value[:] = [self.resolve(x, depth + 1) for x in value]
            return value
        if isinstance(value, dict):
            self.done[id(value)] = value
            for key in value:
                value[key] = self.resolve(value[key], depth + 1)
            return value
        if id(value) in self.open:
            raise UnreadableError("it contains itself")
        self.open.add(id(value))
        made = tuple(self.resolve(x, depth + 1) for x in value) if type(value) is tuple else self.cell(value, depth + 1)
        self.open.remove(id(value))
        self.done[id(value)] = made
        return made

    def cell(self, cell: Any, depth: int) -> Any:
        """The value of one cell."""
        match cell:
            case Blob(raw=raw, encoding=encoding):
                self.budget.spend(4 * len(raw))
                return bytes(raw) if encoding is None else str(raw, encoding)
            case DtypeCell(dtype=dtype):
                return dtype
            case Constructor(name=name):
                return Record(name, {})
            case ArrayCell():
                return self.array(cell, depth)
            case SparseCell(layout=layout, state=state) if state is not None:
                return self.sparse(layout, self.resolve(state, depth))
            case RecordCell(name=name, state=state):
                return self.chumpy(name, {} if state is None else self.resolve(state, depth))
        raise UnreadableError(f"a {type(cell).__name__} that was never filled")

    def array(self, cell: ArrayCell, depth: int) -> NDArray[Any]:
        if cell.values is not None:
            return cell.values
        if cell.objects is None:
            raise UnreadableError("an array that was never filled")
        flat = np.empty(len(cell.objects), object)
        for i, x in enumerate(cell.objects):
            flat[i] = self.resolve(x, depth)
        return flat.reshape(cell.shape[::-1]).T if cell.fortran else flat.reshape(cell.shape)

    def sparse(self, layout: str, state: dict[Any, Any]) -> SparseMatrix:
        shape, data = state.get("_shape", state.get("shape")), state.get("data")  # "shape" before scipy 0.7
        if type(shape) is not tuple or len(shape) != 2 or not _numbers(data) or data.ndim != 1:
            raise UnreadableError("a sparse matrix without a shape or values")
        if not all(isinstance(n, int | np.integer) and 0 <= int(n) < 1 << 31 for n in shape):
            raise UnreadableError("a sparse matrix whose shape is no pair of counts")
        shape = (int(shape[0]), int(shape[1]))
        indptr = state.get("indptr")
        self.budget.spend(24 * (data.size + (indptr.size if _integers(indptr) else 0)))
        if layout == "coo":
            rows, columns = state.get("coords", (state.get("row"), state.get("col")))
        else:
            major = shape[1] if layout == "csc" else shape[0]
            minor_index, spread = _expand(state.get("indices"), indptr, major, len(data))
            rows, columns = (minor_index, spread) if layout == "csc" else (spread, minor_index)
        for index, n in ((rows, shape[0]), (columns, shape[1])):
            if not _integers(index) or index.shape != data.shape:
                raise UnreadableError("a sparse matrix with other than one index per value")
            if index.size and not 0 <= index.min() <= index.max() < n:
                raise UnreadableError("a sparse matrix with indices outside its shape")
        return SparseMatrix(shape, rows.astype(np.int64), columns.astype(np.int64), data.astype(np.float64))

    def chumpy(self, name: str, state: dict[Any, Any]) -> Any:
        """The array a chumpy object stands for, or a Record where we do not know how it is computed."""
        if name == "Ch":
            return state["x"] if isinstance(state.get("x"), np.ndarray | int | float) else Record(name, state)
        a = state.get("a")
        if not _numbers(a):
            return Record(name, state)
        idxs = state.get("idxs")
        if name == "Select" and _integers(idxs):
            self.budget.spend(a.nbytes + 2 * idxs.nbytes)
            picked = a.ravel()[idxs.ravel()]
            return picked.reshape(_shape_of(state.get("preferred_shape"), picked.shape))
        if name == "Reshape":
            self.budget.spend(a.nbytes)
            return a.reshape(_shape_of(state.get("newshape"), a.shape))
        if name == "transpose":
            axes = state.get("axes")
            return np.transpose(a, None if axes is None else _shape_of(axes, ()))
        return Record(name, state)


def _numbers(x: Any) -> TypeGuard[NDArray[Any]]:
    return isinstance(x, np.ndarray) and x.dtype.kind in "biuf"


def _integers(x: Any) -> TypeGuard[NDArray[Any]]:
    return isinstance(x, np.ndarray) and x.dtype.kind in "iu"


def _shape_of(value: Any, default: tuple[int, ...]) -> tuple[int, ...]:
    if value is None:
        return default
    flat = value.tolist() if _integers(value) and value.ndim == 1 and value.size <= MAX_DIMS else value
    if (
        type(flat) not in (tuple, list)
        or len(flat) > MAX_DIMS
        or not all(isinstance(n, int | np.integer) for n in flat)
    ):
        raise UnreadableError("a chumpy value whose new shape is no short list of counts")
    return tuple(int(n) for n in flat)


def _expand(indices: Any, indptr: Any, major: int, n: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Compressed rows or columns spelt out: (indices, major index of each entry)."""
    if not _integers(indices) or not _integers(indptr) or indptr.shape != (major + 1,):
        raise UnreadableError("a sparse matrix whose index pointers do not fit its shape")
    steps = indptr.astype(np.int64)
    counts: NDArray[np.int64] = steps[1:] - steps[:-1]
    if indptr[0] != 0 or indptr[-1] != n or (counts < 0).any():
        raise UnreadableError("a sparse matrix whose index pointers do not grow from 0 to its number of values")
    return indices, np.repeat(np.arange(major), counts)
