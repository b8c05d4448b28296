"""3DPW: SMPL parameters of one or two people in moving-camera videos (spec 6.2). The test set is the benchmark.

`global_orient` is turned into the camera's axes; poses and shape stay as fitted, in the SMPL of `meta/gender`. The box
surrounds the 2D detections that the files hold. `cam_param` is the photo's camera (K, R, T: world to camera); where the
person stands in the world (the files' `trans`) is not kept.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from openexpose.data.convert.common import (
    Job,
    Options,
    Problem,
    keypoint_box,
    need_folder,
    need_keys,
    photo_problem,
    same_length,
)
from openexpose.data.record import Record
from openexpose.errors import DataError
from openexpose.readers import read_pickle
from openexpose.readers.json_files import numbers

WANTED = ("sequence", "poses", "betas", "poses2d", "cam_poses", "cam_intrinsics", "campose_valid", "genders")


def jobs(output: str, options: Options) -> Sequence[Job]:
    """One piece for each sequence of the split that the output is named after; with quirks in the file system's order.

    The reference's order is that of `os.listdir`, which differs between machines.
    """
    split = output.rpartition("_")[2]
    folder = need_folder(options.root / "sequenceFiles" / split, "the sequences' .pkl files of sequenceFiles.zip")
    if options.photos:
        need_folder(options.root / "imageFiles", "a folder of photos for each sequence (or give --no-photos)")
    names = [n for n in os.listdir(folder) if n.endswith(".pkl")]  # noqa: PTH208 - its order is the quirk
    if not names:
        raise DataError(f"{folder} has no .pkl file; unpack sequenceFiles.zip again")
    return [Job(n, (folder / n,)) for n in (names if options.reference_quirks else sorted(names))]


def load(output: str, options: Options) -> None:
    """Nothing is shared."""


def rows(job: Job, loaded: None, options: Options) -> Iterator[Record | Problem]:
    """Yield a sequence person by person, frames whose camera is known."""
    path = job.sources[0]
    content = read_pickle(path)
    need_keys(content if isinstance(content, Mapping) else {}, WANTED, path)
    same_length({k: content[k] for k in ("poses", "betas", "poses2d", "campose_valid", "genders")}, path)
    T = numbers(content["cam_poses"], (None, 4, 4), f"{path}: cam_poses")
    K = numbers(content["cam_intrinsics"], (3, 3), f"{path}: cam_intrinsics")
    photos = _Photos(options, str(content["sequence"]))
    for person in range(len(content["poses"])):
        yield from _person(content, person, path, K, T, photos)


class _Photos:
    """Names of a sequence's photos and what is wrong with them; each is looked at once, whoever stands in it."""

    def __init__(self, options: Options, sequence: str) -> None:
        self.options, self.sequence = options, sequence
        self._known: dict[str, Problem | None] = {}

    def name(self, frame: int) -> str:
        return f"imageFiles/{self.sequence}/image_{frame:05d}.jpg"

    def problem(self, name: str) -> Problem | None:
        if not self.options.photos:
            return None
        if name not in self._known:
            self._known[name] = photo_problem(self.options.root / name)
        return self._known[name]


def _person(
    content: Mapping[str, Any], person: int, path: Path, K: np.ndarray, T: np.ndarray, photos: _Photos
) -> Iterator[Record | Problem]:
    where = f"{path}, person {person}"
    frames = len(T)
    pose = numbers(content["poses"][person], (None, 72), f"{where}: poses")
    seen = numbers(content["poses2d"][person], (None, 3, 18), f"{where}: poses2d")
    valid = numbers(content["campose_valid"][person], (None,), f"{where}: campose_valid")
    betas = numbers(content["betas"][person], (None,), f"{where}: betas")[:10]
    gender = str(content["genders"][person])
    if gender not in ("m", "f"):
        raise DataError(f"{where}: gender {gender!r} is neither 'm' nor 'f'")
    same_length({"cam_poses": T, "poses": pose, "poses2d": seen, "campose_valid": valid}, Path(where))
    R = T[:, :3, :3]
    orient = Rotation.from_matrix(R @ Rotation.from_rotvec(pose[:, :3]).as_matrix()).as_rotvec()
    for i in (int(f) for f in range(frames) if valid[f]):
        name = photos.name(i)
        box = keypoint_box(seen[i].T)
        problem = photos.problem(name)
        if problem is None and box is None:
            problem = Problem(f"{where}, frame {i}", "no two 2D points were detected, so it has no box; row left out")
        if problem is not None:
            yield problem
            continue
        yield Record(
            photo=name,
            box_xywh_px=box,
            params={"body_pose": pose[i, 3:].reshape(23, 3), "global_orient": orient[i], "betas": betas},
            family="smpl",
            extras={"meta/gender": gender, "cam_param": {"K": K, "R": R[i], "T": T[i, :3, 3]}},
        )
