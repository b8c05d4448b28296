"""Columns of a row store: one stored `.npz` of plain arrays, memory-mapped, that any row can be read from at once."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from openexpose.errors import DataError
from openexpose.readers import Npz, write_npz

FLAT, OFFSETS = "@flat", "@offsets"
"""A column whose rows differ in length is two members: all values in one array, and where each row starts."""


class Columns:
    """Named columns; a row is read by touching only its bytes."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self._maps = dict(arrays)

    @classmethod
    def mapped(cls, path: Path) -> "Columns":
        """Map the members of an uncompressed `.npz`. Raises AssetError if it is damaged."""
        with Npz(path) as z:
            maps = {k: z.memmap(k) for k in z.keys()}  # noqa: SIM118  (an Npz is no dict)
            return cls({k: z.read(k) if m is None else m for k, m in maps.items()})

    def keys(self) -> tuple[str, ...]:
        """Names of the columns, ragged ones once."""
        return tuple(k.removesuffix(FLAT) for k in self._maps if not k.endswith(OFFSETS))

    def __contains__(self, key: str) -> bool:
        """Is there a column of this name?"""
        return key in self._maps or key + FLAT in self._maps

    def describe(self, key: str) -> tuple[str, tuple[int | None, ...]]:
        """Type and shape of a column; None stands for a length that varies."""
        if key in self._maps:
            return str(self._maps[key].dtype), self._maps[key].shape
        flat = self._maps[key + FLAT]
        return str(flat.dtype), (len(self._maps[key + OFFSETS]) - 1, None, *flat.shape[1:])

    def rows(self, key: str) -> int | None:
        """How many rows a column has; None for a single value."""
        shape = self.describe(key)[1]
        return shape[0] if shape else None

    def column(self, key: str) -> NDArray[Any]:
        """A whole column as a read-only view of the file (of a ragged one: all values, row after row)."""
        return self._maps[key] if key in self._maps else self._maps[key + FLAT]

    def row(self, key: str, index: int) -> NDArray[Any]:
        """One row of a column, copied into memory."""
        if key in self._maps:
            return np.array(self._maps[key][index])
        start, stop = self._maps[key + OFFSETS][index : index + 2]
        return np.array(self._maps[key + FLAT][start:stop])


def flatten(key: str, value: object, where: str) -> Iterator[tuple[str, ArrayLike]]:
    """Yield (name, plain array) for a value as HumanData stores it: dictionaries become `outer/inner` names.

    Raises DataError naming `where` and the key for objects that are neither numbers, text, nor containers of them.
    """
    if isinstance(value, np.ndarray) and value.dtype == object:
        value = value.item() if value.ndim == 0 else list(value)
    if isinstance(value, Mapping):
        for inner, content in value.items():
            yield from flatten(f"{key}/{inner}", content, where)
    elif isinstance(value, list | tuple):
        yield from _flatten_list(key, value, where)
    elif isinstance(value, np.ndarray | np.generic | str | bool | int | float):
        yield key, np.asarray(value)
    elif value is not None:
        raise DataError(
            f"{where}: {key!r} holds a {type(value).__name__}; only numbers, text, lists and dicts are read"
        )


def _flatten_list(key: str, values: Sequence[object], where: str) -> Iterator[tuple[str, ArrayLike]]:
    if all(isinstance(v, str) for v in values) or all(isinstance(v, bool | int | float | np.number) for v in values):
        yield key, np.asarray(values)
    elif all(isinstance(v, Mapping) and set(v) == set(values[0]) for v in values):  # type: ignore[call-overload]
        for inner in values[0]:  # type: ignore[attr-defined]
            yield from flatten(f"{key}/{inner}", [v[inner] for v in values], where)  # type: ignore[index]
    else:
        try:
            arrays = [np.asarray(v) for v in values]
            if any(a.dtype == object for a in arrays):
                raise ValueError("not numbers")
        except ValueError:
            yield key, np.asarray([json.dumps(v, default=_plain) for v in values])
            return
        if len({a.shape for a in arrays}) == 1:
            yield key, np.stack(arrays)
        elif len({(a.dtype, a.shape[1:]) for a in arrays}) == 1 and all(a.ndim for a in arrays):
            yield key + FLAT, np.concatenate(arrays)
            yield key + OFFSETS, np.cumsum([0, *(len(a) for a in arrays)], dtype=np.int64)
        else:
            raise DataError(f"{where}: {key!r} is a list of arrays of unlike shapes; make them alike before storing")


def _plain(value: object) -> object:
    """What json makes of numpy values inside odd rows."""
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)


class _Unpacking(Mapping[str, ArrayLike]):
    """The members of a HumanData file, decoded one at a time while they are written out."""

    def __init__(self, source: Npz, extra: Mapping[str, ArrayLike]) -> None:
        self.source, self.extra = source, extra

    def __getitem__(self, key: str) -> ArrayLike:
        return self.source.read(key)

    def __len__(self) -> int:
        return len(self.source.keys())

    def __iter__(self) -> Iterator[str]:
        return iter(self.source.keys())

    def items(self) -> Iterator[tuple[str, ArrayLike]]:  # type: ignore[override]
        """Name and plain array of every column."""
        yield from self.extra.items()
        for key in self.source.keys():  # noqa: SIM118
            yield from flatten(key, self.source.read(key), str(self.source.path))


def decoded(source: Path) -> dict[str, NDArray[Any]]:
    """Return every array of a HumanData `.npz` in memory, dictionaries flattened."""
    with Npz(source) as z:
        return {name: np.asarray(value) for name, value in _Unpacking(z, {}).items()}


def unpack(source: Path, target: Path, extra: Mapping[str, ArrayLike]) -> None:
    """Write every array of a HumanData `.npz` uncompressed and without objects, in memory one member at a time."""
    with Npz(source) as z:
        write_npz(target, _Unpacking(z, extra), compressed=False)
