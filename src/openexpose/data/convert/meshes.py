"""Vertices of scans and registrations: PLY files nobody vouches for."""

from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float

from openexpose.readers.limits import UnreadableError, blame, read_bytes

MAX_BYTES = 1 << 30
_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2", "ushort": "u2",
    "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4", "float": "f4", "float32": "f4",
    "double": "f8", "float64": "f8",
}  # fmt: skip
_ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">"}
_Elements = list[tuple[int, list[tuple[str, ...]]]]
"""Number of each element, and of each of its properties the type, or those of a list's length and items."""


def read_ply_vertices(path: Path) -> Float[np.ndarray, "V 3"]:
    """Return the positions in a PLY file, ASCII or binary, in its own unit and order, as float64.

    Only the element `vertex` is read, and it must come first (it always does). Raises AssetError for a missing,
    truncated or foreign file.
    """
    raw = read_bytes(Path(path), MAX_BYTES)
    try:
        return _vertices(raw)
    except (UnreadableError, ValueError, OverflowError) as e:
        raise blame(path, e) from e


def _vertices(raw: bytes) -> Float[np.ndarray, "V 3"]:
    start = raw.find(b"end_header")
    if not raw.startswith(b"ply") or start < 0:
        raise UnreadableError("it is no PLY file")
    body = raw.find(b"\n", start) + 1
    form, count, fields, rest = _header(raw[:start].decode("ascii", "replace"))
    if form == "ascii":
        rows = raw[body:].split(b"\n", count)[:count]
        words = [w for row in rows if len(w := row.split()[: len(fields)]) == len(fields)]
        if len(words) != count:
            raise UnreadableError(f"it claims {count:,} vertices and holds {len(words):,}; it is truncated")
        if len(raw[body:].splitlines()) < count + sum(number for number, _ in rest):
            raise UnreadableError("it ends before its last element; it is truncated")
        values = np.array(words).astype(np.float64).reshape(count, len(fields))
        return values[:, [list(fields).index(k) for k in "xyz"]]
    if form not in _ORDERS:
        raise UnreadableError(f"its format {form!r} is not known")
    dtype = np.dtype([(k, _ORDERS[form] + t) for k, t in fields.items()])
    if len(raw) - body < count * dtype.itemsize:
        held = (len(raw) - body) // dtype.itemsize
        raise UnreadableError(f"it claims {count:,} vertices and holds {held:,}; it is truncated")
    _need_rest(raw, body + count * dtype.itemsize, _ORDERS[form], rest)
    table = np.frombuffer(raw, dtype, count, body)
    with np.errstate(invalid="ignore"):
        out = np.stack([table[k].astype(np.float64) for k in "xyz"], 1)
    if not np.isfinite(out).all():
        raise UnreadableError("a vertex is not finite")
    return out


def _need_rest(raw: bytes, at: int, order: str, rest: _Elements) -> None:
    """Raise UnreadableError if the elements after the vertices do not end within the file."""
    endian: Literal["little", "big"] = "little" if order == "<" else "big"
    for number, properties in rest:
        sizes = [tuple(np.dtype(_TYPES[k]).itemsize for k in kinds) for kinds in properties]
        for _ in range(number if sizes else 0):
            for size, *item in sizes:
                length = int.from_bytes(raw[at : at + size], endian) if item else 0
                at += size + (length * item[0] if item else 0)
            if at > len(raw):
                raise UnreadableError("it ends before its last element; it is truncated")


def _header(text: str) -> tuple[str, int, dict[str, str], _Elements]:
    """Format, number of vertices, type of each of a vertex's properties in order, and the elements after them."""
    form, count, fields = "", -1, {}
    rest: _Elements = []
    for words in (line.split() for line in text.splitlines()):
        match words:
            case ["format", name, _]:
                form = name
            case ["element", "vertex", number] if count < 0:
                count = int(number)
            case ["element", _, number]:
                if count < 0:
                    raise UnreadableError("its vertices do not come first")
                rest.append((int(number), []))
            case ["property", "list", *kinds, _] if rest and len(kinds) == 2 and set(kinds) <= set(_TYPES):
                rest[-1][1].append(tuple(kinds))
            case ["property", kind, _] if rest and kind in _TYPES:
                rest[-1][1].append((kind,))
            case ["property", kind, name] if not rest:
                fields[name] = _TYPES.get(kind, "")
            case ["property", *_]:
                raise UnreadableError(f"it has a property {' '.join(words)!r}, which is not known")
    if count < 0 or not {"x", "y", "z"} <= set(fields) or "" in fields.values():
        raise UnreadableError(f"a vertex has the properties {sorted(fields)}, none or not all of them known")
    return form, count, fields, rest
