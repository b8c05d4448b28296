"""What networks say about every row of a benchmark, kept on disk in pieces: runs resume, and ranks share the work.

A piece is a batch of rows fixed by the batch size alone. Whoever computes it, in whatever order, it holds the same
numbers, so several ranks give exactly what one gives. A piece knows what it was made of and is made again if that
changes.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from openexpose.errors import AssetError, DataError
from openexpose.evaluate.sitters import Sitters
from openexpose.geometry.crop import MIN_SEEN, Crop, normalise
from openexpose.nets.attention import Look
from openexpose.nets.expose import ExPose
from openexpose.nets.inputs import look_at
from openexpose.nets.params import PARAMS, BodyParams, HandParams, HeadParams, Part
from openexpose.nets.regressor import PartRegressor
from openexpose.readers import Npz, write_npz

VERSION = 1
"""Raise it when the form or the meaning of a piece changes."""
FOLDER = ".answers"
Params = BodyParams | HandParams | HeadParams
Photo = UInt8[np.ndarray, "_ _ 3"]
_KEY, _CAMERA = "__made_of__", "camera"
_AHEAD = 4
"""Threads that decode the photos of the next piece."""


@runtime_checkable
class Answerer(Protocol):
    """Whoever says something about a batch of people: a network, or in tests the truth itself."""

    @property
    def crop_px(self) -> int:
        """Side of the crops it wants."""

    def __call__(
        self, rows: Sequence[int], photos: Sequence[Photo], crops: Sequence[Crop]
    ) -> tuple[Params, Float[Tensor, "B 3"]]:
        """Params, and the camera (s, tx, ty) over each crop. rows: of the file, one for each crop."""


@dataclass(frozen=True, eq=False)
class Whole:
    """The whole model: body, second looks, merge."""

    network: ExPose

    @property
    def crop_px(self) -> int:
        """Of the body network."""
        return self.network.body.crop_px

    def __call__(
        self, rows: Sequence[int], photos: Sequence[Photo], crops: Sequence[Crop]
    ) -> tuple[Params, Float[Tensor, "B 3"]]:
        """See `Answerer`."""
        look, device = look_at(photos, crops), self.network.body.regressor.mean_param.device
        if device.type != "cpu":
            photos_there = [p.to(device) for p in look.photos]
            look = Look(look.crops.to(device), photos_there, look.T_crop_photo.to(device), look.side_px.to(device))
        found = self.network(look)
        return found.params, found.camera


@dataclass(frozen=True, eq=False)
class Alone:
    """One network, starting from its own mean, on the crop of the box: how the reference tests its parts."""

    network: PartRegressor[Any]

    @property
    def crop_px(self) -> int:
        """Of the network."""
        return self.network.crop_px

    def __call__(
        self, rows: Sequence[int], photos: Sequence[Photo], crops: Sequence[Crop]
    ) -> tuple[Params, Float[Tensor, "B 3"]]:
        """See `Answerer`."""
        cut = [torch.from_numpy(crop.cut(photo)) for photo, crop in zip(photos, crops, strict=True)]
        device = self.network.regressor.mean_param.device
        found = self.network(normalise(torch.stack(cut)).to(device))
        params: Params = found.params
        return params, found.camera


@dataclass(frozen=True, eq=False)
class Answers:
    """What was said about N rows, in their order. CPU, float32."""

    params: Params
    camera: Float[Tensor, "N 3"]
    """(s, tx, ty) over each crop."""
    crop_px: int

    def some(self, rows: slice) -> Params:
        """The params of some rows."""
        return type(self.params)(**{f.name: getattr(self.params, f.name)[rows] for f in fields(self.params)})


def answer(
    sitters: Sitters,
    answerer: Answerer,
    folder: Path,
    *,
    made_of: Mapping[str, object],
    batch: int,
    rank: int = 0,
    ranks: int = 1,
    done: Callable[[int], object] = int,
) -> None:
    """Leave this rank's pieces in the folder; those that are there already are not made again.

    made_of: everything that the answers depend on (hashes of weights and data, settings), as plain values.
    done: told how many of the rows of this rank are there.
    Raises DataError naming the row for a photo that is damaged, a crop beside its photo, or an answer not finite.
    """
    key = _key(made_of, answerer.crop_px, batch)
    mine = _pieces(len(sitters), batch)[rank::ranks]
    todo = [rows for rows in mine if not _holds(_path(folder, rows), key)]
    finished = sum(map(len, mine)) - sum(map(len, todo))
    done(finished)
    for rows, photos in _decoded(sitters, todo):
        crops = [_checked(sitters, row, photo, answerer.crop_px) for row, photo in zip(rows, photos, strict=True)]
        with torch.inference_mode():
            params, camera = answerer(rows, photos, crops)
        arrays = {f.name: getattr(params, f.name) for f in fields(params)} | {_CAMERA: camera}
        plain = {name: value.float().cpu().numpy() for name, value in arrays.items()}
        for i, row in enumerate(rows):
            if not all(np.isfinite(value[i]).all() for value in plain.values()):
                raise DataError(f"{sitters.names[row]}: the network's answer is not finite; are the weights damaged?")
        write_npz(_path(folder, rows), {_KEY: np.asarray(key)} | plain, compressed=False)
        finished += len(rows)
        done(finished)


def read_answers(
    sitters: Sitters, part: Part, folder: Path, *, made_of: Mapping[str, object], batch: int, crop_px: int
) -> Answers:
    """All pieces together. Raises DataError if one is missing (another rank has not finished) or was made otherwise."""
    key, kind = _key(made_of, crop_px, batch), PARAMS[part]
    names = (*(f.name for f in fields(kind)), _CAMERA)
    columns: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for rows in _pieces(len(sitters), batch):
        path = _path(folder, rows)
        if not _holds(path, key):
            raise DataError(f"{path} is missing or was made of something else; run the same command again")
        with Npz(path) as z:
            for name in names:
                columns[name].append(z.read(name))
    joined = {name: torch.from_numpy(np.concatenate(pieces)) for name, pieces in columns.items()}
    camera = joined.pop(_CAMERA)
    return Answers(kind(**joined), camera, crop_px)


def _pieces(count: int, batch: int) -> list[range]:
    return [range(i, min(i + batch, count)) for i in range(0, count, batch)]


def _path(folder: Path, rows: range) -> Path:
    return folder / f"{rows.start:06d}.npz"


def _key(made_of: Mapping[str, object], crop_px: int, batch: int) -> str:
    text = json.dumps([VERSION, crop_px, batch, dict(made_of)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _holds(path: Path, key: str) -> bool:
    if not path.is_file():
        return False
    try:
        with Npz(path) as z:
            return _KEY in z and str(z.read(_KEY)) == key
    except AssetError:
        return False


def _decoded(sitters: Sitters, pieces: Sequence[range]) -> Iterator[tuple[range, list[Photo]]]:
    """Each piece with its photos; the next one's are decoded meanwhile."""
    with ThreadPoolExecutor(_AHEAD) as pool:
        coming = [pool.submit(sitters.photo, row) for row in pieces[0]] if pieces else []
        for k, rows in enumerate(pieces):
            photos = [f.result() for f in coming]
            following = pieces[k + 1] if k + 1 < len(pieces) else range(0)
            coming = [pool.submit(sitters.photo, row) for row in following]
            yield rows, photos


def _checked(sitters: Sitters, row: int, photo: Photo, crop_px: int) -> Crop:
    crop = sitters.crop(row, crop_px)
    if crop.seen(photo.shape[0], photo.shape[1]) < MIN_SEEN:
        raise DataError(
            f"{sitters.names[row]} (row {row}): its box {sitters.boxes_xywh_px[row].round(1).tolist()} lies beside the "
            f"{photo.shape[1]} x {photo.shape[0]} photo; `openexpose data check` lists such rows"
        )
    return crop
