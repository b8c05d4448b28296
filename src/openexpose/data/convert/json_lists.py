"""Long lists inside a json file, found without parsing it, so that each piece of work parses its own part.

COCO-WholeBody's training set is one object of about a gigabyte: as Python objects it would fill the memory of every
process. Finding where the elements of its lists begin and end needs only brackets and quotes.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from openexpose.readers.json_files import MAX_JSON_BYTES, parsed_json
from openexpose.readers.limits import MIB, UnreadableError, blame, check_file

BLOCK_BYTES = 8 * MIB
MAX_BRACKETS = 20_000_000
"""Of the first three levels; COCO's training set has 0.8 million."""
_QUOTE, _ESCAPE = ord('"'), ord("\\")
_STEP = np.zeros(256, np.int8)
_STEP[[ord("{"), ord("[")]], _STEP[[ord("}"), ord("]")]] = 1, -1
_KEY = re.compile(rb'"([^"\\]*)"\s*:\s*\Z')
_MOST_BYTES = 256
"""Of a name and its colon before a list, and of what stands between two elements."""


@dataclass(frozen=True)
class Span:
    """Elements that follow one another in a list, and the bytes of the file that they take."""

    first: int
    count: int
    start: int
    stop: int


def list_spans(path: Path, sizes: Mapping[str, int], *, block_bytes: int = BLOCK_BYTES) -> dict[str, list[Span]]:
    """Return where lists of objects stand in the object that a json file holds.

    sizes: name of a list -> elements of each of its spans (the last may have fewer).
    block_bytes: how much is looked at at once.
    Raises AssetError if the file is missing, truncated or no object, lacks a list or has it twice, or if something
    else stands between the objects. What they hold is not looked into: `read_span` does.
    """
    check_file(path, MAX_JSON_BYTES)
    found: dict[str, list[Span]] = {}
    try:
        with path.open("rb") as file:
            at, level = _brackets(file, block_bytes)
            if len(at) < 2 or level[0] != 1 or (np.abs(level[1:-1]) == 1).any():
                raise UnreadableError("it is no object with lists")
            opens, closes = np.flatnonzero(level == 2), np.flatnonzero(level == -2)
            for i, j in zip(opens.tolist(), closes.tolist(), strict=True):
                key = _KEY.search(_read(file, max(0, int(at[i]) - _MOST_BYTES), int(at[i])))
                name = key[1].decode("utf-8", "replace") if key else ""
                if name not in sizes:
                    continue
                if name in found:
                    raise UnreadableError(f"it has {name} twice")
                found[name] = _spans(file, name, at[i : j + 1], level[i : j + 1], sizes[name])
        missing = [n for n in sizes if n not in found]
        if missing:
            raise UnreadableError(f"it has no list {' or '.join(missing)}")
    except (OSError, MemoryError, UnreadableError) as e:
        raise blame(path, f"it is no whole json file with the lists {' and '.join(sizes)}: {e}") from e
    return found


def read_span(path: Path, span: Span, *, drop: Collection[str] = ()) -> list[Any]:
    """Return the elements of a span, without the names in `drop`. AssetError if they are damaged."""
    try:
        with path.open("rb") as file:
            raw = _read(file, span.start, span.stop)
    except (OSError, UnreadableError) as e:
        raise blame(path, e) from e
    found = parsed_json(b"[" + raw + b"]", path, drop=drop)
    if not isinstance(found, list) or len(found) != span.count:
        raise blame(path, f"elements {span.first} to {span.first + span.count - 1} of a list are damaged")
    return found


def _spans(file: BinaryIO, name: str, at: NDArray[np.int64], level: NDArray[np.int64], size: int) -> list[Span]:
    """Spans of the list whose brackets are the first and the last of these."""
    first, last = int(at[0]), int(at[-1])
    if _read(file, first, first + 1) + _read(file, last, last + 1) != b"[]":
        raise UnreadableError(f"{name} is no list")
    starts, stops = at[level == 3], at[level == -3] + 1
    spans = []
    end, between = first + 1, rb"\s*"
    for k in range(0, len(starts), size):
        count = min(size, len(starts) - k)
        spans.append(Span(k, count, int(starts[k]), int(stops[k + count - 1])))
        _need_between(file, name, end, spans[-1].start, between)
        end, between = spans[-1].stop, rb"\s*,\s*"
    _need_between(file, name, end, last, rb"\s*")
    return spans


def _need_between(file: BinaryIO, name: str, start: int, stop: int, pattern: bytes) -> None:
    text = _read(file, start, stop) if stop - start <= _MOST_BYTES else b"?"
    if not re.fullmatch(pattern, text):
        raise UnreadableError(f"{name} holds something else than objects, or none with a comma between")


def _read(file: BinaryIO, start: int, stop: int) -> bytes:
    file.seek(start)
    raw = file.read(stop - start)
    if len(raw) != stop - start:
        raise UnreadableError("it became shorter while it was read")
    return raw


def _brackets(file: BinaryIO, block_bytes: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Place and level of every bracket outside strings that opens (positive) or closes (negative) levels 1 to 3."""
    places, levels = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    offset = depth = escapes = total = 0
    inside = False
    while raw := file.read(block_bytes):
        block = np.frombuffer(raw, np.uint8)
        quotes = _string_ends(block, escapes)
        at = np.flatnonzero(_STEP[block])
        at = at[(np.searchsorted(quotes, at) + inside) % 2 == 0]
        steps = _STEP[block[at]].astype(np.int64)
        after = depth + np.cumsum(steps)
        if len(after) and after.min() < 0:
            raise UnreadableError("it closes more brackets than it opens")
        level = np.where(steps > 0, after, -after - 1)
        near = np.abs(level) <= 3
        places.append(offset + at[near])
        levels.append(level[near])
        total += int(near.sum())
        if total > MAX_BRACKETS:
            raise UnreadableError("it has too many brackets")
        depth = int(after[-1]) if len(after) else depth
        inside = bool((len(quotes) + inside) % 2)
        trailing = len(raw) - len(raw.rstrip(b"\\"))
        escapes = trailing + (escapes if trailing == len(raw) else 0)
        offset += len(raw)
    if depth or inside:
        raise UnreadableError("it ends too early")
    return np.concatenate(places), np.concatenate(levels)


def _string_ends(block: NDArray[np.uint8], escapes: int) -> NDArray[np.int64]:
    """Places of the quotes that begin or end a string, not those after an odd number of backslashes.

    escapes: backslashes at the end of the block before.
    """
    quotes = np.flatnonzero(block == _QUOTE)
    keep = np.ones(len(quotes), bool)
    for k in np.flatnonzero((quotes == 0) | (block[quotes - 1] == _ESCAPE)):
        run = at = int(quotes[k])
        while run > 0 and block[run - 1] == _ESCAPE:
            run -= 1
        keep[k] = (at - run + (escapes if run == 0 else 0)) % 2 == 0
    return quotes[keep]
