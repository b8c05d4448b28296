"""MPII Human Pose: people in video frames with up to 16 joints, in one MATLAB struct. MATLAB counts pixels from 1."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openexpose.data.convert.common import Job, Options, Problem, keypoint_box, need_folder, photo_problem
from openexpose.data.convert.foreign import photo_name
from openexpose.data.record import Keypoints, Record
from openexpose.errors import DataError
from openexpose.readers.mat import MatStruct, read_mat
from openexpose.skeleton import Skeleton

FILES = ("mpii_human_pose_v1_u12_1.mat", "mpii_human_pose_v1_u12_2/mpii_human_pose_v1_u12_1.mat")
_FIRST_PIXEL = 1.0


def jobs(output: str, options: Options) -> Sequence[Job]:
    """Return the one piece: reading the file is most of the work. DataError if the raw data is not there."""
    if options.photos:
        need_folder(options.root / "images", "the photos; --no-photos does without")
    for name in FILES:
        if (options.root / name).is_file():
            return [Job(name, (options.root / name,))]
    raise DataError(f"{options.root / FILES[0]} is missing; it holds MPII's annotations. docs/data.md draws the tree")


def load(output: str, options: Options) -> None:
    """Nothing is shared."""


def rows(job: Job, loaded: None, options: Options) -> Iterator[Record | Problem]:
    """Yield every person with joints in the training photos, in the order of the file (test photos have none)."""
    file, skeleton = job.sources[0], Skeleton.read("mpii")
    release = _one(read_mat(file, ["RELEASE"])["RELEASE"], ("annolist", "img_train"), str(file))
    photos, in_train = release["annolist"], np.atleast_1d(release["img_train"]).ravel()
    if not isinstance(photos, MatStruct) or len(photos) != len(in_train):
        raise DataError(f"{file}: annolist and img_train differ in length; the file is damaged, get it again")
    for at, (photo, train) in enumerate(zip(photos, in_train, strict=True)):
        if not train:
            continue
        where = f"{file.name}, annolist({at + 1})"
        try:
            name = photo_name(_one(photo.get("image"), ("name",), where)["name"], where)
            found = [_points(one, len(skeleton), where) for one in _elements(photo.get("annorect"))]
        except DataError as e:
            yield Problem(where, f"{e}; photo left out")
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
