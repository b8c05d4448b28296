"""Leeds Sports Poses, original and extended: photos and 14 joints in a MATLAB file.

The original's third row marks joints that are hidden but placed all the same: every joint counts. The extended set's
third column is 1 where a joint was annotated; elsewhere the position means nothing. Positions are kept as they stand.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from openexpose.data.convert.common import (
    Job,
    Options,
    Problem,
    chunks,
    keypoint_box,
    need_file,
    need_folder,
    photo_problem,
)  # fmt: skip
from openexpose.data.record import Keypoints, Record
from openexpose.errors import DataError
from openexpose.readers.json_files import numbers
from openexpose.readers.mat import read_mat
from openexpose.skeleton import Skeleton

FILE = "joints.mat"
_JOINTS = 14


def jobs(output: str, options: Options) -> Sequence[Job]:
    """Return pieces of the photos of an output. DataError if the raw data is not there."""
    if options.photos:
        need_folder(options.root / "images", "the photos; --no-photos does without")
    return chunks(len(load(output, options).xyc_px), (options.root / FILE,))


@dataclass(frozen=True, eq=False)
class People:
    """The people of an output, one a photo."""

    skeleton: Skeleton
    first: int
    """Number of the first photo."""
    digits: int
    """Of the numbers in the photos' names."""
    xyc_px: NDArray[np.float64]
    """(N, 14, 3)."""


def load(output: str, options: Options) -> People:
    """Return the people of an output.

    The first half of the original set is for training, the second for testing; the extended set is all for training.
    Raises AssetError or DataError for a file that is damaged or another one.
    """
    file = need_file(options.root / FILE, "the joints of all photos")
    joints = numbers(read_mat(file, ["joints"])["joints"], (None, None, None), f"{file}: joints")
    want = (_JOINTS, 3) if output == "lspet_train" else (3, _JOINTS)
    if joints.shape[:2] != want:
        raise DataError(
            f"{file}: joints are {' x '.join(map(str, joints.shape))}, not {want[0]} x {want[1]} x N; "
            "the original set has 3 x 14 x 2000, the extended one 14 x 3 x 10000"
        )
    if output == "lspet_train":
        xyc = np.array(joints.transpose(2, 0, 1))
        xyc[..., 2] = xyc[..., 2] > 0
        xyc[xyc[..., 2] == 0] = 0
        return People(Skeleton.read("lspet"), 1, 5, xyc)
    xyc = np.array(joints.transpose(2, 1, 0))
    xyc[..., 2] = 1
    half = len(xyc) // 2
    first, part = (1, xyc[:half]) if output == "lsp_train" else (half + 1, xyc[half:])
    return People(Skeleton.read("lsp"), first, 4, part)


def rows(job: Job, loaded: People, options: Options) -> Iterator[Record | Problem]:
    """Yield one person a photo."""
    start, stop = (int(n or 0) for n in job.args)
    for i in range(start, stop):
        photo, xyc = f"images/im{loaded.first + i:0{loaded.digits}d}.jpg", loaded.xyc_px[i]
        if not np.isfinite(xyc).all():
            yield Problem(photo, "its joints are not finite; row left out")
            continue
        problem = photo_problem(options.root / photo) if options.photos else None
        box = keypoint_box(xyc)
        if problem is not None or box is None:
            yield problem or Problem(photo, "fewer than two joints are annotated; row left out")
            continue
        yield Record(photo=photo, box_xywh_px=box, keypoints2d=Keypoints(loaded.skeleton, xyc))
