"""A miniature Stirling/ESRC 3D: FreeHead scanned (millimetres), landmarked and photographed."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from openexpose.body import load_model
from openexpose.body.params import join_pose
from openexpose.geometry.rotations import axis_angle_to_matrix
from openexpose.skeleton import Skeleton
from tests.raw_trees.drawing import photo_of, pinhole, save_photo

LANDMARKS = Skeleton.read("face3d").names
SUBJECTS = ("F1001", "F1012", "M1003")
SIZES_PX = {"HQ": (200, 260), "LQ": (120, 90)}


@dataclass(frozen=True, eq=False)
class Faces:
    """What was written. A photo `F1001_02.jpg` shows subject `F1001`."""

    betas: dict[str, NDArray[np.float64]]
    """Subject -> (100,) shape of its FreeHead; expression and pose of the scan are zero."""
    scan_mm: dict[str, NDArray[np.float64]]
    """Subject -> (S, 3); S differs between subjects, as in the real set."""
    landmarks_mm: dict[str, NDArray[np.float64]]
    """Subject -> (7, 3)."""
    photos: dict[str, tuple[str, ...]]
    """Quality -> file names, sorted."""
    turns_rad: dict[str, NDArray[np.float64]]
    """Photo name -> (3,) axis-angle of the head in the camera's frame."""


def write_stirling(root: Path, *, seed: int = 0, photos_each: int = 2) -> Faces:
    """Write the folder with annotations/, F_3D_N/, M_3D_N/ and Subset_2D_FG2018/{HQ,LQ}/.

    root: becomes `datasets/stirling`. Scans of the second and later subjects lack some of the back of the head.
    """
    rng = np.random.default_rng(seed)
    model = load_model("free-head", num_betas=None)
    faces = Faces({}, {}, {}, {}, {})
    for k, subject in enumerate(SUBJECTS):
        betas = np.zeros(model.num_betas)
        betas[:10] = rng.normal(0, 1, 10)
        head = model.shape(torch.from_numpy(betas).float()).pose()
        vertices, triangles = head.skin().vertices_m.numpy() * 1000, model.faces.numpy()
        marks = head.keypoints_m().numpy()[[model.keypoint_names.index(n) for n in LANDMARKS]] * 1000
        offset = rng.normal(0, 40, 3)  # scanners do not put the head at the origin
        kept = vertices[:, 2] > vertices[:, 2].min() + 5 * k
        scan, marks = np.round(vertices + offset, 4), np.round(marks + offset, 4)
        _write_obj(root / f"{subject[0]}_3D_N" / f"{subject}_N.obj", scan, triangles, kept)
        _write_landmarks(root / "annotations" / f"{subject[0]}_3D_N" / f"{subject}_N.lnd", marks)
        faces.betas[subject], faces.scan_mm[subject], faces.landmarks_mm[subject] = betas, scan[kept], marks
    for quality, size_px in SIZES_PX.items():
        names = []
        for subject in SUBJECTS:
            for i in range(photos_each):
                name = f"{subject}_{quality}{i + 1:02d}.jpg"
                names.append(name)
                faces.turns_rad[name] = turn = np.array([np.pi, 0, 0]) + rng.normal(0, 0.25, 3)
                _photograph(root / "Subset_2D_FG2018" / quality / name, model, faces.betas[subject], turn, size_px)
        faces.photos[quality] = tuple(sorted(names))
    return faces


def _photograph(path: Path, model, betas, turn, size_px: tuple[int, int]) -> None:
    R = join_pose("flame", {"global_orient": axis_angle_to_matrix(torch.from_numpy(turn[None]).float())})
    posed = model.shape(torch.from_numpy(betas).float()).pose(R)
    vertices = posed.skin().vertices_m.numpy()
    vertices = vertices - vertices.mean(0) + [0, 0, 1.2]
    save_photo(path, photo_of(vertices, model.faces.numpy(), pinhole(3.2 * min(size_px), *size_px)))


def _write_obj(path: Path, points_mm, triangles, kept) -> None:
    """Positions, texture coordinates and faces v/vt, as scanners write them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = np.cumsum(kept) - 1
    lines = ["# scan", f"mtllib {path.stem}.mtl", "o head"]
    lines += [f"v {x:.4f} {y:.4f} {z:.4f}" for x, y, z in points_mm[kept]]
    lines += ["vt 0.5 0.5", "usemtl skin"]
    lines += [f"f {a}/1 {b}/1 {c}/1" for a, b, c in new[triangles[kept[triangles].all(1)]] + 1]
    path.write_text("\r\n".join(lines) + "\r\n")


def _write_landmarks(path: Path, marks_mm) -> None:
    """A line a landmark: its number, then x, y, z."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{i} {x:.4f} {y:.4f} {z:.4f}\n" for i, (x, y, z) in enumerate(marks_mm)))
