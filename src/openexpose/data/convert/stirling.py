"""Stirling/ESRC 3D: photos of faces, and a landmarked 3D scan of each face. Everything is in millimetres.

The scan and its seven landmarks stay in millimetres in the HumanData file, as the reference's file has them: the
benchmark compares in millimetres. Raw tree: docs/data.md.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from openexpose import images
from openexpose.data.convert.common import Job, Options, Problem, left_out, need_folder
from openexpose.data.record import Keypoints, Record
from openexpose.errors import DataError
from openexpose.readers.limits import MIB, read_bytes
from openexpose.skeleton import Skeleton

MAX_OBJ_BYTES = 1024 * MIB
MAX_LND_BYTES = MIB
FACE_MM = (50.0, 2000.0)
"""Extents that a scan of a head in millimetres can have."""
MARKS_NEAR_MM = 30.0
"""Landmarks further than this from their scan belong to another one, or to other units."""
_SUBJECT = re.compile(r"[FfMm]\d+")


def jobs(output: str, options: Options) -> Sequence[Job]:
    """Return one piece for each subject, photos in the order of their names. DataError if the raw data is not there."""
    quality = output.rpartition("_")[2]
    folder = need_folder(options.root / "Subset_2D_FG2018" / quality, f"the {quality} photos of FG2018's 2D subset")
    scans, marks = (_by_subject(options.root / top, ending) for top, ending in (("", ".obj"), ("annotations", ".lnd")))
    found = []
    for subject, group in groupby(images.list_photos(folder), key=lambda p: _subject(p.name)):
        names = [p.name for p in group]
        place = f"{subject[:1]}_3D_N/{subject}_N"
        obj = scans.get(subject, options.root / f"{place}.obj")
        lnd = marks.get(subject, options.root / "annotations" / f"{place}.lnd")
        found.append(Job(f"{subject}, from {names[0]}", (obj, lnd, *(folder / n for n in names))))
    if not found:
        raise DataError(f"{folder} holds no photos; docs/data.md draws the tree")
    return found


def load(output: str, options: Options) -> None:
    """Subjects share nothing."""


def rows(job: Job, loaded: None, options: Options) -> Iterator[Record | Problem]:
    """Yield the photos of one subject, each with the whole scan."""
    obj, lnd, *photos = job.sources
    missing = [str(p) for p in (obj, lnd) if not p.is_file()]
    if not _subject(photos[0].name):
        yield Problem(str(photos[0]), "its name does not start with a subject like F1001; left out")
        return
    if missing:
        yield Problem(" and ".join(missing), f"missing; {len(photos)} photos of this subject left out")
        return
    scan_mm, marks_mm = read_obj_vertices(obj), read_landmarks(lnd)
    extent = np.ptp(scan_mm, axis=0).max()
    if not FACE_MM[0] <= extent <= FACE_MM[1]:
        raise DataError(f"{obj} is {extent:.3g} units large; a head in millimetres is {FACE_MM[0]:.0f} or more")
    far = max(np.linalg.norm(scan_mm - m, axis=1).min() for m in marks_mm)
    if far > MARKS_NEAR_MM:
        raise DataError(f"{lnd}: a landmark is {far:.3g} mm from the scan {obj.name}; they do not belong together")
    skeleton, one = Skeleton.read("face3d"), np.ones((len(marks_mm), 1))
    for path in photos:
        try:
            width, height = images.photo_size(path)
        except DataError as e:
            yield left_out(str(path), e)
            continue
        yield Record(
            photo=path.relative_to(options.root).as_posix(),
            box_xywh_px=np.array([0.0, 0, width - 1, height - 1]),
            keypoints3d=Keypoints(skeleton, np.hstack([marks_mm, one])),
            extras={"vertices": scan_mm.astype(np.float32)},
        )


def read_obj_vertices(path: Path) -> NDArray[np.float64]:
    """Return the vertices (V, 3) of a Wavefront `.obj` file in its own unit, in the order of the file.

    Colours behind the coordinates are passed over. Raises AssetError if the file is missing, DataError if it has no
    vertices or a line is damaged.
    """
    lines = [line for line in read_bytes(path, MAX_OBJ_BYTES).splitlines() if line.startswith((b"v ", b"v\t"))]
    if not lines:
        raise DataError(f"{path} has no vertices (lines `v x y z`); it is no .obj mesh, get it again")
    fields = [line.split(None, 4)[1:4] for line in lines]
    try:
        out = np.array(fields, dtype=np.float64)
        if out.shape != (len(lines), 3) or not np.isfinite(out).all():
            raise ValueError("a coordinate is missing or not finite")
    except (ValueError, OverflowError) as e:
        raise DataError(f"{path}: a vertex is damaged ({str(e)[:120]}); get the scan again") from e
    return out


def read_landmarks(path: Path) -> NDArray[np.float64]:
    """Return the seven landmarks (7, 3) of a `.lnd` file: a line each, a label and then x, y, z.

    Raises AssetError if the file is missing, DataError naming the line that is no landmark, or if there are not seven.
    """
    lines = [line.split() for line in read_bytes(path, MAX_LND_BYTES).decode("utf-8", "replace").splitlines()]
    points = []
    for number, fields in enumerate(lines, 1):
        if not fields:
            continue
        try:
            point = [float(v) for v in fields[1:4]]
        except ValueError:
            point = []
        if len(point) != 3 or not np.isfinite(point).all():
            raise DataError(f"{path}, line {number}: {' '.join(fields)[:60]!r} is no landmark (label x y z)")
        points.append(point)
    want = Skeleton.read("face3d").names
    if len(points) != len(want):
        raise DataError(f"{path} has {len(points)} landmarks; the benchmark's {len(want)} are {', '.join(want)}")
    return np.array(points)


def _subject(name: str) -> str:
    """`F1001` of `f1001_xyz.jpg`; empty if the name starts otherwise."""
    match = _SUBJECT.match(name)
    return match[0].upper() if match else ""


def _by_subject(folder: Path, ending: str) -> dict[str, Path]:
    """Files SUBJECT_N.ENDING anywhere in `F_3D_N` and `M_3D_N`, whatever the case of their names."""
    found: dict[str, Path] = {}
    for top in ("F_3D_N", "M_3D_N"):
        for path in sorted((folder / top).rglob("*")):
            if path.name.lower() == f"{_subject(path.name)}_n{ending}".lower() and path.is_file():
                found.setdefault(_subject(path.name), path)
    return found
