"""A miniature FFHQ with the FLAME fits of ExPose's training data: FreeHead posed, drawn, and written as those are."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from openexpose.body import load_model
from openexpose.body.params import join_pose
from openexpose.geometry.rotations import axis_angle_to_matrix
from tests.raw_trees.drawing import blank_photo, photo_of, pinhole, save_photo

SIDE_PX = 1024


@dataclass(frozen=True, eq=False)
class Heads:
    """What was written, one row a photo."""

    names: tuple[str, ...]
    global_pose: NDArray[np.float64]
    jaw_pose: NDArray[np.float64]
    betas: NDArray[np.float64]
    """(N, 100)."""
    expression: NDArray[np.float64]
    """(N, 50)."""
    joints_m: NDArray[np.float64]
    """(N, 73, 3) in the camera's frame."""
    points_px: NDArray[np.float64]
    """(N, 73, 2)."""


def write_ffhq(root: Path, *, count: int = 5, seed: int = 4, drawn: bool = True) -> Heads:
    """Write ffhq_annotations.npz and ffhq_global_images_1024/; root: becomes `datasets/ffhq`."""
    rng, model = np.random.default_rng(seed), load_model("free-head", num_betas=None, num_expression=50)
    names = tuple(f"{3 * i + 1:05d}.png" for i in range(count))
    orient = np.array([np.pi, 0, 0]) + rng.normal(0, 0.25, (count, 3))
    jaw = np.column_stack([rng.uniform(0, 0.3, count), np.zeros((count, 2))])
    betas, expression = np.zeros((count, 100)), np.zeros((count, 50))
    betas[:, :10], expression[:, :10] = rng.normal(0, 0.8, (count, 10)), rng.normal(0, 0.5, (count, 10))
    R = {"global_orient": orient[:, None], "jaw_pose": jaw[:, None]}
    R = join_pose("flame", {k: axis_angle_to_matrix(torch.from_numpy(v).float()) for k, v in R.items()})
    shaped = model.shape(torch.from_numpy(betas[:, : model.num_betas]).float(), torch.from_numpy(expression).float())
    posed = shaped.pose(R)
    points, vertices = posed.keypoints_m().numpy().astype(np.float64), posed.skin().vertices_m.numpy()
    shift = np.array([0, 0, 1.4]) - vertices.mean(1, keepdims=True)
    camera = pinhole(3000.0, SIDE_PX, SIDE_PX)
    px = camera.project(points + shift)
    for i, name in enumerate(names):
        path = root / "ffhq_global_images_1024" / name
        if drawn:
            save_photo(path, photo_of(vertices[i] + shift[i], model.faces.numpy(), camera))
        else:
            blank_photo(path, SIDE_PX, SIDE_PX)
    root.mkdir(parents=True, exist_ok=True)
    arrays = {
        "global_pose": orient, "jaw_pose": jaw, "betas": betas, "expression": expression, "keypoints2d": px,
        "img_fnames": np.array(names),
    }  # fmt: skip
    np.savez(root / "ffhq_annotations.npz", **arrays)
    return Heads(names, orient, jaw, betas, expression, points + shift, px)
