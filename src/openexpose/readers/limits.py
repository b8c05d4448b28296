"""How much one untrusted file may cost: bytes made in memory are counted, so small files cannot ask for much."""

from pathlib import Path

from openexpose.errors import AssetError

MIB = 1 << 20
MAX_FILE_BYTES = 4096 * MIB
"""Largest file, or member of an archive, that is read as one piece."""


class UnreadableError(Exception):
    """What is wrong with the bytes at hand; `blame` adds the file's name and turns it into an AssetError."""


def blame(where: str | Path, error: BaseException | str) -> AssetError:
    """An AssetError saying which file cannot be read, why, and what to do next (to be raised by the caller)."""
    reason = str(error) or type(error).__name__
    return AssetError(
        f"cannot read {where}: {reason}.\n"
        "The file is damaged or not what its name says: get it again from its source; "
        "`openexpose doctor` shows where each file of the data tree comes from."
    )


def check_file(path: Path, max_bytes: int = MAX_FILE_BYTES) -> int:
    """Size in bytes of a regular file that is small enough to read; AssetError names the file otherwise."""
    try:
        if not path.is_file():
            what = "it is a folder, not a file" if path.is_dir() else "there is no such file"
            raise AssetError(f"cannot read {path}: {what}. `openexpose doctor` shows what belongs where.")
        size = path.stat().st_size
    except (OSError, ValueError) as e:
        raise blame(path, e) from e
    if size > max_bytes:
        raise blame(path, f"it has {size:,} bytes, more than the {max_bytes:,} that are read at once")
    return size


def read_bytes(path: Path, max_bytes: int = MAX_FILE_BYTES) -> bytes:
    """All bytes of a regular file; AssetError if it is missing, unreadable or larger than `max_bytes`."""
    size = check_file(path, max_bytes)
    try:
        with path.open("rb") as f:
            data = f.read(size + 1)
    except (OSError, MemoryError) as e:
        raise blame(path, e) from e
    if len(data) != size:
        raise blame(path, f"its size changed from {size:,} bytes while it was read")
    return data


class Budget:
    """Counts the bytes that reading one file creates, and refuses when they leave all proportion to its size."""

    def __init__(self, source_bytes: int, floor_bytes: int = 128 * MIB, factor: int = 4) -> None:
        self.left = max(floor_bytes, factor * source_bytes)

    def spend(self, n_bytes: int) -> None:
        """Take `n_bytes` from what is left; raises UnreadableError when there is not enough."""
        if n_bytes < 0 or n_bytes > self.left:
            raise UnreadableError("it unfolds into far more memory than its size explains")
        self.left -= n_bytes
