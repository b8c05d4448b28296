"""FFHQ faces with the FLAME fits of ExPose's training data (`ffhq_annotations.npz`)."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openexpose.data.convert.common import (
    Job,
    Options,
    Problem,
    chunks,
    left_out,
    need_file,
    need_folder,
    need_keys,
    photo_problem,
    same_length,
)
from openexpose.data.convert.foreign import photo_name
from openexpose.data.record import Keypoints, Record
from openexpose.errors import DataError
from openexpose.readers import read_npz
from openexpose.readers.json_files import numbers
from openexpose.skeleton import Skeleton

SIDE_PX = 1024
TRAIN_SHARE = 0.8
PHOTOS = "ffhq_global_images_1024"
FILE = "ffhq_annotations.npz"
_SHAPES = {
    "global_pose": (None, 3), "jaw_pose": (None, 3), "betas": (None, 100), "expression": (None, 50),
    "keypoints2d": (None, 73, 2), "img_fnames": (None,),
}  # fmt: skip

Columns = dict[str, NDArray[Any]]


def jobs(output: str, options: Options) -> Sequence[Job]:
    """Return pieces of the first four fifths (train) or of the rest (val). DataError if the raw data is not there."""
    if options.photos:
        need_folder(options.root / PHOTOS, "FFHQ's photos of 1024 x 1024; --no-photos does without")
    return chunks(len(load(output, options)["betas"]), (options.root / FILE,))


def load(output: str, options: Options) -> Columns:
    """Return the annotations of an output. AssetError or DataError for a file that is damaged or another one."""
    file = need_file(options.root / FILE, "the FLAME fits to FFHQ, from the ExPose site")
    found = read_npz(file)
    need_keys(found, list(_SHAPES), file)
    count = same_length({k: found[k] for k in _SHAPES}, file)
    columns: Columns = {k: numbers(found[k], s, f"{file}: {k}") for k, s in _SHAPES.items() if k != "img_fnames"}
    columns["img_fnames"] = np.asarray([_text(v) for v in found["img_fnames"].reshape(-1).tolist()], object)
    first = int(TRAIN_SHARE * count)
    part = slice(0, first) if output == "ffhq_flame_train" else slice(first, count)
    return {k: v[part] for k, v in columns.items()}


def rows(job: Job, loaded: Columns, options: Options) -> Iterator[Record | Problem]:
    """Yield one face a photo."""
    start, stop = (int(n or 0) for n in job.args)
    skeleton = Skeleton.read("flame")
    for i in range(start, stop):
        where = f"{options.root / FILE}, row {i}"
        try:
            photo = f"{PHOTOS}/{photo_name(loaded['img_fnames'][i], where)}"
        except DataError as e:
            yield left_out(where, e)
            continue
        values = {k: v[i] for k, v in loaded.items() if k != "img_fnames"}
        broken = [k for k, v in values.items() if not np.isfinite(v).all()]
        problem = Problem(where, f"{', '.join(broken)} not finite; row left out") if broken else None
        if problem is None and options.photos:
            problem = photo_problem(options.root / photo, size_px=(SIDE_PX, SIDE_PX))
        if problem is not None:
            yield problem
            continue
        yield Record(
            photo=photo,
            box_xywh_px=np.array([0.0, 0, SIDE_PX, SIDE_PX]),
            keypoints2d=Keypoints(skeleton, np.hstack([values["keypoints2d"], np.ones((len(skeleton), 1))])),
            params={
                "global_orient": values["global_pose"],
                "jaw_pose": values["jaw_pose"],
                "betas": values["betas"],
                "expression": values["expression"],
            },
            family="smplx",
        )


def _text(value: object) -> object:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
