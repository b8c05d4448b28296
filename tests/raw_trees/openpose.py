"""A miniature folder of OpenPose detections: images/ and keypoints/NAME_keypoints.json."""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from openexpose.skeleton import Skeleton
from tests.raw_trees.drawing import save_photo
from tests.raw_trees.people import person

PARTS = {"pose": 25, "hand_left": 21, "hand_right": 21, "face": 70}


def write_openpose(root: Path, *, seed: int = 5, drawn: bool = True) -> dict[str, NDArray[np.float64]]:
    """Write two photos with one person each, one without people; the second person has no hands and no face.

    Returns photo -> (137, 3) pixels and confidences as detected.
    """
    skeleton, rng, truth = Skeleton.read("openpose_137"), np.random.default_rng(seed), {}
    for i, name in enumerate(("beach.jpg", "street.v2.png")):
        one = person(1000 * seed + i, drawn=drawn)
        save_photo(root / "images" / name, one.photo)
        xyc = np.column_stack([one.seen(skeleton), rng.uniform(0.5, 1.02, 137)])
        xyc[rng.choice(25, 3, replace=False)] = 0  # not found
        if i == 1:
            xyc[25:] = 0
        truth[name] = xyc
        _write(root / "keypoints" / f"{name.rsplit('.', 1)[0]}_keypoints.json", [xyc], with_parts=i == 0)
    save_photo(root / "images" / "empty.jpg", person(9, drawn=False).photo)
    _write(root / "keypoints" / "empty_keypoints.json", [], with_parts=True)
    return truth


def _write(path: Path, people: list[NDArray[np.float64]], *, with_parts: bool) -> None:
    entries = []
    for xyc in people:
        entry: dict[str, object] = {"person_id": [-1]}
        start = 0
        for part, count in PARTS.items():
            flat = xyc[start : start + count].ravel().tolist()
            entry[f"{part}_keypoints_2d"] = flat if with_parts or part == "pose" else []
            start += count
        entries.append({**entry, "pose_keypoints_3d": [], "face_keypoints_3d": []})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"version": 1.3, "people": entries}))
