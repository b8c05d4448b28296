"""A folder of photos with OpenPose detections: `images/` and `keypoints/NAME_keypoints.json` (BODY_25, hands, face).

Points below the confidence that the original ExPose asks of such folders (body 0.05, hands 0.2, face 0.4) are unknown;
the others keep theirs. Its people with fewer than six known points are left out, as there.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from openexpose import images
from openexpose.data.convert.common import Job, Options, Problem, keypoint_box, left_out, need_folder, photo_problem
from openexpose.data.record import Keypoints, Record
from openexpose.errors import AssetError, DataError
from openexpose.readers.openpose import ENDING, body_25, read_openpose, sure
from openexpose.skeleton import Skeleton

FEWEST_POINTS = 6
CHUNK_FILES = 500


def jobs(output: str, options: Options) -> Sequence[Job]:
    """Return pieces of the detection files, by name. DataError if there are none."""
    folder = need_folder(options.root / "keypoints", f"OpenPose's NAME{ENDING} files")
    need_folder(options.root / "images", "the photos the detections belong to")
    files = sorted(p for p in folder.iterdir() if p.name.endswith(ENDING))
    if not files:
        raise DataError(f"{folder} holds no NAME{ENDING} files; run OpenPose with --write_json {folder}")
    groups = [files[i : i + CHUNK_FILES] for i in range(0, len(files), CHUNK_FILES)]
    return [Job(f"from {g[0].name}", tuple(g)) for g in groups]


def load(output: str, options: Options) -> Mapping[str, str]:
    """Return photo name without its ending -> file name."""
    return {p.stem: p.name for p in images.list_photos(options.root / "images")}


def rows(job: Job, loaded: Mapping[str, str], options: Options) -> Iterator[Record | Problem]:
    """Yield every detected person; a photo of several gives several rows."""
    skeleton = Skeleton.read("openpose_137")
    for file in job.sources:
        stem = file.name.removesuffix(ENDING)
        photo = loaded.get(stem)
        if photo is None:
            yield Problem(str(file), f"no photo images/{stem}.*; its people left out")
            continue
        problem = photo_problem(options.root / "images" / photo) if options.photos else None
        if problem is not None:
            yield problem
            continue
        try:
            people = [body_25(sure(p), f"{file}, person {k}") for k, p in enumerate(read_openpose(file))]
        except (AssetError, DataError) as e:
            yield left_out(str(file), e, "its people")
            continue
        for k, xyc in enumerate(people):
            xyc[:, 2] = np.clip(xyc[:, 2], 0, 1)
            known, box = int((xyc[:, 2] > 0).sum()), keypoint_box(xyc)
            if known < FEWEST_POINTS or box is None:
                yield Problem(f"{file}, person {k}", f"{known} known points, fewer than {FEWEST_POINTS}; row left out")
                continue
            yield Record(photo=f"images/{photo}", box_xywh_px=box, keypoints2d=Keypoints(skeleton, xyc))
