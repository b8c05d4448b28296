"""Reading `.npz` archives nobody vouches for, one member at a time, and writing them reproducibly."""

import io
import struct
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from openexpose.errors import DataError
from openexpose.readers.files import write_atomically
from openexpose.readers.limits import MAX_FILE_BYTES, MIB, UnreadableError, blame, check_file
from openexpose.readers.npy import ByteSource, NpyHeader, read_header, read_values

MAX_MEMBERS = 100_000
MAX_INFLATION = 1040
"""Deflate cannot unfold one byte into more than 1,032; a member that claims more lies."""
LARGE_BYTES, LARGE_INFLATION = 256 * MIB, 200
"""A member beyond this size may not unfold one byte into more than this: arrays of numbers never do."""
_DAMAGE = (
    UnreadableError, OSError, ValueError, KeyError, IndexError, EOFError, OverflowError, MemoryError, RuntimeError,
    NotImplementedError, struct.error, zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error,
)  # fmt: skip


class Npz:
    """An open `.npz`: names, types and shapes at once, values only when asked for.

    with Npz(path) as z:
        z.keys(); z.header("v_template").shape; z.read("v_template"); z.memmap("shapedirs")
    """

    def __init__(self, path: Path, max_member_bytes: int = MAX_FILE_BYTES) -> None:
        """Open and list. Raises AssetError if the file is missing, no zip, encrypted, or claims impossible sizes."""
        self.path = Path(path)
        self.max_member_bytes = max_member_bytes
        check_file(self.path, max_bytes=1 << 50)
        try:
            self._zip = zipfile.ZipFile(self.path)
        except _DAMAGE as e:
            raise blame(self.path, e) from e
        try:
            self._members = {name: info for info in self._zip.infolist() for name in [_key(info)]}
            if len(self._zip.infolist()) > MAX_MEMBERS or len(self._members) != len(self._zip.infolist()):
                raise UnreadableError("its list of members is too long or names one twice")
        except _DAMAGE as e:
            self._zip.close()
            raise blame(self.path, e) from e

    def __enter__(self) -> "Npz":
        """The archive itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Close the file; arrays already read stay valid."""
        self._zip.close()

    def keys(self) -> tuple[str, ...]:
        """Names of the arrays, in the order of the file."""
        return tuple(self._members)

    def __contains__(self, key: str) -> bool:
        """Is there an array of this name?"""
        return key in self._members

    def header(self, key: str) -> NpyHeader:
        """Type and shape of one array, without reading its values."""
        try:
            info = self._info(key)
            with self._zip.open(info) as f:
                return _checked_header(f, info)
        except _DAMAGE as e:
            raise blame(f"{key!r} in {self.path}", e) from e

    def read(self, key: str) -> NDArray[Any]:
        """One array, freshly allocated; object arrays by `read_pickle`'s rules."""
        where = f"{key!r} in {self.path}"
        try:
            info = self._info(key)
            with self._zip.open(info) as f:
                header = _checked_header(f, info)
                values = read_values(f, header, info.file_size - header.data_offset, where)
                if f.read(1):  # also makes zipfile compare the checksum
                    raise UnreadableError("bytes follow the values")
                return values
        except _DAMAGE as e:
            raise blame(where, e) from e

    def memmap(self, key: str) -> NDArray[Any] | None:
        """One array as a read-only view of the file, or None when its values are compressed or are objects.

        For reading some rows or columns of a large array. Its checksum is not compared.
        """
        try:
            info = self._info(key)
            if info.compress_type != zipfile.ZIP_STORED:
                return None
            with self._zip.open(info) as f:
                header = _checked_header(f, info)
            if header.dtype.hasobject or header.n_bytes == 0:
                return None
            with self.path.open("rb") as raw:  # the local header has its own name and extra field
                raw.seek(info.header_offset)
                fixed = raw.read(30)
            name_length, extra_length = struct.unpack("<HH", fixed[26:30])
            offset = info.header_offset + 30 + name_length + extra_length + header.data_offset
            order = "F" if header.fortran else "C"
            mapped: NDArray[Any] = np.memmap(self.path, header.dtype, "r", offset, header.shape, order)  # type: ignore
            return mapped
        except _DAMAGE as e:
            raise blame(f"{key!r} in {self.path}", e) from e

    def _info(self, key: str) -> zipfile.ZipInfo:
        if key not in self._members:
            raise UnreadableError(f"it has no array of this name, but {', '.join(sorted(self._members)[:20])}")
        info = self._members[key]
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or info.flag_bits & 1:
            raise UnreadableError("it is encrypted or compressed in a way numpy never uses")
        if info.file_size > self.max_member_bytes:
            raise UnreadableError(
                f"it claims {info.file_size:,} bytes, more than the {self.max_member_bytes:,} allowed"
            )
        factor = LARGE_INFLATION if info.file_size > LARGE_BYTES else MAX_INFLATION
        if info.file_size > info.compress_size * factor + 1024:
            raise UnreadableError(f"{info.compress_size:,} bytes do not unfold into {info.file_size:,} honestly")
        return info


def read_npz(path: Path, keys: Iterable[str] | None = None) -> dict[str, NDArray[Any]]:
    """The arrays of a `.npz` file by name (all, or those named in `keys`).

    Raises AssetError if the file is missing or damaged, lacks a name, or claims more bytes than it can hold.
    """
    with Npz(path) as z:
        return {key: z.read(key) for key in (z.keys() if keys is None else keys)}


def write_npz(path: Path, arrays: Mapping[str, ArrayLike], *, compressed: bool) -> None:
    """Write plain arrays; the same arrays give the same bytes, and a failure leaves no half-written file.

    Raises DataError for object arrays (they would need pickle) or when the disk refuses.
    """
    with write_atomically(path) as temporary, temporary.open("wb") as f:
        put_npz(f, arrays, compressed=compressed, name=str(path))


def put_npz(file: io.BufferedIOBase, arrays: Mapping[str, ArrayLike], *, compressed: bool, name: str) -> None:
    """`write_npz` into an open file, for instance in memory; `name` is what an error calls it."""
    with zipfile.ZipFile(file, "w", allowZip64=True) as z:
        for key, value in arrays.items():
            array = np.asarray(value)
            if array.dtype.hasobject:
                raise DataError(f"cannot write {key!r} to {name}: it holds Python objects; store plain arrays instead")
            info = zipfile.ZipInfo(f"{key}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
            info.external_attr = 0o600 << 16
            with z.open(info, "w", force_zip64=True) as f:
                np.lib.format.write_array(f, array, allow_pickle=False)


def _key(info: zipfile.ZipInfo) -> str:
    return info.filename.removesuffix(".npy")


def _checked_header(f: ByteSource, info: zipfile.ZipInfo) -> NpyHeader:
    header = read_header(f)
    if not header.dtype.hasobject and header.data_offset + header.n_bytes != info.file_size:
        raise UnreadableError(
            f"the header claims {header.n_bytes:,} bytes (shape {header.shape}), "
            f"the member has {info.file_size - header.data_offset:,}"
        )
    return header
