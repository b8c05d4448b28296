"""Files that appear whole or not at all."""

from pathlib import Path

from openexpose.readers import write_atomically


def write_whole(path: Path, data: bytes) -> None:
    """Leave `data` in the file, or leave what was there: written beside it, then moved into place.

    The folder is made if it is missing. Raises DataError when the disk is full or refuses.
    """
    with write_atomically(path) as temporary:
        temporary.write_bytes(data)
