"""Reading datasets of HDF5 files nobody vouches for, as MATLAB 7.3 writes them: numbers and references to them.

Facts: "HDF5 File Format Specification Version 3.0", The HDF Group. Read: superblock 0 and 1 (what the library writes
unless told otherwise), datasets in groups of the old style, whole or in chunks, deflated and shuffled. Anything else is
refused by name. The file is mapped, so only what is asked for is read; sizes that it claims are compared with the bytes
that are there before memory is taken.
"""

import mmap
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openexpose.readers.limits import MIB, UnreadableError, blame, check_file

MAX_DATASET_BYTES = 1024 * MIB
MAX_NAMES, MAX_MESSAGES, MAX_RANK = 100_000, 1000, 16
_CELLS = "#refs#"
"""Where MATLAB keeps the contents of cells; they are reached through references, never by name."""
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_NOWHERE = 0xFFFFFFFFFFFFFFFF
_SPACE, _TYPE, _LAYOUT, _FILTERS, _CONTINUED, _GROUP = 0x1, 0x3, 0x8, 0xB, 0x10, 0x11
_DEFLATE, _SHUFFLE, _CHECKSUM = 1, 2, 3
_MAX_INFLATION = 1040
_DAMAGE = (
    UnreadableError, struct.error, zlib.error, ValueError, IndexError, OverflowError, MemoryError, OSError,
    RecursionError,
)  # fmt: skip


@dataclass
class _Object:
    """What the messages of one object's header say."""

    shape: tuple[int, ...] | None = None
    dtype: np.dtype[Any] | None = None
    layout: bytes = b""
    filters: list[int] = field(default_factory=list)
    group: tuple[int, int] | None = None
    """Addresses of the tree and the heap of a group's names."""


class Hdf5:
    """An open file: `f.names()` lists datasets, `f.read(name)` reads one, `f.read_at(reference)` what one refers to."""

    def __init__(self, path: Path) -> None:
        """Open and list. Raises AssetError if the file is missing, damaged, or of a kind that is not read."""
        self.path = Path(path)
        check_file(self.path, max_bytes=1 << 40)
        try:
            with self.path.open("rb") as f:
                self._map = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
        except _DAMAGE as e:
            raise blame(self.path, e) from e
        try:
            root = self._superblock()
            self._names = dict(self._list(root, "", set()))
        except _DAMAGE as e:
            self._map.close()
            raise blame(self.path, e) from e

    def __enter__(self) -> "Hdf5":
        """The file itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Close the file; arrays already read stay valid."""
        self._map.close()

    def names(self) -> tuple[str, ...]:
        """Names of the datasets, `group/name` in groups; without the contents of MATLAB's cells."""
        return tuple(self._names)

    def read(self, name: str) -> NDArray[Any]:
        """Return a dataset; references come as uint64. MATLAB's first axis is the last one here.

        Raises AssetError if there is none of this name, or it is damaged or of a kind that is not read.
        """
        if name not in self._names:
            raise blame(self.path, f"it has no {name!r}, but {', '.join(sorted(self._names)[:10])}")
        return self.read_at(self._names[name])

    def read_at(self, reference: int) -> NDArray[Any]:
        """Return the dataset that a reference points to. Raises AssetError as `read`."""
        try:
            return self._dataset(self._described(reference))
        except _DAMAGE as e:
            raise blame(f"the dataset at byte {reference} of {self.path}", e) from e

    def _bytes(self, address: int, size: int) -> bytes:
        at = self._base + address
        if address < 0 or size < 0 or at + size > len(self._map):
            raise UnreadableError(f"it points to bytes {at:,} to {at + size:,} of {len(self._map):,}; it is truncated")
        return self._map[at : at + size]

    def _unpack(self, form: str, address: int) -> tuple[Any, ...]:
        return struct.unpack("<" + form, self._bytes(address, struct.calcsize("<" + form)))

    def _superblock(self) -> int:
        """Address of the root group's header."""
        self._base, at = 0, 0
        while self._map[at : at + 8] != _SIGNATURE:
            at = 2 * at or 512
            if at > min(len(self._map), 1 << 20):
                raise UnreadableError("it is no HDF5 file (MATLAB writes those only with -v7.3)")
        version, offsets, lengths = self._map[at + 8], self._map[at + 13], self._map[at + 14]
        if version > 1 or (offsets, lengths) != (8, 8):
            raise UnreadableError(f"its superblock is of version {version} with {offsets}-byte addresses; not read")
        after = at + (24 if version == 0 else 28)
        (self._base,) = struct.unpack("<Q", self._map[after : after + 8])
        (root,) = struct.unpack("<Q", self._map[after + 40 : after + 48])
        return int(root)

    def _list(self, address: int, prefix: str, seen: set[int]) -> Iterator[tuple[str, int]]:
        """Name and address of each dataset of a group and of those inside."""
        if address in seen:
            return
        seen.add(address)
        group = self._described(address).group
        if group is None:
            yield prefix.removesuffix("/"), address
            return
        tree, heap = group
        sign, size, _, names = self._unpack("8s3Q", heap)
        if sign[:4] != b"HEAP":
            raise UnreadableError("a group has no list of names")
        text = self._bytes(names, size)
        for at, child in self._symbols(tree, set()):
            name = text[at:].split(b"\0")[0].decode("utf-8", "replace")
            if name == _CELLS:
                continue
            if len(seen) > MAX_NAMES:
                raise UnreadableError("it has too many names")
            yield from self._list(child, f"{prefix}{name}/", seen)

    def _symbols(self, address: int, seen: set[int]) -> Iterator[tuple[int, int]]:
        """Place of the name and address of the header of each member of a group."""
        if address in seen:
            raise UnreadableError("its tree of names runs in a circle")
        seen.add(address)
        sign, kind, level, used = self._unpack("4sBBH", address)
        if sign != b"TREE" or kind != 0:
            raise UnreadableError("a group has no tree of names")
        for i in range(used):
            (child,) = self._unpack("Q", address + 32 + 16 * i)
            if level:
                yield from self._symbols(child, seen)
                continue
            sign, _, _, count = self._unpack("4sBBH", child)
            if sign != b"SNOD":
                raise UnreadableError("a leaf of its tree of names is none")
            for k in range(count):
                yield self._unpack("QQ", child + 8 + 40 * k)

    def _described(self, address: int) -> _Object:
        """What the header of an object says."""
        version, _, count, _, size = self._unpack("BBHII", address)
        if version != 1:
            raise UnreadableError(f"an object's header is of version {version}; only 1 is read")
        out, blocks, messages = _Object(), [(address + 16, size)], 0
        while blocks:
            at, left = blocks.pop(0)
            while left >= 8 and messages < count:
                messages += 1
                kind, length, _ = self._unpack("HHB", at)
                data = self._bytes(at + 8, length)
                if kind == _CONTINUED:
                    blocks.append(struct.unpack("<QQ", data[:16]))
                else:
                    _understand(out, kind, data)
                at, left = at + 8 + length, left - 8 - length
            if messages > MAX_MESSAGES:
                raise UnreadableError("an object's header has no end")
        return out

    def _dataset(self, what: _Object) -> NDArray[Any]:
        if what.shape is None or what.dtype is None or not what.layout:
            raise UnreadableError("it is a group or holds no numbers")
        if what.layout[0] != 3:
            raise UnreadableError(f"its layout is of version {what.layout[0]}; only 3 is read")
        size = prod(what.shape) * what.dtype.itemsize
        if size > MAX_DATASET_BYTES:
            raise UnreadableError(f"it claims {size:,} bytes, more than the {MAX_DATASET_BYTES:,} allowed")
        kind = what.layout[1]
        if kind == 2:
            return self._chunked(what)
        if kind == 0:
            data = what.layout[4 : 4 + size]
        else:
            (address,) = struct.unpack("<Q", what.layout[2:10])
            if address == _NOWHERE:
                return np.zeros(what.shape, what.dtype)
            data = self._bytes(address, size)
        return np.frombuffer(data, what.dtype).reshape(what.shape).copy()

    def _chunked(self, what: _Object) -> NDArray[Any]:
        assert what.shape is not None and what.dtype is not None
        rank = what.layout[2] - 1
        (tree,) = struct.unpack("<Q", what.layout[3:11])
        chunk = struct.unpack(f"<{rank + 1}I", what.layout[11 : 15 + 4 * rank])[:rank]
        bytes_each = prod(chunk) * what.dtype.itemsize
        if rank != len(what.shape) or not 0 < bytes_each <= MAX_DATASET_BYTES:
            raise UnreadableError(f"its chunks of {chunk} do not fit its shape {what.shape}")
        out = np.zeros(what.shape, what.dtype)
        if tree == _NOWHERE:
            return out
        for start, skipped, packed in self._chunks(tree, rank, set()):
            if any(s >= n for s, n in zip(start, what.shape, strict=True)):
                continue
            data = _unpacked(packed, what, bytes_each, skipped)
            values = np.frombuffer(data, what.dtype).reshape(chunk)
            inside = tuple(slice(s, s + c) for s, c in zip(start, chunk, strict=True))
            part = out[inside]
            part[...] = values[tuple(slice(0, n) for n in part.shape)]
        return out

    def _chunks(self, address: int, rank: int, seen: set[int]) -> Iterator[tuple[tuple[int, ...], int, bytes]]:
        """Start, mask of the filters left out, and stored bytes of each chunk."""
        if address in seen:
            raise UnreadableError("its tree of chunks runs in a circle")
        seen.add(address)
        sign, kind, level, used = self._unpack("4sBBH", address)
        if sign != b"TREE" or kind != 1:
            raise UnreadableError("it has no tree of chunks")
        step = 8 + 8 * (rank + 1) + 8
        for i in range(used):
            at = address + 24 + step * i
            size, skipped = self._unpack("II", at)
            start = self._unpack(f"{rank}Q", at + 8)
            (child,) = self._unpack("Q", at + 8 + 8 * (rank + 1))
            if level:
                yield from self._chunks(child, rank, seen)
            else:
                yield start, skipped, self._bytes(child, size)


def _understand(out: _Object, kind: int, data: bytes) -> None:
    """Take down what one message says."""
    if kind == _SPACE:
        version, rank = data[0], data[1]
        if rank > MAX_RANK or version not in (1, 2):
            raise UnreadableError(f"a dataset claims {rank} dimensions")
        at = 8 if version == 1 else 4
        out.shape = struct.unpack(f"<{rank}Q", data[at : at + 8 * rank])
    elif kind == _TYPE:
        out.dtype = _dtype(data)
    elif kind == _LAYOUT:
        out.layout = data
    elif kind == _FILTERS:
        out.filters = _filters(data)
    elif kind == _GROUP:
        out.group = struct.unpack("<QQ", data[:16])


def _dtype(data: bytes) -> np.dtype[Any] | None:
    """The numbers of a dataset; None for kinds that are not read."""
    kind, flags, (size,) = data[0] & 15, data[1], struct.unpack("<I", data[4:8])
    order = ">" if flags & 1 else "<"
    if kind == 0 and size in (1, 2, 4, 8):
        return np.dtype(f"{order}{'i' if flags & 8 else 'u'}{size}")
    if kind == 1 and size in (4, 8):
        return np.dtype(f"{order}f{size}")
    return np.dtype("<u8") if kind == 7 and size == 8 else None


def _filters(data: bytes) -> list[int]:
    """Numbers of the filters that chunks went through, in order."""
    version, count = data[0], data[1]
    at, out = (8 if version == 1 else 2), []
    for _ in range(count):
        (number,) = struct.unpack("<H", data[at : at + 2])
        at += 2
        name = 0
        if version == 1 or number >= 256:
            (name,) = struct.unpack("<H", data[at : at + 2])
            at += 2
        _, values = struct.unpack("<HH", data[at : at + 4])
        at += 4 + (-(-name // 8) * 8 if version == 1 else name) + 4 * values
        at += 4 if version == 1 and values % 2 else 0
        out.append(int(number))
    unknown = [n for n in out if n not in (_DEFLATE, _SHUFFLE, _CHECKSUM)]
    if unknown:
        raise UnreadableError(f"a dataset is packed with filter {unknown[0]}, which is not read")
    return out


def _unpacked(data: bytes, what: _Object, size: int, skipped: int) -> bytes:
    """A chunk's values: the filters undone, last one first."""
    assert what.dtype is not None
    for i in reversed(range(len(what.filters))):
        number = what.filters[i]
        if skipped >> i & 1:
            continue
        if number == _CHECKSUM:
            data = data[:-4]
        elif number == _DEFLATE:
            if size > len(data) * _MAX_INFLATION + 1024:
                raise UnreadableError(f"{len(data):,} bytes do not unfold into {size:,} honestly")
            data = zlib.decompressobj().decompress(data, size + 5)
        elif what.dtype.itemsize > 1:
            data = np.frombuffer(data, np.uint8).reshape(what.dtype.itemsize, -1).T.tobytes()
    if len(data) != size:
        raise UnreadableError(f"a chunk has {len(data):,} bytes, not {size:,}; the file is truncated")
    return data
