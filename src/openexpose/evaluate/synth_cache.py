"""The fixed synthetic test sets as files: rendered once from their seeds, each photo beside its truth, resumable."""

import hashlib
import json
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from numpy.typing import NDArray

from openexpose import images
from openexpose.body.load import load_arrays
from openexpose.errors import ConfigError, DataError
from openexpose.readers import Npz, write_atomically, write_npz
from openexpose.synth.make import JPEG_QUALITY
from openexpose.synth.photo import Photos, Studio
from openexpose.synth.pose_bank import PoseBank
from openexpose.synth.sets import TestSet

_RECIPE = 1
"""Counts changes of the renderer that make another picture of the same seed."""


@dataclass(frozen=True, eq=False)
class Truth:
    """What is known about the first person of one photo. Camera frame, metres; photo pixels."""

    R_parent_child: Float[np.ndarray, "55 3 3"]
    """The root's is in camera axes."""
    betas: Float[np.ndarray, " S"]
    expression: Float[np.ndarray, " E"]
    """50 coefficients of FreeHead; FreeBody's own file keeps the first 10."""
    transl_m: Float[np.ndarray, "3"]
    keypoints_m: Float[np.ndarray, "144 3"]
    keypoints_px: Float[np.ndarray, "144 2"]
    visible: Bool[np.ndarray, " 144"]
    box_px: Float[np.ndarray, "4"]
    """Left, top, right, bottom of the surface with clothes and hair, cut at the photo's border."""


class RenderedSet:
    """The first `count` photos of a test set, from a folder that `render` has filled."""

    def __init__(self, folder: Path, test_set: TestSet, count: int) -> None:
        """folder: of all sets; this one's files lie below. Raises ConfigError for a count outside the set."""
        _check_count(test_set, count)
        self.folder, self.test_set, self.count = folder / test_set.name, test_set, count
        self._recipe = recipe_of(test_set)

    def __len__(self) -> int:
        return self.count

    def name(self, index: int) -> str:
        """For tables and CSV rows."""
        return f"{self.test_set.name}#{index}"

    def photo(self, index: int) -> UInt8[np.ndarray, "S S 3"]:
        """One photo, RGB. Raises DataError if it is missing or damaged."""
        return images.read_rgb(self.folder / f"{index:06d}.jpg")

    def truth(self, index: int) -> Truth:
        """What is known about it. Raises AssetError if it is missing, DataError if another recipe made it."""
        path = self.folder / f"{index:06d}.npz"
        with Npz(path) as z:
            if str(z.read("recipe")) != self._recipe:
                raise DataError(f"{path} was made by another version of the test set; remove {self.folder}, run again")
            return Truth(**{name: z.read(name) for name in Truth.__dataclass_fields__})

    def missing(self) -> list[int]:
        """Indices that are still to be rendered."""
        have = {p.stem for p in self.folder.glob("*.npz")}
        return [i for i in range(self.count) if f"{i:06d}" not in have]


def render(folder: Path, test_set: TestSet, count: int, *, workers: int = 1) -> Iterator[int]:
    """Render what is missing of the first `count` photos; yields how many of them are there after each.

    A photo's truth is written after the photo, so an interrupted run goes on where it was.
    workers: processes. Raises ConfigError for a count outside the set, DataError if the folder cannot be written.
    """
    rendered = RenderedSet(folder, test_set, count)
    todo = rendered.missing()
    done = count - len(todo)
    if not todo:
        return
    if workers <= 1:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            shooter = Shooter(rendered.folder, test_set)
            for index in todo:
                shooter(index)
                done += 1
                yield done
        finally:
            torch.set_num_threads(threads)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=_start, initargs=(rendered.folder, test_set)) as pool:
        for _ in pool.map(_one, todo):
            done += 1
            yield done


def recipe_of(test_set: TestSet) -> str:
    """A digest of everything that decides the pictures but the renderer's code: settings, seed, body, poses."""
    body = load_arrays("free")
    poses = hashlib.sha256(np.ascontiguousarray(PoseBank.shipped().rotvec_rad).tobytes()).hexdigest()
    what = {"recipe": _RECIPE, "seed": test_set.seed, "cfg": asdict(test_set.cfg), "body": body.sha256, "poses": poses}
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


class Shooter:
    """Writes photo and truth of one index."""

    def __init__(self, folder: Path, test_set: TestSet) -> None:
        self.folder, self.test_set, self.recipe = folder, test_set, recipe_of(test_set)
        self.studio = Studio(test_set.cfg)

    def __call__(self, index: int) -> None:
        """Render it. Raises DataError if the folder cannot be written."""
        photos = self.studio.shoot([self.studio.draw(self.test_set.seed, index)])
        rgb = np.ascontiguousarray(photos.rgb[0].numpy()[..., ::-1])
        encoded, data = cv2.imencode(".jpg", rgb, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        if not encoded:
            raise DataError(f"cannot encode photo {index} of {self.test_set.name}")
        with write_atomically(self.folder / f"{index:06d}.jpg") as temporary:
            temporary.write_bytes(data.tobytes())
        arrays = _truth(photos) | {"recipe": np.array(self.recipe)}
        write_npz(self.folder / f"{index:06d}.npz", arrays, compressed=False)


def _truth(photos: Photos) -> dict[str, NDArray[np.generic]]:
    draw = photos.draws[0]
    f32: dict[str, NDArray[np.generic]] = {
        "R_parent_child": draw.R[0],
        "betas": draw.betas[0],
        "expression": draw.expression[0],
        "transl_m": photos.transl_m[0].numpy(),
        "keypoints_m": photos.keypoints_m[0].numpy(),
        "keypoints_px": photos.keypoints_px[0].numpy(),
        "box_px": photos.box_px[0].numpy(),
    }
    return {k: v.astype(np.float32) for k, v in f32.items()} | {"visible": photos.visible[0].numpy()}


def _check_count(test_set: TestSet, count: int) -> None:
    if not 1 <= count <= test_set.count:
        raise ConfigError(f"{test_set.name} has {test_set.count} photos; ask for 1 to {test_set.count}, not {count}")


_SHOOTER: list[Shooter] = []
"""Of this worker process."""


def _start(folder: Path, test_set: TestSet) -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    _SHOOTER[:] = [Shooter(folder, test_set)]


def _one(index: int) -> None:
    _SHOOTER[0](index)
