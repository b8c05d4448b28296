"""Photos and their labels as files: `images/*.jpg`, `masks/*.png`, one HumanData `.npz`; the same bytes for a seed."""

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
from jaxtyping import UInt8

from openexpose.data.humandata_write import write_records
from openexpose.data.record import Record
from openexpose.errors import ConfigError, DataError
from openexpose.readers import write_atomically
from openexpose.synth.labels import Part, PartShapes, record_of
from openexpose.synth.photo import Studio
from openexpose.synth.scene import SynthConfig

JPEG_QUALITY = 95
Renderer = Literal["auto", "embree", "raster"]


@dataclass(frozen=True, eq=False)
class Job:
    """What is made: `count` photos of a seed, from index `first` on, labelled for one network."""

    cfg: SynthConfig
    seed: int
    first: int
    count: int
    part: Part
    out: Path
    masks: bool = True
    backgrounds: UInt8[np.ndarray, "C S S 3"] | None = None
    renderer: Renderer = "auto"

    def __post_init__(self) -> None:
        """Raises ConfigError for no photos, or a negative seed or index."""
        if self.count < 1 or self.seed < 0 or self.first < 0:
            raise ConfigError(f"n={self.count}, seed={self.seed}, first={self.first}: need at least 1, 0 and 0")


def make(job: Job, *, workers: int = 1) -> Iterator[int]:
    """Write the photos, then `labels.npz`; yields how many photos are done after each.

    workers: processes; the files do not depend on their number. Raises DataError if the folder cannot be written.
    """
    indices = range(job.first, job.first + job.count)
    records: list[Record] = []
    if workers <= 1:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            photographer = Photographer(job)
            for index in indices:
                records.append(photographer(index))
                yield len(records)
        finally:
            torch.set_num_threads(threads)
    else:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, context, initializer=_start, initargs=(job,)) as pool:
            for record in pool.map(_one, indices):
                records.append(record)
                yield len(records)
    write_records(job.out / "labels.npz", records, extras={"config": f"openexpose synth make --seed {job.seed}"})


class Photographer:
    """Takes and writes the photo of an index; one to a process."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.studio = Studio(job.cfg, renderer=job.renderer, backgrounds=job.backgrounds)
        self.shapes = PartShapes.fitted()

    def __call__(self, index: int) -> Record:
        """Write photo and mask of one index and return its row."""
        photos = self.studio.shoot([self.studio.draw(self.job.seed, index)])
        name = f"images/{self.job.seed}_{index:07d}.jpg"
        rgb = np.ascontiguousarray(photos.rgb[0].numpy()[..., ::-1])
        write_picture(self.job.out / name, ".jpg", rgb, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        if self.job.masks:
            mask = photos.mask[0].numpy().astype(np.uint8) * 255
            write_picture(self.job.out / f"masks/{self.job.seed}_{index:07d}.png", ".png", mask, [])
        return record_of(photos, 0, name, self.job.part, self.shapes)


def write_picture(path: Path, kind: str, pixels: np.ndarray, options: list[int]) -> None:
    """Encode (B, G, R) or grey pixels; written whole or not at all. DataError for what cannot be encoded."""
    done, data = cv2.imencode(kind, pixels, options)
    if not done:
        raise DataError(f"cannot encode {path}: a picture of shape {pixels.shape}")
    with write_atomically(path) as temporary:
        temporary.write_bytes(data.tobytes())


_PHOTOGRAPHER: list[Photographer] = []
"""Of this worker process."""


def _start(job: Job) -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    _PHOTOGRAPHER[:] = [Photographer(job)]


def _one(index: int) -> Record:
    return _PHOTOGRAPHER[0](index)
