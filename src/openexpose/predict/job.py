"""Many photos to many folders: reading, networks and writing side by side, one bad photo never the end of the rest.

Reading and writing have threads of their own (decoders, the networks and zip all let go of Python's lock); the main
thread finds and fits. What is held at once is bounded by photos and by pixels, so memory does not grow with the job.
"""

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from openexpose import images
from openexpose.detect import Detection
from openexpose.errors import OpenExposeError
from openexpose.export.result import JSON_NAME, NPZ_NAME, About, clear_old, is_complete, write_result
from openexpose.predict.listing import Listed
from openexpose.predict.predictor import Found, Predictor
from openexpose.predict.shot import Shot, read_shot
from openexpose.prediction import Prediction

Extras = Callable[[Path, np.ndarray, Sequence[Prediction], About], None]
"""Writes meshes and pictures of one photo into its folder: (folder, photo's RGB, its people, what the result says)."""
HELD_PIXELS = 150_000_000
"""Decoded pixels (of 3 bytes) in memory at once, unless a single photo has more."""


@dataclass(frozen=True)
class JobConfig:
    """How a job runs."""

    out: Path
    """Each photo gets a folder below it."""
    batch: int = 16
    """Persons that go through the networks together."""
    focal_px: float | None = None
    """Of all photos; None takes EXIF's or the default."""
    max_pixels: int = images.MAX_PIXELS
    """Larger photos are skipped."""
    resume: bool = False
    """Skip photos whose result is complete and was made with the same settings."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Kept in each result, for `resume`."""
    readers: int = 2
    """Threads that decode."""
    writers: int = 2
    """Threads that write."""


@dataclass
class Report:
    """What became of the photos."""

    done: int = 0
    people: int = 0
    empty: int = 0
    """Photos in which nobody was found; they are among `done`."""
    resumed: int = 0
    """Photos that were complete already."""
    skipped: list[tuple[Path, str]] = field(default_factory=list)
    """Photos that could not be used, and why."""
    seconds: dict[str, float] = field(default_factory=lambda: {"read": 0.0, "find": 0.0, "fit": 0.0, "write": 0.0})
    """Time of each stage, summed over its threads."""


def run(
    predictor: Predictor,
    photos: Sequence[Listed],
    cfg: JobConfig,
    *,
    people: Mapping[Path, Sequence[Detection] | None] | None = None,
    extras: Extras | None = None,
    step: Callable[[Report], None] = lambda _: None,
) -> Report:
    """Fit everybody in all photos and write the results.

    people: who is in each photo, None for a photo to skip; without it the predictor's detector is asked.
    extras: writes more files into a photo's folder. step: called in this thread whenever a photo is finished.
    Raises DataError when writing fails (a full disk); photos that are finished by then are complete.
    """
    return _Job(predictor, cfg, people, extras, step).run(photos)


@dataclass(frozen=True, eq=False)
class _Read:
    photo: Listed
    pixels: int
    shot: "Future[tuple[Shot, float]]"


@dataclass(frozen=True, eq=False)
class _Seen:
    photo: Listed
    pixels: int
    shot: Shot
    people: list[Found]


class _Job:
    """The state of one run; everything but decoding and writing happens in the caller's thread."""

    def __init__(
        self,
        predictor: Predictor,
        cfg: JobConfig,
        people: Mapping[Path, Sequence[Detection] | None] | None,
        extras: Extras | None,
        step: Callable[[Report], None],
    ) -> None:
        self.predictor, self.cfg, self.people, self.extras, self.step = predictor, cfg, people, extras, step
        self.report = Report()
        self.reading: deque[_Read] = deque()
        self.group: list[_Seen] = []
        self.writing: deque[tuple[_Seen, Future[float]]] = deque()
        self.held_pixels = 0

    def run(self, photos: Sequence[Listed]) -> Report:
        readers = ThreadPoolExecutor(self.cfg.readers, "read")
        writers = ThreadPoolExecutor(self.cfg.writers, "write")
        try:
            waiting = deque(photos)
            while waiting or self.reading:
                self._read_ahead(waiting, readers)
                if self.reading:
                    self._look(self.reading.popleft())
                if self._full(waiting):
                    self._fit(writers)
                    self._settle(leave=2 * self.cfg.writers)
                elif self.held_pixels >= HELD_PIXELS:
                    self._settle(leave=0)
            self._fit(writers)
            self._settle(leave=0)
        finally:  # an error or Ctrl-C: what is being written is finished, what waits is dropped
            readers.shutdown(wait=False, cancel_futures=True)
            writers.shutdown(wait=True, cancel_futures=True)
        return self.report

    def _read_ahead(self, waiting: deque[Listed], readers: ThreadPoolExecutor) -> None:
        ahead = 2 * self.cfg.readers
        while waiting and len(self.reading) < ahead and (self.held_pixels < HELD_PIXELS or not self._holds()):
            photo = waiting.popleft()
            if self.cfg.resume and is_complete(self.cfg.out / photo.name, self.cfg.settings):
                self.report.resumed += 1
                self.step(self.report)
                continue
            if self.people is not None and self.people.get(photo.path) is None:
                self._skip(photo, f"photo {photo.path} is not named in the file of boxes or keypoints")
                continue
            try:
                width, height = images.photo_size(photo.path)
            except OpenExposeError as e:
                self._skip(photo, str(e))
                continue
            self.held_pixels += width * height
            self.reading.append(_Read(photo, width * height, readers.submit(self._decode, photo)))

    def _holds(self) -> bool:
        return bool(self.reading or self.group or self.writing)

    def _full(self, waiting: deque[Listed]) -> bool:
        """Whether it is time for the networks: enough people, enough photos, or no room to read more."""
        persons = sum(len(s.people) for s in self.group)
        no_room = self.held_pixels >= HELD_PIXELS and not self.reading
        return persons >= self.cfg.batch or len(self.group) >= self.cfg.batch or (no_room and bool(self.group))

    def _decode(self, photo: Listed) -> tuple[Shot, float]:
        start = time.perf_counter()
        shot = read_shot(photo.path, focal_px=self.cfg.focal_px, max_pixels=self.cfg.max_pixels)
        return shot, time.perf_counter() - start

    def _look(self, read: _Read) -> None:
        """Find the people of a photo and check that they can be cut out of it."""
        try:
            shot, seconds = read.shot.result()
            self.report.seconds["read"] += seconds
            start = time.perf_counter()
            given = None if self.people is None else self.people[read.photo.path]
            detections = self.predictor.find(shot) if given is None else given
            found = [Found(shot, d, k) for k, d in enumerate(detections)]
            for person in found:
                self.predictor.crop(shot, person.detection)
            self.report.seconds["find"] += time.perf_counter() - start
        except OpenExposeError as e:
            self.held_pixels -= read.pixels
            self._skip(read.photo, str(e))
            return
        self.group.append(_Seen(read.photo, read.pixels, shot, found))

    def _fit(self, writers: ThreadPoolExecutor) -> None:
        """Fit the group that has come together and hand it to the writers."""
        group, self.group = self.group, []
        start = time.perf_counter()
        try:
            answers = iter(self.predictor.fit([p for s in group for p in s.people], batch=self.cfg.batch))
            fitted = [(seen, [next(answers) for _ in seen.people]) for seen in group]
        except OpenExposeError:  # somebody's answer is not usable: one photo at a time, to see whose
            fitted = [(seen, people) for seen in group if (people := self._fit_one(seen)) is not None]
        self.report.seconds["fit"] += time.perf_counter() - start
        for seen, people in fitted:
            self.writing.append((seen, writers.submit(self._write, seen, people)))

    def _fit_one(self, seen: _Seen) -> list[Prediction] | None:
        try:
            return self.predictor.fit(seen.people, batch=self.cfg.batch)
        except OpenExposeError as e:
            self.held_pixels -= seen.pixels
            self._skip(seen.photo, str(e))
            return None

    def _write(self, seen: _Seen, people: list[Prediction]) -> float:
        start = time.perf_counter()
        folder, shot, predictor = self.cfg.out / seen.photo.name, seen.shot, self.predictor
        clear_old(folder)
        label = predictor.detector.label if self.people is None else "given"
        about = About(shot.name, shot.size_px, shot.camera, shot.focal_from, predictor.info, label, self.cfg.settings)
        before = _files_in(folder)
        if self.extras is not None:
            self.extras(folder, shot.rgb, people, about)
        made = [name for name, state in _files_in(folder).items() if before.get(name) != state]
        write_result(folder, people, about, files=made)
        return time.perf_counter() - start

    def _settle(self, leave: int) -> None:
        """Wait until at most so many photos are being written, and count those that are done."""
        while self.writing and (len(self.writing) > leave or self.writing[0][1].done()):
            seen, future = self.writing.popleft()
            self.report.seconds["write"] += future.result()
            self.held_pixels -= seen.pixels
            self.report.done += 1
            self.report.people += len(seen.people)
            self.report.empty += not seen.people
            self.step(self.report)

    def _skip(self, photo: Listed, why: str) -> None:
        self.report.skipped.append((photo.path, why))
        self.step(self.report)


def _files_in(folder: Path) -> dict[str, tuple[int, int]]:
    """Files of a folder and what changes when one is written anew; ours are replaced whole."""
    if not folder.is_dir():
        return {}
    seen = {p.name: p.stat() for p in folder.iterdir() if p.is_file() and not p.name.startswith(".")}
    return {name: (s.st_ino, s.st_mtime_ns) for name, s in seen.items() if name not in (JSON_NAME, NPZ_NAME)}
