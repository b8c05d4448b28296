"""Other people's json files, of any size and depth, and arrays of a stated shape out of them."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openexpose.errors import DataError
from openexpose.readers.limits import MIB, blame, read_bytes

MAX_JSON_BYTES = 3072 * MIB
"""The largest there is, COCO-WholeBody's training set, has about 1 GB."""


def read_json(path: Path, *, drop: Collection[str] = ()) -> Any:
    """Return what a json file holds.

    drop: names whose values are forgotten as they are read, wherever they stand (COCO's outlines fill memory).
    Raises AssetError if the file is missing, no json, truncated, or nested without end.
    """
    return parsed_json(read_bytes(path, MAX_JSON_BYTES), path, drop=drop)


def parsed_json(raw: bytes, path: Path, *, drop: Collection[str] = ()) -> Any:
    """Return what bytes of a json file hold, as `read_json` does; `path` is named in the AssetError."""

    def without(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        return {k: v for k, v in pairs if k not in drop}

    try:
        return json.loads(raw, object_pairs_hook=without if drop else None)
    except (ValueError, RecursionError, MemoryError) as e:
        raise blame(path, f"it is no whole json file ({str(e)[:200] or type(e).__name__})") from e


def numbers(value: object, shape: tuple[int | None, ...], where: str) -> NDArray[np.float64]:
    """Return `value` as float64 of a shape (None: any length); DataError saying what `where` holds instead.

    NaN and infinity pass: one bad row should not cost the others.
    """
    want = " x ".join("N" if n is None else str(n) for n in shape)
    try:
        array = np.asarray(value)
        if array.dtype.kind not in "fiub":
            raise ValueError(f"it holds {array.dtype.name} values")
        out: NDArray[np.float64] = array.astype(np.float64)
    except (ValueError, TypeError, OverflowError) as e:
        raise DataError(f"{where} should be {want} numbers: {str(e)[:200]}; the file is damaged or another one") from e
    if out.ndim != len(shape) or any(n not in (None, m) for n, m in zip(shape, out.shape, strict=True)):
        raise DataError(f"{where} should be {want} numbers, but is {' x '.join(map(str, out.shape)) or 'one number'}")
    return out
