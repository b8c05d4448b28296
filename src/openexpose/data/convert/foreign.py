"""Names of photos in other people's files."""

from pathlib import PurePosixPath

from openexpose.errors import DataError


def photo_name(name: object, where: str) -> str:
    """Return the relative path of a photo as a file states it; DataError if it is none or leads out of its folder."""
    text = name.decode("utf-8", "replace") if isinstance(name, bytes) else name
    if not isinstance(text, str) or not text.strip():
        raise DataError(f"{where}: {str(name)[:80]!r} is no photo's name")
    parts = PurePosixPath(text).parts
    if ".." in parts or parts[0] == "/" or "\\" in text or "\0" in text or ":" in parts[0]:
        raise DataError(f"{where}: the photo's name {text[:80]!r} leads out of its folder")
    return str(text)
