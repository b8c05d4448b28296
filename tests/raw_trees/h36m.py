"""A miniature Human3.6M: poses of 32 joints as .cdf, silhouettes as MATLAB 7.3 cells, photos."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from openexpose.geometry.camera import PerspectiveCamera
from tests.raw_trees.cdf import write_cdf
from tests.raw_trees.drawing import photo_of, save_photo
from tests.raw_trees.hdf5 import write_cells
from tests.raw_trees.people import Person

SIZE_PX = (200, 200)
"""The real photos are 1000 x 1000."""
K = np.array([[240.0, 0, 102], [0, 240.0, 103], [0, 0, 1]])
JOINTS: Mapping[int, str] = {
    0: "pelvis", 1: "right_hip", 2: "right_knee", 3: "right_ankle", 6: "left_hip", 7: "left_knee", 8: "left_ankle",
    11: "pelvis", 12: "spine_2", 13: "neck", 14: "jaw", 15: "head", 16: "neck", 17: "left_shoulder", 18: "left_elbow",
    19: "left_wrist", 24: "neck", 25: "right_shoulder", 26: "right_elbow", 27: "right_wrist",
}  # fmt: skip
"""Which of FreeBody's points stands in the place of each of the 32; the others are the feet's and the hands' ends."""
SEQUENCES = ("Directions 1.54138969", "Walking.60457274")


def write_h36m(
    root: Path, people: Sequence[Person], *, frames: int = 11, subjects: Sequence[int] = (1, 5), drawn: bool = True
) -> dict[str, dict[str, NDArray[np.float64]]]:
    """Write S1/, S5/ ... with MyPoseFeatures/, MySegmentsMat/ and images/; root becomes `datasets/h36m`.

    A person for each sequence of each subject in turn, moving sideways 1 cm a frame. Returns by photo name:
    `points_m` (32, 3) in the camera's frame, `points_px` (32, 2), and `silhouette_box` (left, top, right, bottom).
    """
    truth, camera, next_person = {}, PerspectiveCamera(K, np.eye(4), *SIZE_PX), 0
    for subject in (f"S{n}" for n in subjects):
        for sequence in SEQUENCES:
            person = people[next_person % len(people)]
            next_person += 1
            shift = np.array([0, 0, 3.0]) - person.vertices_m.mean(0)
            points = np.zeros((frames, 32, 3))
            for row, name in JOINTS.items():
                points[:, row] = person.points_m[name] + shift
            points += np.arange(frames)[:, None, None] * [0.01, 0, 0]
            px = points[..., :2] / np.where(points[..., 2:] == 0, 1, points[..., 2:]) * 240 + K[:2, 2]
            cells = []
            for i in range(frames):
                vertices = person.vertices_m + shift + [0.01 * i, 0, 0]
                seen = camera.project(vertices)
                mask = np.zeros(SIZE_PX[::-1], np.uint8)
                x, y = np.clip(np.round(seen).astype(int), 0, np.array(SIZE_PX) - 1).T
                mask[y, x] = 1
                cells.append(mask)
                if i % 5 == 0:
                    stem = f"{subject}_{sequence.replace(' ', '_')}"
                    name = f"{subject}/images/{stem}/{stem}_{i + 1:06d}.jpg"
                    photo = np.full((*SIZE_PX[::-1], 3), 120, np.uint8)
                    save_photo(root / name, photo_of(vertices, person.faces, camera) if drawn else photo)
                    edges = np.array([x.min(), y.min(), x.max() + 1, y.max() + 1], np.float64)
                    truth[name] = {"points_m": points[i], "points_px": px[i], "silhouette_box": edges}
            _write_sequence(root / subject, sequence, points, px, cells)
    return truth


def _write_sequence(folder: Path, sequence: str, points_m, px, cells) -> None:
    poses = folder / "MyPoseFeatures"
    frames = len(points_m)
    write_cdf(poses / "D3_Positions_mono" / f"{sequence}.cdf", "Pose", points_m.reshape(1, frames, 96) * 1000)
    write_cdf(poses / "D2_Positions" / f"{sequence}.cdf", "Pose", px.reshape(1, frames, 64), version=2, packed=False)
    write_cells(folder / "MySegmentsMat" / "ground_truth_bs" / f"{sequence}.mat", "Masks", cells)
