"""ExPose's curated SMPL-X fits (spec 6.2): one `train.npz`, photos of COCO, MPII, LSP and LSPET beside its folder."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from openexpose.data.convert.common import (
    Job,
    Options,
    Problem,
    chunks,
    keypoint_box,
    left_out,
    need_file,
    photo_problem,
    row_count,
    same_length,
)
from openexpose.data.convert.foreign import photo_name
from openexpose.data.record import Keypoints, Record
from openexpose.errors import DataError
from openexpose.readers import read_npz
from openexpose.readers.json_files import numbers
from openexpose.skeleton import Skeleton
from openexpose.skeleton.skeleton import Part

WANTED = ("img_fns", "betas", "expression", "keypoints2D", "pose")
LEAST: Mapping[Part, float] = {"body": 0.1, "left_hand": 0.2, "right_hand": 0.2, "head": 0.4}
"""OpenPose confidence from which a point counts, by part."""


def binarised(
    xyc: Shaped[np.ndarray, "*N K 3"], skeleton: Skeleton, least: Mapping[Part, float] = LEAST
) -> Float[np.ndarray, "*N K 3"]:
    """Return points with confidence 1 where it reaches the least of its part, else 0 (as the reference trains)."""
    limit = np.empty(len(skeleton))
    for part, value in least.items():
        limit[list(skeleton.part(part))] = value
    out = np.array(xyc, np.float64)
    out[..., 2] = out[..., 2] >= limit
    return out


def jobs(output: str, options: Options) -> Sequence[Job]:
    """Pieces of equal size. Raises DataError if `train.npz` is not there or no such file."""
    path = need_file(options.root / "train.npz", "the fits, as ExPose's site offers them")
    return chunks(row_count(path, WANTED), (path,))


def load(output: str, options: Options) -> dict[str, np.ndarray]:
    """The columns of `train.npz`. Raises DataError if they contradict each other."""
    path = options.root / "train.npz"
    found = read_npz(path, WANTED)
    count = same_length(found, path)
    shapes = {"betas": (10,), "expression": (10,), "keypoints2D": (137, 3)}
    columns: dict[str, np.ndarray] = {k: numbers(found[k], (None, *s), f"{path}: {k}") for k, s in shapes.items()}
    columns["img_fns"] = found["img_fns"]
    pose = found["pose"]
    by_joint = pose.reshape(count, -1, 3) if pose.ndim == 2 and pose.shape[1] and pose.shape[1] % 3 == 0 else pose
    columns["pose"] = numbers(by_joint, (None, None, 3), f"{path}: pose")
    if columns["pose"].shape[1] not in (53, 55):
        raise DataError(f"{path}: 'pose' has {columns['pose'].shape[1]} joints; 55 are SMPL-X's, 53 without eyes")
    return columns


def rows(job: Job, loaded: Mapping[str, np.ndarray], options: Options) -> Iterator[Record | Problem]:
    """Yield fits start to stop - 1. Photos are relative to the folder that holds this data set's."""
    path, (start, stop) = job.sources[0], job.args
    skeleton = Skeleton.read(_convention(options))
    for i in range(int(start or 0), int(stop or 0)):
        where = f"{path}, row {i}"
        try:
            photo = photo_name(loaded["img_fns"][i], where)
        except DataError as e:
            yield left_out(where, e)
            continue
        problem = photo_problem(options.root.parent / photo) if options.photos else None
        xyc = binarised(loaded["keypoints2D"][i], skeleton)
        box = keypoint_box(xyc)
        params = split_smplx(loaded["pose"][i]) | {k: loaded[k][i] for k in ("betas", "expression")}
        if problem is None and box is None:
            problem = Problem(where, "no two keypoints are sure enough for a box; row left out")
        if problem is None and not all(np.isfinite(v).all() for v in (xyc, *params.values())):
            problem = Problem(where, "holds a value that is not finite; row left out")
        yield problem or Record(photo, box, Keypoints(skeleton, xyc), params=params, family="smplx")


def split_smplx(pose: Float[np.ndarray, "J 3"]) -> dict[str, Any]:
    """Return the blocks of a SMPL-X pose of 55 joints, or of 53 without eyes, by name (axis-angle, radians)."""
    pose = np.asarray(pose, np.float64)
    hands = len(pose) - 30
    return {
        "global_orient": pose[0],
        "body_pose": pose[1:22],
        "jaw_pose": pose[22],
        "left_hand_pose": pose[hands : hands + 15],
        "right_hand_pose": pose[hands + 15 :],
    }


def _convention(options: Options) -> str:
    return "openpose_137_mmhuman3d" if options.reference_quirks else "openpose_137"
