"""Rows as columns: what a finished piece of work looks like on disk, and how pieces become one HumanData file."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from openexpose.data.columns import FLAT, OFFSETS
from openexpose.data.convert.common import Problem
from openexpose.data.humandata import KEYPOINTS
from openexpose.data.humandata_write import write_humandata
from openexpose.data.record import Record
from openexpose.errors import AssetError, DataError
from openexpose.readers import Npz, write_npz
from openexpose.skeleton import Skeleton

_PHOTO, _BOX, _FAMILY, _NOTES = "photo", "box", "family", "notes"
_ITEMS = "@items/"
"""Columns of an extra whose values are dictionaries."""


@dataclass(frozen=True)
class Block:
    """Rows of one piece of work, column by column, and what was left out of it."""

    columns: Mapping[str, NDArray[Any]]
    skeletons: Mapping[str, str]
    """`keypoints2d` or `keypoints3d` -> name of the convention."""
    family: str
    problems: tuple[Problem, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.columns[_PHOTO]) if _PHOTO in self.columns else 0


def block_of(rows: Sequence[Record], problems: Sequence[Problem], where: str) -> Block:
    """Return rows as columns. Raises DataError naming the first row whose fields differ from row 0's."""
    if not rows:
        return Block({}, {}, "", tuple(problems))
    first = _fields(rows[0])
    for i, row in enumerate(rows):
        if _fields(row) != first:
            raise DataError(f"{where}, row {i} ({row.photo}): fields {sorted(_fields(row))}, row 0 has {sorted(first)}")
    columns: dict[str, NDArray[Any]] = {_PHOTO: np.asarray([r.photo for r in rows])}
    if rows[0].box_xywh_px is not None:
        columns[_BOX] = np.stack([r.box_xywh_px for r in rows if r.box_xywh_px is not None])
    skeletons = {}
    for key in KEYPOINTS:
        points = [k for r in rows if (k := getattr(r, key)) is not None]
        if points:
            skeletons[key] = points[0].skeleton.name
            columns[key] = np.stack([k.xyc for k in points])
    columns |= {f"params/{n}": np.stack([r.params[n] for r in rows]) for n in rows[0].params}
    for name in rows[0].extras:
        columns |= _column(f"extras/{name}", [r.extras[name] for r in rows], where)
    return Block(columns, skeletons, rows[0].family, tuple(problems))


def save_block(path: Path, block: Block, fingerprint: str) -> None:
    """Write a finished piece, all or nothing."""
    notes = {
        "fingerprint": fingerprint,
        "skeletons": dict(block.skeletons),
        "family": block.family,
        "problems": [[p.where, p.what] for p in block.problems],
    }
    text = np.frombuffer(json.dumps(notes).encode(), np.uint8)
    arrays: dict[str, ArrayLike] = {_NOTES: text, **block.columns}
    write_npz(path, arrays, compressed=False)


def load_block(path: Path, fingerprint: str) -> Block | None:
    """Return a finished piece; None if there is none, it is damaged, or it was made of other files or options."""
    if not path.is_file():
        return None
    try:
        with Npz(path) as z:
            notes = json.loads(z.read(_NOTES).tobytes())
            if notes["fingerprint"] != fingerprint:
                return None
            columns = {k: z.read(k) for k in z.keys() if k != _NOTES}  # noqa: SIM118
    except (AssetError, ValueError, KeyError):
        return None
    problems = tuple(Problem(where, what) for where, what in notes["problems"])
    return Block(columns, notes["skeletons"], notes["family"], problems)


def write_blocks(path: Path, blocks: Iterable[Block], *, config: str) -> int:
    """Write pieces, in order, as one HumanData file and return the number of rows.

    config: the file's `config` text.
    Raises DataError if there are no rows or pieces differ in their fields.
    """
    full = _alike([b for b in blocks if len(b)])
    if not full:
        raise DataError(f"no rows to write to {path}; the problems above say why")
    for b in full:
        if (set(b.columns), b.skeletons, b.family) != (set(full[0].columns), full[0].skeletons, full[0].family):
            differ = sorted(set(b.columns) ^ set(full[0].columns))
            raise DataError(f"{path}: pieces differ in {differ or 'their conventions'}; this is a bug of the converter")
    joined = {k: _joined(k, [b.columns[k] for b in full]) for k in full[0].columns}
    rows = sum(map(len, full))
    data: dict[str, object] = {"image_path": joined.pop(_PHOTO).tolist(), "config": config}
    if _BOX in joined:
        data["bbox_xywh"] = np.column_stack([joined.pop(_BOX), np.ones(rows)])
    master = Skeleton.read("human_data")
    for key, name in full[0].skeletons.items():
        moved = Skeleton.read(name).map_to(master)
        order, present = np.asarray(moved.source), np.asarray(moved.present)
        data |= {key: joined.pop(key)[:, order[present]], f"{key}_convention": "human_data"}
        data[f"{key}_mask"] = present.astype(np.uint8)
    family = {k.removeprefix("params/"): joined.pop(k) for k in list(joined) if k.startswith("params/")}
    if family:
        data[full[0].family] = family
    _put_extras(data, {k.removeprefix("extras/"): v for k, v in joined.items()})
    write_humandata(path, data)
    return rows


def _fields(row: Record) -> set[str]:
    points = {f"{k} {v.skeleton.name}" for k in KEYPOINTS if (v := getattr(row, k)) is not None}
    box = {"box"} if row.box_xywh_px is not None else set()
    return points | box | {f"{row.family}/{n}" for n in row.params} | {f"extras {n}" for n in row.extras}


def _column(key: str, values: list[Any], where: str) -> dict[str, NDArray[Any]]:
    """One extra as plain arrays: dictionaries by item, arrays that differ in length end to end."""
    if isinstance(values[0], Mapping):
        out: dict[str, NDArray[Any]] = {}
        for item in values[0]:
            out |= _column(f"{key}{_ITEMS}{item}", [v[item] for v in values], where)
        return out
    arrays = [np.asarray(v) for v in values]
    if len({a.shape for a in arrays}) == 1:
        return {key: np.stack(arrays)}
    if len({a.shape[1:] for a in arrays}) != 1 or not all(a.ndim for a in arrays):
        raise DataError(f"{where}: {key} has shapes {sorted({a.shape for a in arrays})[:4]}; only the first may differ")
    return {key + FLAT: np.concatenate(arrays), key + OFFSETS: np.cumsum([0, *map(len, arrays)], dtype=np.int64)}


def _alike(blocks: list[Block]) -> list[Block]:
    """The same pieces, where an extra of one length within each piece but not in all is stored end to end."""
    shapes: dict[str, set[object]] = {}
    for b in blocks:
        for k, v in b.columns.items():
            if k.startswith("extras/") and not k.endswith(OFFSETS):
                shapes.setdefault(k.removesuffix(FLAT), set()).add("ragged" if k.endswith(FLAT) else v.shape[1:2])
    uneven = [k for k, seen in shapes.items() if len(seen) > 1]
    out = []
    for b in blocks:
        columns = dict(b.columns)
        for k in uneven:
            if k in columns and columns[k].ndim > 1:
                v = columns.pop(k)
                columns[k + FLAT] = v.reshape(-1, *v.shape[2:])
                columns[k + OFFSETS] = np.arange(len(v) + 1, dtype=np.int64) * v.shape[1]
        out.append(replace(b, columns=columns))
    return out


def _joined(key: str, arrays: list[NDArray[Any]]) -> NDArray[Any]:
    if not key.endswith(OFFSETS):
        return np.concatenate(arrays)
    ends = np.cumsum([0, *(int(a[-1]) for a in arrays)])
    return np.concatenate([ends[:1], *(a[1:] + e for a, e in zip(arrays, ends[:-1], strict=True))])


def _put_extras(data: dict[str, object], columns: Mapping[str, NDArray[Any]]) -> None:
    """Store extras: `meta/gender` inside the dictionary `meta`, dictionaries as a list of them."""
    listed: dict[str, dict[str, list[Any]]] = {}
    for key, column in columns.items():
        if key.endswith(OFFSETS):
            continue
        values: Any = column
        name = key.removesuffix(FLAT)
        if key.endswith(FLAT):
            ends = columns[name + OFFSETS]
            values = [column[a:b] for a, b in zip(ends[:-1], ends[1:], strict=True)]
        if _ITEMS in name:
            outer, _, item = name.partition(_ITEMS)
            listed.setdefault(outer, {})[item] = list(values)
        elif "/" in name:
            outer, _, inner = name.partition("/")
            entries = data.setdefault(outer, {})
            assert isinstance(entries, dict)
            entries[inner] = values.tolist() if column.dtype.kind == "U" else values
        else:
            data[name] = values
    for name, items in listed.items():
        data[name] = [dict(zip(items, row, strict=True)) for row in zip(*items.values(), strict=True)]
