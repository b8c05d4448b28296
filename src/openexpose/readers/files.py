"""Hashes, safetensors, and writing files so that nobody ever sees half of one."""

import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from openexpose.errors import DataError
from openexpose.readers.limits import blame, check_file


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, 64 hexadecimal digits; AssetError if it cannot be read."""
    path = Path(path)
    check_file(path, max_bytes=1 << 50)
    try:
        with path.open("rb") as f:
            return hashlib.file_digest(f, "sha256").hexdigest()
    except OSError as e:
        raise blame(path, e) from e


def read_safetensors(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """The arrays and the text metadata of a `.safetensors` file; AssetError if it is missing or damaged."""
    path = Path(path)
    check_file(path)
    try:
        with safe_open(str(path), framework="numpy") as f:
            return {name: np.asarray(f.get_tensor(name)) for name in f.keys()}, dict(f.metadata() or {})  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, TypeError, KeyError, AttributeError, MemoryError) as e:
        raise blame(path, e) from e


def peek_safetensors(path: Path) -> tuple[dict[str, tuple[int, ...]], dict[str, str]]:
    """Array shapes by name and the metadata of a `.safetensors` file, from its header alone."""
    path = Path(path)
    check_file(path)
    try:
        with safe_open(str(path), framework="numpy") as f:
            shapes = {name: tuple(f.get_slice(name).get_shape()) for name in f.keys()}  # noqa: SIM118
            return shapes, dict(f.metadata() or {})
    except (SafetensorError, OSError, ValueError, TypeError, KeyError) as e:
        raise blame(path, e) from e


def write_safetensors(path: Path, arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> None:
    """Write arrays and text metadata, all or nothing, the same contents as the same bytes; DataError if it fails."""
    with write_atomically(path) as temporary:
        try:
            save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()}, temporary, metadata=dict(metadata))
            _sort_metadata(temporary)
        except SafetensorError as e:
            raise DataError(f"cannot write {path}: {e}; free some space or check the folder, then run again") from e


def _sort_metadata(path: Path) -> None:
    """Put the metadata of a safetensors file in order: the library writes it in that of a hash table."""
    with path.open("r+b") as f:
        length = int.from_bytes(f.read(8), "little")
        header = json.loads(f.read(length))
        header["__metadata__"] = dict(sorted(header.get("__metadata__", {}).items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        if len(text) <= length:  # spaces may follow a header; a longer one would move the values
            f.seek(8)
            f.write(text.ljust(length))


@contextmanager
def write_atomically(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, moved onto it when the block ends well and removed when it does not.

        with write_atomically(out) as temporary:
            temporary.write_text(...)

    Missing folders are made. Raises DataError when the disk is full or refuses; `path` then is as it was before.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=f".partial{path.suffix}", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
    except OSError as e:
        raise _cannot_write(path, e) from e
    try:
        yield temporary
        try:
            _settle(temporary, path)
        except OSError as e:
            raise _cannot_write(path, e) from e
    except OSError as e:
        if e.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _cannot_write(path, e) from e
        raise
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _cannot_write(path: Path, e: OSError) -> DataError:
    full = e.errno in (errno.ENOSPC, errno.EDQUOT)
    reason = "the disk is full; free some space" if full else f"{e.strerror or e}; choose another folder"
    return DataError(f"cannot write {path}: {reason}, then run again. Nothing half-written was left behind")


def _settle(temporary: Path, path: Path) -> None:
    """Force the bytes to disk, give the file its usual permissions, and rename it into place."""
    descriptor = os.open(temporary, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    umask = os.umask(0)
    os.umask(umask)
    temporary.chmod(0o666 & ~umask)
    temporary.replace(path)
