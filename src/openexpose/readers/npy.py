"""Reading `.npy` arrays nobody vouches for: the header is checked against the bytes there before memory is taken."""

import re
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from openexpose.readers.inert import check_shape, plain_dtype
from openexpose.readers.limits import MAX_FILE_BYTES, UnreadableError, blame, check_file
from openexpose.readers.unpickle import parse_pickle

MAGIC = b"\x93NUMPY"
MAX_HEADER_BYTES = 1 << 16
MAX_OBJECT_BYTES = 1 << 31
CHUNK = 1 << 22
_HEADER = re.compile(
    r"\{'descr': '([^']{1,16})', 'fortran_order': (True|False), "
    r"'shape': \(((?:\d{1,18}L?, ?)*(?:\d{1,18}L?)?)\),? *\}\s*"
)


@runtime_checkable
class ByteSource(Protocol):
    """A file open for reading, or a member of an archive."""

    def read(self, n: int, /) -> bytes:
        """At most `n` bytes; none at the end."""
        ...


@dataclass(frozen=True)
class NpyHeader:
    """What an array file says about itself."""

    dtype: "np.dtype[Any]"
    shape: tuple[int, ...]
    fortran: bool
    data_offset: int
    """Bytes before the values."""

    @property
    def n_bytes(self) -> int:
        """Size of the values; meaningless for object arrays."""
        return prod(self.shape) * self.dtype.itemsize


def read_header(f: ByteSource) -> NpyHeader:
    """The header of an array file, `f` left behind it; UnreadableError unless it describes a plain array."""
    start = f.read(8)
    if len(start) < 8 or start[:6] != MAGIC:
        raise UnreadableError("no numpy array: the first bytes are not those of a .npy file")
    if start[6] not in (1, 2, 3):
        raise UnreadableError(f"numpy array format version {start[6]} is unknown")
    width = 2 if start[6] == 1 else 4
    length = int.from_bytes(_exactly(f, width), "little")
    if length > MAX_HEADER_BYTES:
        raise UnreadableError(f"the array header claims {length:,} bytes")
    raw = _exactly(f, length)
    try:
        text = raw.decode("utf-8" if start[6] == 3 else "latin-1")
    except UnicodeDecodeError as e:
        raise UnreadableError("the array header is no text") from e
    match = _HEADER.fullmatch(text)
    if match is None:
        structured = ": structured arrays are not read" if "[(" in text else ""
        raise UnreadableError(f"unreadable array header {text.strip()[:80]!r}{structured}")
    shape = tuple(int(n.strip(" L")) for n in match[3].split(",") if n.strip())
    return NpyHeader(plain_dtype(match[1]), check_shape(shape), match[2] == "True", 8 + width + length)


def read_values(f: ByteSource, header: NpyHeader, n_bytes: int, where: str) -> NDArray[Any]:
    """The array of which `n_bytes` follow in `f`: a fresh, aligned array, or objects through the safe unpickler."""
    if header.dtype.hasobject:
        return _object_values(f, header, n_bytes, where)
    if header.n_bytes != n_bytes:
        raise UnreadableError(
            f"the header claims {header.n_bytes:,} bytes (shape {header.shape}), the file has {n_bytes:,}"
        )
    out = np.empty(header.shape[::-1] if header.fortran else header.shape, header.dtype)
    if n_bytes:
        target = memoryview(cast(Any, out.reshape(-1).view(np.uint8)))
        at = 0
        while at < n_bytes:
            chunk = f.read(min(CHUNK, n_bytes - at))
            if not chunk:
                raise UnreadableError(f"the values end after {at:,} of {n_bytes:,} bytes")
            target[at : at + len(chunk)] = chunk
            at += len(chunk)
    return out.T if header.fortran else out


def read_npy(path: Path, max_bytes: int = MAX_FILE_BYTES) -> NDArray[Any]:
    """The array in a `.npy` file; object arrays are read by `read_pickle`'s rules.

    Raises AssetError if the file is missing, damaged, larger than `max_bytes`, or claims more than it holds.
    """
    path = Path(path)
    size = check_file(path, max_bytes)
    try:
        with path.open("rb") as f:
            header = read_header(f)
            return read_values(f, header, size - header.data_offset, str(path))
    except (UnreadableError, OSError, ValueError, MemoryError) as e:
        raise blame(path, e) from e


def peek_npy(path: Path) -> NpyHeader:
    """Type and shape of the array in a `.npy` file, from its header alone; AssetError as `read_npy`."""
    path = Path(path)
    size = check_file(path)
    try:
        with path.open("rb") as f:
            header = read_header(f)
    except (UnreadableError, OSError) as e:
        raise blame(path, e) from e
    if not header.dtype.hasobject and header.n_bytes != size - header.data_offset:
        raise blame(path, f"the header claims {header.n_bytes:,} bytes, the file has {size - header.data_offset:,}")
    return header


def _exactly(f: ByteSource, n: int) -> bytes:
    data = f.read(n)
    if len(data) != n:
        raise UnreadableError("the file ends within its header")
    return data


def _object_values(f: ByteSource, header: NpyHeader, n_bytes: int, where: str) -> NDArray[Any]:
    if n_bytes > MAX_OBJECT_BYTES:
        raise UnreadableError(f"objects of {n_bytes:,} bytes; at most {MAX_OBJECT_BYTES:,} are read")
    value = parse_pickle(_exactly(f, n_bytes), where)
    if not isinstance(value, np.ndarray) or value.dtype != object or value.shape != header.shape:
        raise UnreadableError(f"an object array whose pickle is no object array of shape {header.shape}")
    return value
