"""Reading MATLAB `.mat` files of version 5 (to 7) that nobody vouches for: numbers, text, cells and structs.

Facts: "MAT-File Format", The MathWorks, chapter 1. Sizes that a file claims are compared with the bytes that are there
before memory is taken. Version 7.3 (HDF5) and version 4 files are refused by name.
"""

import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openexpose.readers.limits import MIB, Budget, UnreadableError, blame, read_bytes

MAX_BYTES = 512 * MIB
"""Of the file. MPII's, the largest anybody has, is 24 MB."""
MAX_ELEMENTS = 8_000_000
MAX_DEPTH = 32
_HEADER = 128
_NUMBERS: Mapping[int, str] = {
    1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8",
}  # fmt: skip
_MATRIX, _COMPRESSED = 14, 15
_TEXT: Mapping[int, str] = {2: "latin-1", 16: "utf-8", 4: "utf-16", 17: "utf-16", 18: "utf-32"}
_CELL, _STRUCT, _CHAR = 1, 2, 4
_CLASSES: Mapping[int, str] = {
    6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8",
}  # fmt: skip
_SMALL: Mapping[int, str] = {1: "b", 2: "B", 3: "h", 4: "H", 5: "i", 6: "I", 7: "f", 16: "B"}
"""Codes of `struct` for the numbers that fit into a small data element."""
_SINGLE = (6, 8, 5, 8, 1, 1, 1, 0)
"""A nameless 1 x 1 matrix: kind and size of its flags, of its shape, the shape, kind and size of its name."""
_REFUSED: Mapping[int, str] = {3: "an object", 5: "a sparse matrix", 16: "a function", 17: "an opaque object"}


@dataclass(frozen=True, eq=False)
class MatStruct:
    """A struct array: each field holds one value for each element, in MATLAB's order (first axis fastest)."""

    shape: tuple[int, ...]
    fields: Mapping[str, Sequence[Any]]

    def __len__(self) -> int:
        return prod(self.shape)

    def __iter__(self) -> "Iterator[dict[str, Any]]":
        """Elements one by one, field name -> value."""
        return (self.element(i) for i in range(len(self)))

    def element(self, index: int) -> dict[str, Any]:
        """One element, field name -> value. AssetError if it was not read yet (`read_mat`) and is damaged."""
        return {name: values[index] for name, values in self.fields.items()}


@dataclass(frozen=True, eq=False)
class MatCell:
    """A cell array in MATLAB's order (first axis fastest)."""

    shape: tuple[int, ...]
    items: tuple[Any, ...]


def read_mat(path: Path, keys: Iterable[str] | None = None, *, lazily: bool = False) -> dict[str, Any]:
    """Variables of a `.mat` file by name (all, or those named in `keys`).

    Arrays come as numpy arrays of MATLAB's shape, 1 x 1 numbers as float, int or bool, rows of text as str, others as
    MatCell and MatStruct.
    lazily: read the outermost struct arrays of several elements only when an element is asked for.
    Raises AssetError if the file is missing, damaged, of version 4 or 7.3, lacks a name, or holds complex numbers,
    sparse matrices, functions or objects under a name that is asked for.
    """
    path = Path(path)
    data = read_bytes(path, MAX_BYTES)
    wanted = None if keys is None else set(keys)
    try:
        found = _variables(data, wanted, path if lazily else None)
        missing = (wanted or set()) - set(found)
        if missing:
            raise UnreadableError(f"it has no variable {', '.join(sorted(missing))}")
    except (UnreadableError, ValueError, OverflowError, MemoryError, zlib.error, struct.error) as e:
        raise blame(path, e) from e
    return found


def _variables(data: bytes, wanted: set[str] | None, later: Path | None) -> dict[str, Any]:
    order = _byte_order(data)
    budget = Budget(len(data), floor_bytes=1024 * MIB, factor=64)
    walk = _Walk(memoryview(data), order, budget, later)
    walk.at = _HEADER
    found: dict[str, Any] = {}
    while walk.at < len(data):
        kind, content = walk.element()
        inner = walk
        if kind == _COMPRESSED:
            unpacker = zlib.decompressobj()
            plain = unpacker.decompress(content, min(budget.left, 1 << 30) + 1)
            budget.spend(len(plain))
            if not unpacker.eof:
                raise UnreadableError("compressed values end too early")
            inner = _Walk(memoryview(plain), order, budget, later)
            kind, content = inner.element()
        if kind != _MATRIX:
            raise UnreadableError(f"a data element of kind {kind} where a variable should be")
        matrix = _Walk(content, order, budget, later)
        matrix.count = walk.count
        name, value = matrix.matrix(wanted, 0)
        walk.count = matrix.count
        if name in found:
            raise UnreadableError(f"it holds {name!r} twice")
        if wanted is None or name in wanted:
            found[name] = value
    return found


def _byte_order(data: bytes) -> str:
    """`<` or `>` of a version 5 file; UnreadableError naming what it is instead."""
    if data[:4] == b"\x89HDF" or data.startswith(b"MATLAB 7.3") or data[512:516] == b"\x89HDF":
        raise UnreadableError(
            "it is a MATLAB 7.3 file (HDF5), which is not read; in MATLAB: load it, then save(name, '-v7')"
        )
    order = {b"IM": "<", b"MI": ">"}.get(data[126:128])
    if order is None or len(data) < _HEADER:
        raise UnreadableError("it is no MATLAB file of version 5 to 7 (its header lacks the byte order mark)")
    version = int.from_bytes(data[124:126], "little" if order == "<" else "big")
    if version != 0x0100:
        raise UnreadableError(f"MATLAB file version {version:#06x} is unknown; in MATLAB: save(name, '-v7')")
    return order


class _Walk:
    """A place in a sequence of data elements."""

    def __init__(self, data: memoryview, order: str, budget: Budget, later: Path | None = None) -> None:
        """later: the file, if its struct arrays shall be read later."""
        self.data, self.order, self.budget, self.later = data, order, budget, later
        self.at, self.count = 0, 0
        self._words = struct.Struct(f"{order}2I")
        self._double = struct.Struct(f"{order}d")
        self._single = struct.Struct(f"{order}13I")

    def element(self) -> tuple[int, memoryview]:
        """Kind and content of the next data element."""
        at, end = self.at, len(self.data)
        if end - at < 8:
            raise UnreadableError("it ends within a data element")
        tag, size = self._words.unpack_from(self.data, at)
        small = tag >> 16
        if small:
            if small > 4:
                raise UnreadableError(f"a small data element claims {small} bytes")
            self.at = at + 8
            return tag & 0xFFFF, self.data[at + 4 : at + 4 + small]
        start = at + 8
        if size > end - start:
            raise UnreadableError(f"a data element claims {size:,} bytes, {end - start:,} are left")
        padding = 0 if tag == _COMPRESSED else -size % 8
        self.at = min(start + size + padding, end)
        return tag, self.data[start : start + size]

    def numbers(self) -> NDArray[Any]:
        """The next element as a flat array of the type it is stored in."""
        kind, content = self.element()
        if kind not in _NUMBERS:
            raise UnreadableError(f"a data element of kind {kind} where numbers should be")
        dtype = np.dtype(self.order + _NUMBERS[kind])
        if len(content) % dtype.itemsize:
            raise UnreadableError(f"{len(content)} bytes hold no whole number of {dtype.itemsize}-byte values")
        return np.frombuffer(content, dtype)

    def matrix(self, wanted: set[str] | None, depth: int) -> tuple[str, Any]:
        """Name and value of the matrix that this content is; the value is None if the name is not wanted."""
        self.count += 1
        if self.count > MAX_ELEMENTS or depth > MAX_DEPTH:
            raise UnreadableError("its variables are nested too deeply or have too many elements")
        if not len(self.data):
            return "", np.zeros((0, 0))
        flags = self.numbers()
        if len(flags) != 2:
            raise UnreadableError("an array without flags")
        kind, marks = int(flags[0]) & 0xFF, int(flags[0]) >> 8
        shape = tuple(int(n) for n in self.numbers()) if kind != 17 else ()
        name = bytes(self.element()[1]).decode("latin-1") if kind != 17 else ""
        if wanted is not None and depth == 0 and name not in wanted:
            return name, None
        if kind in _REFUSED or kind not in (*_CLASSES, _CELL, _STRUCT, _CHAR):
            raise UnreadableError(f"{name or 'a value'!r} is {_REFUSED.get(kind, f'of unknown class {kind}')}")
        if len(shape) < 2 or len(shape) > 16 or any(n < 0 for n in shape):
            raise UnreadableError(f"an array of shape {shape}")
        if kind == _CELL:
            return name, MatCell(shape, tuple(self._inner(depth) for _ in range(self._affordable(prod(shape)))))
        if kind == _STRUCT:
            return name, self._struct(shape, depth)
        if kind == _CHAR:
            return name, self._text(shape)
        if marks & 0x08:
            raise UnreadableError("complex numbers are not read")
        return name, self._array(shape, "?" if marks & 0x02 else _CLASSES[kind])

    def _inner(self, depth: int) -> Any:
        if len(self.data) - self.at >= 56:
            value = self._quick()
            if value is not None:
                return value
        walk = _Walk(self._content(), self.order, self.budget, self.later)
        walk.count = self.count
        _, value = walk.matrix(None, depth + 1)
        self.count = walk.count
        return value

    def _content(self) -> memoryview:
        """The next value of a cell or struct, unread."""
        kind, content = self.element()
        if kind != _MATRIX:
            raise UnreadableError(f"a data element of kind {kind} inside a cell or struct")
        return content

    def _quick(self) -> Any:
        """The next element if it is one small number or letter, as most are; None leaves it to `matrix`."""
        at = self.at
        tag, size, *fixed, head = self._single.unpack_from(self.data, at)
        marks = fixed[2]
        if tag != _MATRIX or (*fixed[:2], *fixed[4:]) != _SINGLE or marks & 0x800:
            return None
        kind, stored, length = marks & 0xFF, head & 0xFFFF, head >> 16
        if head == 9 and size == 56 and kind == 6 and at + 64 <= len(self.data):
            self.at, self.count = at + 64, self.count + 1
            return self._double.unpack_from(self.data, at + 56)[0]
        code = _SMALL.get(stored)
        if code is None or size != 48 or length != struct.calcsize(code) or kind not in (*_CLASSES, _CHAR):
            return None
        (number,) = struct.unpack_from(self.order + code, self.data, at + 52)
        if kind == _CHAR and (code not in "BH" or number > 127):
            return None
        self.at, self.count = at + 56, self.count + 1
        if kind == _CHAR:
            return chr(number)
        return bool(number) if marks & 0x200 else (float(number) if kind in (6, 7) else int(number))

    def _affordable(self, count: int) -> int:
        """`count`, if as many elements can be in the bytes that are left."""
        if count > (len(self.data) - self.at) // 8:
            raise UnreadableError(f"{count:,} elements are claimed, more than its bytes can hold")
        return count

    def _struct(self, shape: tuple[int, ...], depth: int) -> MatStruct:
        lengths = self.numbers()
        if len(lengths) != 1 or lengths[0] < 1:
            raise UnreadableError("a struct without the length of its field names")
        width, raw = int(lengths[0]), bytes(self.element()[1])
        names = [raw[i : i + width].split(b"\0", 1)[0].decode("latin-1") for i in range(0, len(raw), width)]
        if len(raw) % width or len(set(names)) != len(names):
            raise UnreadableError("a struct whose field names are damaged")
        if not names:
            return MatStruct((0, 0), {})
        values: list[list[Any]] = [[] for _ in names]
        count, later = self._affordable(prod(shape) * len(names)) // len(names), self.later
        for _ in range(count):
            for column in values:
                column.append(self._inner(depth) if later is None or count == 1 else self._content())
        if later is not None and count > 1:
            return MatStruct(shape, {n: _Later(v, self, later) for n, v in zip(names, values, strict=True)})
        return MatStruct(shape, {n: tuple(v) for n, v in zip(names, values, strict=True)})

    def _text(self, shape: tuple[int, ...]) -> Any:
        if 0 in shape:
            return ""
        kind, content = self.element()
        if kind not in _TEXT:
            raise UnreadableError(f"a data element of kind {kind} where text should be")
        wide = "" if kind in (2, 16) else ("-le" if self.order == "<" else "-be")
        text = bytes(content).decode(_TEXT[kind] + wide)
        if len(text) != prod(shape):
            raise UnreadableError(f"{len(text)} letters where {shape} are claimed")
        return text if shape[0] == 1 else np.array(list(text)).reshape(shape[::-1]).T

    def _array(self, shape: tuple[int, ...], dtype: str) -> Any:
        stored = self.numbers()
        if len(stored) != prod(shape):
            raise UnreadableError(f"{len(stored):,} numbers where {shape} are claimed")
        if len(stored) == 1:
            return np.dtype(dtype).type(stored[0]).item()
        self.budget.spend(len(stored) * np.dtype(dtype).itemsize)
        return stored.astype(dtype).reshape(shape, order="F")


class _Later(Sequence[Any]):
    """Values of one field, each read whenever it is asked for."""

    def __init__(self, contents: Sequence[memoryview], walk: _Walk, path: Path) -> None:
        self._contents, self._order, self._budget, self._path = contents, walk.order, walk.budget, path

    def __len__(self) -> int:
        return len(self._contents)

    def __getitem__(self, index: Any) -> Any:
        try:
            return _Walk(self._contents[index], self._order, self._budget).matrix(None, 1)[1]
        except (UnreadableError, ValueError, OverflowError, MemoryError, struct.error) as e:
            raise blame(self._path, e) from e
