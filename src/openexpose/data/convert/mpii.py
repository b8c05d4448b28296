"""MPII Human Pose: people in video frames with up to 16 joints, in one MATLAB struct. MATLAB counts pixels from 1."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openexpose.data.convert.common import (
    Job,
    Options,
    Problem,
    chunks,
    keypoint_box,
    left_out,
    need_folder,
    photo_problem,
)
from openexpose.data.convert.foreign import photo_name
from openexpose.data.record import Keypoints, Record
from openexpose.errors import AssetError, DataError
from openexpose.readers.mat import MatStruct, read_mat
from openexpose.skeleton import Skeleton

FILES = ("mpii_human_pose_v1_u12_1.mat", "mpii_human_pose_v1_u12_2/mpii_human_pose_v1_u12_1.mat")
_FIRST_PIXEL = 1.0


@dataclass(frozen=True, eq=False)
class Release:
    """The annotations, each photo's read when it is asked for."""

    file: Path
    photos: MatStruct
    in_train: NDArray[Any]
    """Of each photo: not 0 for training."""


def jobs(output: str, options: Options) -> Sequence[Job]:
    """Return pieces of the photos. DataError or AssetError if the raw data is not there or damaged."""
    if options.photos:
        need_folder(options.root / "images", "the photos; --no-photos does without")
    release = load(output, options)
    return chunks(len(release.photos), (release.file,))


def load(output: str, options: Options) -> Release:
    """Return the annotations. DataError or AssetError if the file is not there, damaged, or another one."""
    places = [options.root / name for name in FILES]
    file = next((p for p in places if p.is_file()), None)
    if file is None:
        raise DataError(f"{places[0]} is missing; it holds MPII's annotations. docs/data.md draws the tree")
    release = _one(read_mat(file, ["RELEASE"], lazily=True)["RELEASE"], ("annolist", "img_train"), str(file))
    photos, in_train = release["annolist"], np.atleast_1d(release["img_train"]).ravel()
    if not isinstance(photos, MatStruct) or in_train.dtype.kind not in "biuf" or len(photos) != len(in_train):
        raise DataError(f"{file}: annolist and img_train differ in length; the file is damaged, get it again")
    return Release(file, photos, in_train)


def rows(job: Job, loaded: Release, options: Options) -> Iterator[Record | Problem]:
    """Yield every person with joints in the training photos, in the order of the file (test photos have none)."""
    start, stop = (int(n or 0) for n in job.args)
    skeleton = Skeleton.read("mpii")
    for at in range(start, stop):
        if not loaded.in_train[at]:
            continue
        where = f"{loaded.file.name}, annolist({at + 1})"
        try:
            photo = loaded.photos.element(at)
            name = photo_name(_one(photo.get("image"), ("name",), where)["name"], where)
            found = [_points(one, len(skeleton), where) for one in _elements(photo.get("annorect"))]
        except (DataError, AssetError) as e:
            yield left_out(where, e, "photo")
            continue
        people = [xyc for xyc in found if xyc is not None]
        problem = photo_problem(options.root / "images" / name) if options.photos and people else None
        if problem is not None:
            yield problem
            continue
        for xyc in people:
            box = keypoint_box(xyc)
            if box is None:
                yield Problem(where, f"a person in {name} has a single joint; row left out")
                continue
            yield Record(photo=f"images/{name}", box_xywh_px=box, keypoints2d=Keypoints(skeleton, xyc))


def _points(person: dict[str, Any], count: int, where: str) -> NDArray[np.float64] | None:
    """(16, 3) pixels counted from 0, confidence 1 where annotated; None for a bare head box."""
    xyc = np.zeros((count, 3))
    for holder in _elements(person.get("annopoints")):
        for point in _elements(holder.get("point")):
            try:
                k, x, y = (float(point[n]) for n in ("id", "x", "y"))
            except (KeyError, TypeError, ValueError) as e:
                raise DataError(f"{where}: a point without id, x or y") from e
            if k not in range(count) or not np.isfinite([x, y]).all():
                raise DataError(f"{where}: joint {k:g} at {x:g}, {y:g}; joints are 0 to {count - 1}")
            xyc[int(k)] = x - _FIRST_PIXEL, y - _FIRST_PIXEL, 1
    return xyc if xyc[:, 2].any() else None


def _elements(value: Any) -> list[dict[str, Any]]:
    """Elements of a struct array; none for the empty matrix that stands for nothing."""
    return list(value) if isinstance(value, MatStruct) else []


def _one(value: Any, fields: tuple[str, ...], where: str) -> dict[str, Any]:
    elements = _elements(value)
    if len(elements) != 1 or any(f not in elements[0] for f in fields):
        raise DataError(f"{where}: no struct with {', '.join(fields)}; it is no MPII release, or damaged")
    return elements[0]
