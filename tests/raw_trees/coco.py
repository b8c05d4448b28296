"""Miniature COCO keypoints and COCO-WholeBody: photos, and the json files of either."""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from openexpose.skeleton import Skeleton
from tests.raw_trees.drawing import save_photo
from tests.raw_trees.people import person

PARTS = {"keypoints": 17, "foot_kpts": 6, "face_kpts": 68, "lefthand_kpts": 21, "righthand_kpts": 21}
"""COCO-WholeBody's lists of points, in the order of its 133."""


def write_coco(
    root: Path, *, year: str = "2017", count: int = 4, seed: int = 2, drawn: bool = True, wholebody: bool = True
) -> NDArray[np.float64]:
    """Write train and val photos, person_keypoints_*.json, and coco_wholebody_*_v1.0.json.

    root: becomes `datasets/coco`. Besides the people there are a crowd and a person without keypoints.
    Returns (N, 133, 3) of the training people: pixels and COCO's flag (0 not labelled, 1 hidden, 2 visible).
    """
    truth = {}
    for k, split in enumerate(("train", "val")):
        truth[split] = _write_split(root, f"{split}{year}", split, count, seed + 100 * k, drawn, wholebody)
    return truth["train"]


def _write_split(
    root: Path, folder: str, split: str, count: int, seed: int, drawn: bool, wholebody: bool
) -> NDArray[np.float64]:
    skeleton, rng = Skeleton.read("coco_wholebody"), np.random.default_rng(seed)
    images, plain, whole, rows = [], [], [], []
    for i in range(count):
        one = person(1000 * seed + i, drawn=drawn)
        height, width = one.photo.shape[:2]
        number = 7 * (count - i) + 9  # ids are in no order
        name = f"{number:012d}.jpg" if "2017" in folder else f"COCO_{folder}_{number:012d}.jpg"
        save_photo(root / folder / name, one.photo)
        images.append({"id": number, "file_name": name, "width": width, "height": height, "license": 1})
        xyv = np.column_stack([np.round(one.seen(skeleton), 3), rng.choice([0, 1, 2], 133, p=[0.1, 0.2, 0.7])])
        xyv[5, 2] = 2
        xyv[xyv[:, 2] == 0] = 0
        rows.append(xyv)
        common = {
            "id": 1000 + i, "image_id": number, "category_id": 1, "iscrowd": 0, "bbox": one.box_xywh.round(2).tolist(),
            "area": float(one.box_xywh[2:].prod()), "num_keypoints": int((xyv[:17, 2] > 0).sum()),
            "segmentation": [[1, 1, 5, 1, 5, 5]],
        }  # fmt: skip
        plain.append({**common, "keypoints": xyv[:17].ravel().tolist()})
        whole.append({**common, **_parts(xyv, valid=i != 1)})
    empty = {**plain[0], "id": 5000, "num_keypoints": 0, "keypoints": [0] * 51}
    crowd = {**plain[0], "id": 5001, "iscrowd": 1, "segmentation": {"counts": [3], "size": [5, 5]}}
    nothing = {k: [0.0] * 3 * n for k, n in PARTS.items()}
    flags = {f"{k}_valid": False for k in ("foot", "face", "lefthand", "righthand")}
    files = {f"person_keypoints_{folder}.json": [*plain, empty, crowd]}
    if wholebody:
        files[f"coco_wholebody_{split}_v1.0.json"] = [*whole, {**empty, **nothing, **flags}]
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    for file, annotations in files.items():
        content = {"info": {}, "images": images, "annotations": annotations, "categories": [{"id": 1}]}
        (root / "annotations" / file).write_text(json.dumps(content))
    return np.stack(rows)


def _parts(xyv: NDArray[np.float64], *, valid: bool) -> dict[str, object]:
    """COCO-WholeBody's fields; where the face is not valid its numbers are junk."""
    out: dict[str, object] = {}
    start = 0
    for name, count in PARTS.items():
        out[name] = xyv[start : start + count].ravel().tolist()
        start += count
        if name != "keypoints":
            out[name.replace("_kpts", "_valid")] = valid or name != "face_kpts"
    return out
