"""A folder of photos with OpenPose detections: `images/` and `keypoints/NAME_keypoints.json` (BODY_25, hands, face).

Points below the confidence that the original ExPose asks of such folders (body 0.05, hands 0.2, face 0.4) are unknown;
the others keep theirs. Its people with fewer than six known points are left out, as there.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openexpose import images
from openexpose.data.convert.common import Job, Options, Problem, keypoint_box, left_out, need_folder, photo_problem
from openexpose.data.convert.foreign import numbers, read_json
from openexpose.data.record import Keypoints, Record
from openexpose.errors import DataError
from openexpose.skeleton import Skeleton

PARTS = {
    "pose_keypoints_2d": (25, 0.05), "hand_left_keypoints_2d": (21, 0.2), "hand_right_keypoints_2d": (21, 0.2),
    "face_keypoints_2d": (70, 0.4),
}  # fmt: skip
"""OpenPose's list, its number of points, and the least confidence of a known one."""
FEWEST_POINTS = 6
CHUNK_FILES = 500
_ENDING = "_keypoints.json"


def jobs(output: str, options: Options) -> Sequence[Job]:
    """Return pieces of the detection files, by name. DataError if there are none."""
    folder = need_folder(options.root / "keypoints", f"OpenPose's NAME{_ENDING} files")
    need_folder(options.root / "images", "the photos the detections belong to")
    files = sorted(p for p in folder.iterdir() if p.name.endswith(_ENDING))
    if not files:
        raise DataError(f"{folder} holds no NAME{_ENDING} files; run OpenPose with --write_json {folder}")
    groups = [files[i : i + CHUNK_FILES] for i in range(0, len(files), CHUNK_FILES)]
    return [Job(f"from {g[0].name}", tuple(g)) for g in groups]


def load(output: str, options: Options) -> Mapping[str, str]:
    """Return photo name without its ending -> file name."""
    return {p.stem: p.name for p in images.list_photos(options.root / "images")}


def rows(job: Job, loaded: Mapping[str, str], options: Options) -> Iterator[Record | Problem]:
    """Yield every detected person; a photo of several gives several rows."""
    skeleton = Skeleton.read("openpose_137")
    for file in job.sources:
        stem = file.name.removesuffix(_ENDING)
        photo = loaded.get(stem)
        if photo is None:
            yield Problem(str(file), f"no photo images/{stem}.*; its people left out")
            continue
        problem = photo_problem(options.root / "images" / photo) if options.photos else None
        if problem is not None:
            yield problem
            continue
        try:
            people = read_people(file)
        except DataError as e:
            yield left_out(str(file), e, "its people")
            continue
        for k, found in enumerate(people):
            xyc = _known(found)
            known, box = int((xyc[:, 2] > 0).sum()), keypoint_box(xyc)
            if known < FEWEST_POINTS or box is None:
                yield Problem(f"{file}, person {k}", f"{known} known points, fewer than {FEWEST_POINTS}; row left out")
                continue
            yield Record(photo=f"images/{photo}", box_xywh_px=box, keypoints2d=Keypoints(skeleton, xyc))


def read_people(path: Path) -> list[NDArray[np.float64]]:
    """Return the people of an OpenPose json file, each (137, 3) pixels and confidence as they stand.

    Order of `openpose_137`. Hands or face that were not looked for are zero.

    Raises AssetError if the file is missing or no json, DataError
    if it is not OpenPose's, or of another body model than BODY_25.
    """
    content = read_json(path)
    people = content.get("people") if isinstance(content, dict) else None
    if not isinstance(people, list):
        raise DataError(f"{path} has no list `people`; it is no OpenPose file")
    return [_person(one, f"{path}, person {k}") for k, one in enumerate(people)]


def _person(entry: Any, where: str) -> NDArray[np.float64]:
    if not isinstance(entry, Mapping) or "pose_keypoints_2d" not in entry:
        old = "; its version is older than 1.2" if isinstance(entry, Mapping) and "pose_keypoints" in entry else ""
        raise DataError(f"{where} has no pose_keypoints_2d{old}; run OpenPose with --model_pose BODY_25")
    parts = []
    for name, (count, _) in PARTS.items():
        flat = entry.get(name) or []
        if not isinstance(flat, list) or len(flat) not in (0, 3 * count):
            raise DataError(
                f"{where}: {name} should be {count} points, three numbers each; run OpenPose with --model_pose BODY_25"
            )
        xyc = numbers(flat, (None,), f"{where}: {name}").reshape(-1, 3) if flat else np.zeros((count, 3))
        if not np.isfinite(xyc).all():
            raise DataError(f"{where}: {name} is not finite")
        parts.append(xyc)
    return np.concatenate(parts)


def _known(xyc: NDArray[np.float64]) -> NDArray[np.float64]:
    """The points with confidences from 0 to 1; those below the least of their part are zero."""
    least = np.concatenate([np.full(count, at) for count, at in PARTS.values()])
    out = np.column_stack([xyc[:, :2], np.clip(xyc[:, 2], 0, 1)])
    return np.where(xyc[:, 2:] >= least[:, None], out, 0)
