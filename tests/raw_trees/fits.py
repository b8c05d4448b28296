"""Miniatures of the fits on ExPose's site: ExPose_curated_fits/train.npz, spin_in_smplx/*.npz, their photos."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from openexpose.skeleton import Skeleton
from tests.raw_trees.drawing import save_photo
from tests.raw_trees.people import Person

_PHOTOS = {"coco": "coco/train2014", "lsp": "lsp/lsp_dataset_original/images", "lspet": "lsp/lspet/images",
           "mpii": "mpii/images"}  # fmt: skip
_STORED = {"coco": "train2014/COCO_{:012d}.jpg", "lsp": "images/im{:04d}.jpg", "lspet": "im{:05d}.jpg",
           "mpii": "images/{:09d}.jpg"}  # fmt: skip
_SPIN_POINTS = ("right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle", "right_wrist",
                "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist", "neck", "head", "pelvis",
                "spine_3", "spine_2", "jaw", "head", "nose", "left_eye", "right_eye", "left_ear",
                "right_ear")  # fmt: skip


def fullpose(person: Person, joints: int = 55) -> NDArray[np.float64]:
    """(joints, 3): global, 21 of the body, jaw, two eyes unless 53, 15 left, 15 right."""
    p = person.params
    eyes = np.full((joints - 53, 3), 0.01)
    return np.concatenate([p["global_orient"][None], p["body_pose"], p["jaw_pose"][None], eyes,
                           p["left_hand_pose"], p["right_hand_pose"]])  # fmt: skip


def write_curated_fits(root: Path, people: Sequence[Person], *, joints: int = 55) -> NDArray[np.float64]:
    """Write train.npz, and the photos beside `root`, which becomes `datasets/ExPose_curated_fits`.

    Returns OpenPose's points (N, 137, 3): one below each part's threshold, one at it, one of negative confidence.
    """
    skeleton = Skeleton.read("openpose_137")
    xyc = np.stack([np.column_stack([p.seen(skeleton), np.full(137, 0.9)]) for p in people])
    for name, confidence in LOW.items():
        xyc[:, skeleton.index(name), 2] = confidence
    names = [f"coco/train2014/COCO_train2014_{i:012d}.jpg" for i in range(len(people))]
    for name, person in zip(names, people, strict=True):
        save_photo(root.parent / name, person.photo)
    root.mkdir(parents=True, exist_ok=True)
    np.savez(
        root / "train.npz",
        img_fns=np.array(names),
        betas=np.stack([p.params["betas"] for p in people]).astype(np.float32),
        expression=np.stack([p.params["expression"] for p in people]).astype(np.float32),
        keypoints2D=xyc.astype(np.float32),
        pose=np.stack([fullpose(p, joints) for p in people]).astype(np.float32),
        indices=np.arange(len(people)),
    )
    return xyc


LOW = {"right_ankle": 0.09, "left_ankle": 0.11, "right_index_1": 0.15, "right_index_2": 0.25, "nose": 0.39,
       "left_ear": 0.41, "left_heel": -0.2}  # fmt: skip
"""Confidences beside the thresholds 0.1 (body), 0.2 (hands), 0.4 (head)."""


def write_spin_smplx(root: Path, people: Sequence[Person], *, fitted: int = 1) -> dict[str, NDArray[np.float64]]:
    """Write the four .npz files, and the photos beside `root`, which becomes `datasets/spin_in_smplx`.

    fitted: the last rows of each file, all of one person a file, that have a fit; the rows before have none.
    lsp.npz has 26 rows before; in row 26 shoulder and wrist are swapped as in the real file.
    Returns the true points (24, 3) of each file's person.
    """
    truth = {}
    for k, (name, folder) in enumerate(_PHOTOS.items()):
        count = (26 if name == "lsp" else 1) + fitted
        person = people[k % len(people)]
        points = np.stack([person.points_px[n] for n in _SPIN_POINTS])
        points = np.column_stack([points, np.linspace(0.45, 1, 24)])
        points[5, 2] = 0
        stored = points[[*range(9), 11, 10, 9, *range(12, 24)]] if name == "lsp" else points
        rows = np.tile(points, (count, 1, 1))
        rows[-fitted] = stored
        box = person.box_xywh
        photos = [_STORED[name].format(i + 1) for i in range(count)]
        for photo in photos[-fitted:]:
            save_photo(root.parent / folder / photo.rsplit("/", 1)[-1], person.photo)
        root.mkdir(parents=True, exist_ok=True)
        np.savez(
            root / f"{name}.npz",
            has_smpl=np.arange(count) >= count - fitted,
            pose=np.tile(fullpose(person).ravel(), (count, 1)),
            betas=np.tile(person.params["betas"], (count, 1)),
            part=rows,
            imgname=np.array(photos),
            center=np.tile(box[:2] + box[2:] / 2, (count, 1)),
            scale=np.full(count, box[2:].max() / 200),
        )
        truth[name] = points
    return truth
