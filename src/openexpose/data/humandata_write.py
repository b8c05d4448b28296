"""Writing HumanData so that the reference reads it with `numpy.load(allow_pickle=True)`, of any numpy since 1.17."""

import io
import pickle
import pickletools
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openexpose.data.humandata import COMPRESSED, FAMILIES, KEYPOINTS, LENGTH, STRICT
from openexpose.data.record import Record
from openexpose.errors import DataError
from openexpose.readers import write_atomically
from openexpose.skeleton import Skeleton

_PROTOCOL = 3
"""The newest pickle that writes names as text lines, which `_for_old_numpy` edits."""
KNOWN_KEYS = (
    "image_path", "bbox_xywh", "config", "meta", "vertices", *FAMILIES,
    *(k + suffix for k in KEYPOINTS for suffix in ("", "_mask", "_convention")),
)  # fmt: skip
"""What a strict HumanData may hold (spec 6.1)."""
_WIDTH = {"keypoints2d": 3, "keypoints3d": 4}


def write_humandata(
    path: Path, data: Mapping[str, object], *, compressed: bool = True, key_strict: bool = False
) -> None:
    """Write a HumanData dictionary: arrays, lists (`image_path`), text, and dictionaries of arrays (`smplx`, `meta`).

    Keypoints are given in full, (N, K, 3) or (N, K, 4), or only those that a mask keeps; points of `human_data` that
    no row knows are left out and recorded in the mask, as the reference's compression does.
    compressed: False makes the file larger and, if it has no dictionaries, directly mappable.
    key_strict: mark the file so that the reference refuses keys it does not know; refused here already.
    Raises DataError naming the key whose shape or length is wrong.
    """
    unknown = [k for k in data if k not in KNOWN_KEYS]
    if key_strict and unknown:
        raise DataError(f"{path}: strict files hold no {unknown}; known keys are {', '.join(KNOWN_KEYS)}")
    length = _checked_length(data, str(path))
    points = [k for k in KEYPOINTS if k in data]
    squeeze = bool(points) and all(data.get(f"{k}_convention", "human_data") == "human_data" for k in points)
    out: dict[str, object] = dict(data.items())
    for key in points if squeeze else ():
        out |= _squeezed(key, np.asarray(data[key]), data.get(f"{key}_mask"))
    out |= {STRICT: np.asarray(key_strict), LENGTH: np.asarray(length), COMPRESSED: np.asarray(squeeze)}
    _write(path, out, compressed)


def write_records(path: Path, records: Iterable[Record], *, extras: Mapping[str, object] | None = None) -> int:
    """Write rows to a HumanData file and return how many.

    Keypoints are stored under the names of `human_data`. Every row must have the same fields as the first.
    extras: further single values such as `config`.
    Raises DataError naming the row whose fields differ, or if there are no rows.
    """
    rows = list(records)
    if not rows:
        raise DataError(f"no rows to write to {path}; check that the data set's folder is the right one")
    fields = _fields(rows[0])
    for i, row in enumerate(rows):
        if _fields(row) != fields:
            raise DataError(f"{path}, row {i} ({row.photo}): fields {sorted(_fields(row))}, row 0 has {sorted(fields)}")
    data: dict[str, object] = {"image_path": [r.photo for r in rows]}
    if rows[0].box_xywh_px is not None:
        boxes = np.stack([r.box_xywh_px for r in rows if r.box_xywh_px is not None])
        data["bbox_xywh"] = np.column_stack([boxes, np.ones(len(rows))])
    master = Skeleton.read("human_data")
    for key in KEYPOINTS:
        points = [k.as_skeleton(master).xyc for r in rows if (k := getattr(r, key)) is not None]
        if points:
            data |= {key: np.stack(points), f"{key}_convention": "human_data"}
            data[f"{key}_mask"] = _mask_of(getattr(rows[0], key).skeleton, master)
    if rows[0].family:
        data[rows[0].family] = {n: np.stack([r.params[n] for r in rows]) for n in rows[0].params}
    for name in rows[0].extras:
        _put(data, name, [r.extras[name] for r in rows])
    write_humandata(path, {**data, **(extras or {})})
    return len(rows)


def _fields(row: Record) -> set[str]:
    known = {k for k in ("box_xywh_px", *KEYPOINTS) if getattr(row, k) is not None}
    return known | {f"{row.family}/{n}" for n in row.params} | set(row.extras)


def _mask_of(here: Skeleton, master: Skeleton) -> NDArray[np.uint8]:
    return np.asarray(here.map_to(master).present, np.uint8)


def _put(data: dict[str, object], name: str, values: list[object]) -> None:
    """Store one extra column; `meta/gender` goes into the dictionary `meta`."""
    outer, _, inner = name.partition("/")
    arrays = [np.asarray(v) for v in values if isinstance(v, np.ndarray | np.generic)]
    same = len(arrays) == len(values) and len({a.shape for a in arrays}) == 1
    column: object = np.stack(arrays) if same else list(values)
    if not inner:
        data[outer] = column
        return
    entries = data.setdefault(outer, {})
    assert isinstance(entries, dict)
    entries[inner] = column


def _checked_length(data: Mapping[str, object], where: str) -> int:
    """The number of rows all columns agree on; DataError names one that differs or has a wrong shape."""
    lengths = {
        k: len(v) for k, v in data.items() if k in ("image_path", "vertices") and isinstance(v, list | np.ndarray)
    }
    shapes = {"bbox_xywh": (5,), **{k: (None, _WIDTH[k]) for k in KEYPOINTS}}
    for key, want in shapes.items():
        if key in data:
            shape = np.asarray(data[key]).shape
            if len(shape) != len(want) + 1 or any(w not in (None, n) for w, n in zip(want, shape[1:], strict=True)):
                raise DataError(
                    f"{where}: {key!r} must have shape (N, {', '.join(str(w or 'K') for w in want)}), got {shape}"
                )
            lengths[key] = shape[0]
    for family in FAMILIES:
        params = data.get(family)
        if isinstance(params, Mapping):
            lengths |= {f"{family}/{n}": len(v) for n, v in params.items()}
    if len(set(lengths.values())) != 1:
        raise DataError(f"{where}: columns must have the same number of rows, got {lengths or 'no columns'}")
    return next(iter(lengths.values()))


def _squeezed(key: str, points: NDArray[Any], mask: object) -> dict[str, object]:
    """Only the points that any row knows, and the mask that says which."""
    known = (points[..., -1] != 0).any(0) if mask is None else np.asarray(mask) == 1
    if mask is not None and points.shape[1] == known.sum():
        return {key: points, f"{key}_mask": known.astype(np.uint8)}  # given without the others already
    if known.shape != (points.shape[1],):
        raise DataError(f"{key}_mask must name {points.shape[1]} points, got shape {known.shape}")
    return {key: points[:, known], f"{key}_mask": known.astype(np.uint8)}


def _write(path: Path, data: Mapping[str, object], compressed: bool) -> None:
    with write_atomically(path) as temporary, zipfile.ZipFile(temporary, "w", allowZip64=True) as z:
        for key, value in data.items():
            info = zipfile.ZipInfo(f"{key}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
            info.external_attr = 0o600 << 16
            with z.open(info, "w", force_zip64=True) as f:
                f.write(_npy_bytes(value))


def _npy_bytes(value: object) -> bytes:
    out = io.BytesIO()
    array = _as_array(value)
    if not array.dtype.hasobject:
        np.lib.format.write_array(out, array, allow_pickle=False)
        return out.getvalue()
    np.lib.format.write_array_header_1_0(out, np.lib.format.header_data_from_array_1_0(array))
    return out.getvalue() + _for_old_numpy(pickle.dumps(array, protocol=_PROTOCOL))


def _as_array(value: object) -> NDArray[Any]:
    """Plain arrays stay; dictionaries become 0-d object arrays, ragged lists 1-d ones."""
    if isinstance(value, Mapping):
        boxed = np.empty((), object)
        boxed[()] = {k: v if isinstance(v, Mapping | str | list) else np.asarray(v) for k, v in value.items()}
        return boxed
    try:
        array = np.asarray(value)
    except ValueError:
        array = np.empty(0, object)
    if array.dtype.hasobject and isinstance(value, list):
        array = np.empty(len(value), object)
        array[:] = value
    return array if not isinstance(value, list) or array.ndim else np.asarray([value])


def _for_old_numpy(data: bytes) -> bytes:
    """The same pickle under the module names that numpy 1 knows: numpy 2 moved `numpy.core` to `numpy._core`."""
    out, done = [], 0
    for operation, argument, position in pickletools.genops(data):
        if operation.name == "GLOBAL" and str(argument).startswith("numpy._core."):
            assert position is not None
            out += [data[done:position], b"cnumpy.core."]
            done = position + len(b"cnumpy._core.")
    return b"".join([*out, data[done:]])
