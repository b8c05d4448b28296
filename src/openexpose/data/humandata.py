"""mmhuman3d's HumanData `.npz`: opened without copying, rows read on their own.

The reference writes compressed archives with pickled dictionaries inside (spec 6.1), which can only be read whole. The
first `HumanData.open` of a large file therefore unpacks it once into `<folder>/.openexpose/<name>.rows.npz`: the same
values as plain uncompressed arrays, which every later open and every worker process maps into memory. The copy carries
size and time of its source and is remade when they change (the reference's cache is not, spec 10.1).
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openexpose.data.columns import Columns, decoded, unpack
from openexpose.data.record import Keypoints, Record
from openexpose.errors import AssetError, DataError
from openexpose.readers import Npz
from openexpose.skeleton import Skeleton

LENGTH, STRICT, COMPRESSED = "__data_len__", "__key_strict__", "__keypoints_compressed__"
FINGERPRINT = "__openexpose_source__"
FAMILIES = ("smplx", "smpl", "smplh", "mano", "flame")
KEYPOINTS = ("keypoints2d", "keypoints3d")
CACHE_FOLDER = ".openexpose"
SMALL_BYTES = 4 << 20
"""Smaller files are decoded into memory at once instead of being unpacked beside themselves."""
_OWN_FIELDS = (
    "image_path", "bbox_xywh", "config",
    *(k + suffix for k in KEYPOINTS for suffix in ("", "_mask", "_convention")),
)  # fmt: skip


class HumanData:
    """A HumanData file. `len(data)` rows; `data.row(i)` one of them; `data.column("smplx/betas")` all of one kind."""

    def __init__(self, path: Path, columns: Columns, cache_dir: Path | None) -> None:
        """Checks that columns agree on the number of rows; use `open` for files."""
        self.path, self.columns, self._cache_dir = path, columns, cache_dir
        self.key_strict = bool(columns.column(STRICT)) if STRICT in columns else False
        self.keypoints_compressed = bool(columns.column(COMPRESSED)) if COMPRESSED in columns else False
        self._length = self._find_length()
        self._skeletons = {k: Skeleton.read(self._convention(k)) for k in KEYPOINTS if k in columns}
        self._places = {k: self._stored_places(k) for k in self._skeletons}
        self.family = next((f for f in FAMILIES if any(k.startswith(f + "/") for k in self.keys())), "")
        """Body model whose params the file holds; empty if none."""
        by_row = [k for k in self.keys() if columns.rows(k) == self._length]
        self._params = {k: k.partition("/")[2] for k in by_row if self.family and k.startswith(self.family + "/")}
        self._extras = [k for k in by_row if k not in self._params and k not in _OWN_FIELDS]

    @classmethod
    def open(cls, path: Path, *, cache_dir: Path | None = None) -> "HumanData":
        """Return the file, ready to read rows from.

        cache_dir: folder for the unpacked copy of a compressed file; default `.openexpose` beside the file.
        Raises AssetError for a missing or damaged file, DataError if its columns contradict each other or the copy
        cannot be written.
        """
        path = Path(path)
        with Npz(path) as z:
            mappable = all(z.memmap(k) is not None or not z.header(k).shape for k in z.keys())  # noqa: SIM118
            objects = any(z.header(k).dtype.hasobject for k in z.keys())  # noqa: SIM118
        if mappable and not objects:
            return cls(path, Columns.mapped(path), cache_dir)
        if path.stat().st_size < SMALL_BYTES:
            return cls(path, Columns(decoded(path)), cache_dir)
        status = path.stat()
        fingerprint = f"{path.name} {status.st_size} {status.st_mtime_ns}"
        copy = (path.parent / CACHE_FOLDER if cache_dir is None else cache_dir) / f"{path.stem}.rows.npz"
        if not _is_copy_of(copy, fingerprint):
            unpack(path, copy, {FINGERPRINT: np.asarray(fingerprint)})
        return cls(path, Columns.mapped(copy), cache_dir)

    def __reduce__(self) -> tuple[object, ...]:
        """Other processes map the file themselves instead of being sent its values."""
        return partial(HumanData.open, cache_dir=self._cache_dir), (self.path,)

    def __len__(self) -> int:
        return self._length

    def keys(self) -> tuple[str, ...]:
        """Names of all columns and single values, dictionary entries as `outer/inner`, without `__...__` entries."""
        return tuple(k for k in self.columns.keys() if not k.startswith("__"))  # noqa: SIM118

    def column(self, key: str) -> NDArray[Any]:
        """Return a whole column, a view of the file. Keypoints come as stored: see `skeleton` and `places`.

        Raises DataError if there is none, listing those there are.
        """
        if key not in self.columns:
            raise DataError(f"{self.path} has no {key!r}, but {', '.join(self.keys())}")
        return self.columns.column(key)

    def skeleton(self, key: str) -> Skeleton:
        """Return the convention of `keypoints2d` or `keypoints3d`."""
        return self._skeletons[key]

    def places(self, key: str) -> tuple[int, ...]:
        """Return, for each stored point of `keypoints2d` or `keypoints3d`, its row in the convention."""
        return tuple(int(i) for i in self._places[key])

    def row(self, index: int, *, extras: bool = False) -> Record:
        """Return one row. Raises DataError if there is no such row.

        extras: also read columns that are neither photo, box, keypoints nor params, such as `vertices`.
        """
        if not 0 <= index < self._length:
            raise DataError(f"{self.path} has rows 0 to {self._length - 1}, not {index}")
        columns = self.columns
        box = np.asarray(columns.row("bbox_xywh", index)[:4], np.float64) if "bbox_xywh" in columns else None
        return Record(
            photo=str(columns.row("image_path", index)) if "image_path" in columns else "",
            box_xywh_px=box,
            keypoints2d=self._keypoints("keypoints2d", index),
            keypoints3d=self._keypoints("keypoints3d", index),
            params={name: columns.row(key, index) for key, name in self._params.items()},
            family=self.family,
            extras={key: columns.row(key, index) for key in self._extras} if extras else {},
        )

    def __iter__(self) -> Iterator[Record]:
        return (self.row(i) for i in range(self._length))

    def _keypoints(self, key: str, index: int) -> Keypoints | None:
        if key not in self._skeletons:
            return None
        stored = self.columns.row(key, index).astype(np.float64)
        full = np.zeros((len(self._skeletons[key]), stored.shape[-1]))
        full[self._places[key]] = stored
        return Keypoints(self._skeletons[key], full)

    def _convention(self, key: str) -> str:
        name = f"{key}_convention"
        return str(self.columns.column(name)) if name in self.columns else "human_data"

    def _stored_places(self, key: str) -> NDArray[np.int64]:
        """Rows of the convention that are stored: those of the mask if compressed, else all."""
        shape, size = self.columns.describe(key)[1], len(self._skeletons[key])
        places = np.arange(size)
        if self.keypoints_compressed and f"{key}_mask" in self.columns:
            places = np.flatnonzero(np.asarray(self.columns.column(f"{key}_mask")) == 1)
        if len(shape) != 3 or shape[1] != len(places) or (len(places) and places[-1] >= size):
            raise DataError(
                f"{self.path}: {key!r} has shape {shape}, but convention {self._skeletons[key].name!r} "
                f"{'and mask say' if self.keypoints_compressed else 'says'} {len(places)} points"
            )
        return places

    def _find_length(self) -> int:
        by_key = {k: self.columns.rows(k) for k in ("image_path", "bbox_xywh", *KEYPOINTS) if k in self.columns}
        for family in FAMILIES:
            by_key |= {k: self.columns.rows(k) for k in self.keys() if k == f"{family}/betas"}
        length = int(self.columns.column(LENGTH)) if LENGTH in self.columns else -1
        if length < 0:  # an empty HumanData says -1
            length = next((n for n in by_key.values() if n is not None), 0)
        wrong = {k: n for k, n in by_key.items() if n != length}
        if wrong:
            raise DataError(
                f"{self.path} has {length} rows, but {wrong}; the file contradicts itself, convert it again"
            )
        return length


def _is_copy_of(copy: Path, fingerprint: str) -> bool:
    if not copy.is_file():
        return False
    try:
        with Npz(copy) as z:
            return FINGERPRINT in z and str(z.read(FINGERPRINT)) == fingerprint
    except AssetError:
        return False
