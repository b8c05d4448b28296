"""Which photos are meant, and what the folder of each result is called."""

import glob
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path

from openexpose.errors import ConfigError, DataError
from openexpose.images import SUFFIXES, list_photos

STDIN = "-"
MAX_LIST_BYTES = 1 << 28


@dataclass(frozen=True)
class Listed:
    """A photo to do."""

    path: Path
    name: str
    """Folder of its result below the output folder, unique: the photo's name, below a folder its path from there."""


def list_all(
    sources: Sequence[str], *, stdin: Iterable[str] = (), recursive: bool = False, skip: Path | None = None
) -> list[Listed]:
    """Photos that files, folders, globs, image lists (.txt, one path a line, # comments) and "-" (stdin) name.

    In order, each once. recursive: folders with their subfolders. skip: a folder to leave out (the output).
    A file that does not exist is listed too: whoever reads it says so.
    Raises ConfigError if nothing is found, DataError if a list cannot be read.
    """
    found: list[tuple[Path, Path]] = []
    for source in sources:
        for line in _lines(stdin, Path()) if source == STDIN else [source]:
            found += _expand(line, recursive)
    out: list[Listed] = []
    paths: set[Path] = set()
    names: set[str] = set()
    skipped = skip.absolute() if skip is not None else None
    for path, name in found:
        absolute = path.absolute()
        if absolute in paths or (skipped is not None and skipped in absolute.parents):
            continue
        paths.add(absolute)
        unique = _unique(name, names)
        names.add(unique.lower())
        out.append(Listed(path, unique))
    if not out:
        raise ConfigError(f"no photos in {', '.join(sources) or 'nothing'}; their names end in {', '.join(SUFFIXES)}")
    return out


def _expand(source: str, recursive: bool) -> list[tuple[Path, Path]]:
    """Photos of one source and their names with ending."""
    path = Path(source).expanduser()
    if path.is_dir():
        photos = _below(path) if recursive else list_photos(path)
        return [(p, p.relative_to(path)) for p in photos]
    if path.suffix.lower() == ".txt" and path.is_file():
        return [pair for line in _lines(_read_list(path), path.parent) for pair in _expand(line, recursive)]
    if not path.exists() and glob.has_magic(source):
        matches = (Path(m) for m in sorted(glob.glob(str(path), recursive=True)))  # noqa: PTH207 - absolute patterns too
        return [(m, Path(m.name)) for m in matches if m.is_file() and m.suffix.lower() in SUFFIXES]
    return [(path, Path(path.name))]


def _below(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())


def _read_list(path: Path) -> list[str]:
    try:
        if path.stat().st_size > MAX_LIST_BYTES:
            raise DataError(f"{path} is too large for a list of photos")
        return path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as e:
        raise DataError(f"{path} cannot be read as a list of photos ({e}); one path a line, UTF-8") from e


def _lines(lines: Iterable[str], folder: Path) -> list[str]:
    """Paths of a list, taken from the list's folder if they exist there."""
    out = []
    for line in lines:
        text = line.strip()
        if text and not text.startswith("#"):
            beside = folder / text
            out.append(str(beside) if beside.exists() or glob.has_magic(text) else text)
    return out


def _unique(name: Path, taken: set[str]) -> str:
    """The name without its ending; with it where another photo has that name already; numbered as a last resort."""
    stem = (name.parent / (name.stem.strip(". ") or "photo")).as_posix()
    ending = name.suffix.lower().removeprefix(".")
    tries = chain([stem, f"{stem}_{ending}"], (f"{stem}_{number}" for number in count(2)))
    return next(t for t in tries if t.lower() not in taken)
