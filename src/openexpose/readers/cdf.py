"""Reading the variables of NASA's Common Data Format nobody vouches for: numbers only, as Human3.6M stores its poses.

Facts: "CDF Internal Format Description", NASA Goddard Space Flight Center. Read: versions 2.6 to 3, one file, rows or
columns first, both byte orders, plain or compressed by gzip (whole files or single variables). Anything else is refused
by name. Sizes that a file claims are compared with the bytes that are there before memory is taken.
"""

import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openexpose.readers.limits import MIB, UnreadableError, blame, read_bytes

MAX_BYTES = 512 * MIB
"""Of the file, packed and unpacked. Human3.6M's largest has 3 MB."""
MAX_VARIABLES = 1000
MAX_DIMENSIONS = 10
_MAGIC: Mapping[bytes, int] = {b"\xcd\xf3\x00\x01": 3, b"\xcd\xf2\x60\x02": 2}
_PLAIN, _PACKED = b"\x00\x00\xff\xff", b"\xcc\xcc\x00\x01"
_CDR, _GDR, _RVDR, _VXR, _VVR, _ZVDR, _CCR, _CPR, _CVVR = 1, 2, 3, 6, 7, 8, 10, 11, 13
_TYPES: Mapping[int, str] = {
    1: "i1", 2: "i2", 4: "i4", 8: "i8", 11: "u1", 12: "u2", 14: "u4", 21: "f4", 22: "f8", 41: "i1", 44: "f4", 45: "f8",
}  # fmt: skip
_LITTLE, _BIG = (4, 6, 13, 16, 17), (1, 2, 5, 7, 9, 11, 12, 18)
"""Encodings, by byte order; the others are of VAX machines."""
_GZIP = 5
_MAX_INFLATION = 1040
_DAMAGE = (UnreadableError, struct.error, zlib.error, ValueError, IndexError, OverflowError, MemoryError)


def read_cdf(path: Path) -> dict[str, NDArray[Any]]:
    """Return every numeric variable of a CDF file by name, (records, *dimensions), in the machine's byte order.

    Raises AssetError for a missing, damaged or oversized file, or one of a kind that is not read.
    """
    raw = read_bytes(Path(path), MAX_BYTES)
    try:
        return dict(_File(raw).variables())
    except _DAMAGE as e:
        raise blame(path, e) from e


@dataclass(frozen=True)
class _Variable:
    """What its descriptor says."""

    name: str
    dtype: np.dtype[Any]
    records: int
    dims: tuple[int, ...]
    index: int
    """Where the list of its values starts; -1 or 0 if there are none."""
    varies: bool
    """Has it a value for each record? Else one for all."""


class _File:
    """The bytes of a file, unpacked, and how to read numbers out of them."""

    def __init__(self, raw: bytes) -> None:
        self.version = _MAGIC.get(raw[:4], 0)
        if not self.version:
            raise UnreadableError("it is no CDF file of version 2.6 or later")
        self.word = 8 if self.version == 3 else 4
        self.name_bytes = 256 if self.version == 3 else 64
        self.raw = raw
        if raw[4:8] == _PACKED:
            self.raw = raw[:4] + _PLAIN + self._unpacked_file()
        elif raw[4:8] != _PLAIN:
            raise UnreadableError("its second magic number is not one of CDF's")
        at = self.body(8, _CDR)
        self.globals = self.offset(at)
        self.encoding, flags = self.number(at + self.word + 8), self.number(at + self.word + 12)
        self.rows_first, single = bool(flags & 1), bool(flags & 2)
        if not single:
            raise UnreadableError("its variables lie in files of their own")
        if self.encoding not in _LITTLE + _BIG:
            raise UnreadableError(f"its numbers are in encoding {self.encoding}, of a machine that is not read")

    def number(self, at: int) -> int:
        """A 4-byte number of a record; these are big-endian in every file."""
        return int(struct.unpack_from(">i", self.raw, self._inside(at))[0])

    def offset(self, at: int) -> int:
        """A position in the file, 8 or 4 bytes."""
        return int(struct.unpack_from(">q" if self.word == 8 else ">i", self.raw, self._inside(at))[0])

    def body(self, at: int, *kinds: int) -> int:
        """Where the fields of a record start; UnreadableError unless it is of these kinds and inside the file."""
        size, kind = self.offset(at), self.number(at + self.word)
        if kind not in kinds:
            raise UnreadableError(f"at byte {at:,} there is a record of kind {kind}, not {kinds[0]}")
        if size < self.word + 4 or at + size > len(self.raw):
            raise UnreadableError(f"its record at byte {at:,} claims {size:,} bytes, more than follow; it is truncated")
        return at + self.word + 4

    def variables(self) -> Iterator[tuple[str, NDArray[Any]]]:
        """Name and values of each numeric variable."""
        at, w = self.body(self.globals, _GDR), self.word
        heads = self.offset(at), self.offset(at + w)
        shared = tuple(
            self.number(at + 4 * w + 36 + (w - 4) + 4 * i) for i in range(self._count(self.number(at + 4 * w + 12)))
        )
        seen: set[int] = set()
        for head, kind in zip(heads, (_RVDR, _ZVDR), strict=True):
            while head > 0:
                if head in seen or len(seen) > MAX_VARIABLES:
                    raise UnreadableError("its list of variables runs in a circle or has no end")
                seen.add(head)
                variable = self._described(head, kind, shared)
                if variable is not None:
                    yield variable.name, self._values(variable)
                head = self.offset(head + w + 4)

    def _described(self, at: int, kind: int, shared: tuple[int, ...]) -> _Variable | None:
        """A variable's descriptor; None if its values are no numbers."""
        w, at = self.word, self.body(at, kind)
        data_type, last, index = self.number(at + w), self.number(at + w + 4), self.offset(at + w + 8)
        flags, sparse = self.number(at + 3 * w + 8), self.number(at + 3 * w + 12)
        rest = at + 3 * w + 28
        elements = self.number(rest)
        name_at = rest + 8 + w + 4
        name = self.raw[name_at : name_at + self.name_bytes].split(b"\0")[0].decode("ascii", "replace").strip()
        if data_type not in _TYPES or elements != 1:
            return None
        if sparse:
            raise UnreadableError(f"variable {name!r} leaves out records, which is not read")
        at = name_at + self.name_bytes
        sizes = shared
        if kind == _ZVDR:
            count = self._count(self.number(at))
            sizes = tuple(self.number(at + 4 + 4 * i) for i in range(count))
            at += 4 + 4 * count
        dims = tuple(size for i, size in enumerate(sizes) if self.number(at + 4 * i))
        if any(d < 1 for d in dims):
            raise UnreadableError(f"variable {name!r} claims the shape {dims}")
        order = "<" if self.encoding in _LITTLE else ">"
        return _Variable(name, np.dtype(order + _TYPES[data_type]), last + 1, dims, index, bool(flags & 1))

    def _values(self, v: _Variable) -> NDArray[Any]:
        records = v.records if v.varies else min(v.records, 1)
        each = prod(v.dims) * v.dtype.itemsize
        if records < 0 or records * each > MAX_BYTES:
            raise UnreadableError(f"variable {v.name!r} claims {records:,} records of {each:,} bytes")
        out = np.zeros((records, prod(v.dims)), v.dtype)
        filled = 0
        for first, last, data in self._blocks(v.index, each, set()):
            if not 0 <= first <= last < records or len(data) < (last - first + 1) * each:
                raise UnreadableError(f"variable {v.name!r}: records {first} to {last} are not what their list says")
            out[first : last + 1] = np.frombuffer(data, v.dtype, (last - first + 1) * prod(v.dims)).reshape(
                last - first + 1, -1
            )
            filled += last - first + 1
        if filled < records:
            raise UnreadableError(f"variable {v.name!r} has {filled:,} of {records:,} records; the file is truncated")
        shape = v.dims if self.rows_first else v.dims[::-1]
        values = out.reshape(records, *shape)
        if not self.rows_first:
            values = values.transpose(0, *range(len(v.dims), 0, -1))
        return np.ascontiguousarray(values.astype(v.dtype.newbyteorder("=")))

    def _blocks(self, index: int, each: int, seen: set[int]) -> Iterator[tuple[int, int, bytes | memoryview]]:
        """First and last record and the bytes of each block of values."""
        w = self.word
        while index > 0:
            if index in seen or len(seen) > 100_000:
                raise UnreadableError("its lists of values run in a circle or have no end")
            seen.add(index)
            at = self.body(index, _VXR)
            room, used = self.number(at + w), self.number(at + w + 4)
            if not 0 <= used <= room or at + w + 8 + room * (8 + w) > len(self.raw):
                raise UnreadableError(f"its list of values at byte {index:,} claims {room:,} entries")
            for i in range(used):
                first, last = (self.number(at + w + 8 + 4 * (i + k * room)) for k in range(2))
                block = self.offset(at + w + 8 + 8 * room + w * i)
                kind = self.number(block + w)
                if kind == _VXR:
                    yield from self._blocks(block, each, seen)
                else:
                    yield first, last, self._block(block, (last - first + 1) * each)
            index = self.offset(at)

    def _block(self, at: int, size: int) -> bytes | memoryview:
        start, end = self.body(at, _VVR, _CVVR), at + self.offset(at)
        if self.number(at + self.word) == _VVR:
            return memoryview(self.raw)[start:end]
        packed = self.offset(start + 4)
        data = start + 4 + self.word
        if not 0 <= packed <= end - data:
            raise UnreadableError(f"its packed values at byte {at:,} claim {packed:,} bytes")
        return _unzipped(self.raw[data : data + packed], size)

    def _unpacked_file(self) -> bytes:
        at, w = self.body(8, _CCR), self.word
        how, size = self.offset(at), self.offset(at + w)
        kind = self.number(self.body(how, _CPR))
        if kind != _GZIP:
            raise UnreadableError(f"it is compressed in way {kind}; only gzip is read")
        return _unzipped(self.raw[at + 2 * w + 4 : 8 + self.offset(8)], size)

    def _count(self, count: int) -> int:
        if not 0 <= count <= MAX_DIMENSIONS:
            raise UnreadableError(f"a variable claims {count} dimensions")
        return count

    def _inside(self, at: int) -> int:
        if not 0 <= at <= len(self.raw) - 4:
            raise UnreadableError(f"it points to byte {at:,} of {len(self.raw):,}; it is truncated")
        return at


def _unzipped(data: bytes, size: int) -> bytes:
    """The bytes of a gzip stream that unfolds into exactly `size`."""
    if not 0 <= size <= min(MAX_BYTES, len(data) * _MAX_INFLATION + 1024):
        raise UnreadableError(f"{len(data):,} bytes do not unfold into {size:,} honestly")
    out = zlib.decompressobj(31).decompress(data, size + 1)
    if len(out) != size:
        raise UnreadableError(f"packed values unfold into another number of bytes than the {size:,} they claim")
    return out
