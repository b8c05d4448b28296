"""A miniature FreiHAND v2: FreeHand posed with known parameters, in the files and conventions of the data set."""

import json
import pickle
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from openexpose.body import load_model
from openexpose.body.params import join_pose
from openexpose.geometry.rotations import axis_angle_to_matrix
from tests.raw_trees.drawing import blank_photo, photo_of, pinhole, save_photo

SIDE_PX = 224
VERSIONS = 4
"""Photos of each training hand, on other backgrounds: photo i shows hand i mod the number of hands."""
MEAN_POSE = 0.15 * np.sin(np.arange(45.0)).reshape(15, 3)
"""Stands in for MANO's mean hand, which FreiHAND's poses are relative to; radians."""


@dataclass(frozen=True, eq=False)
class Hands:
    """What was written, one row a hand, in the camera's frame (x right, y down, z away)."""

    global_orient: NDArray[np.float64]
    """(N, 3) radians."""
    hand_pose: NDArray[np.float64]
    """(N, 15, 3) radians, absolute."""
    betas: NDArray[np.float64]
    """(N, 10)."""
    joints_m: NDArray[np.float64]
    """(N, 21, 3), FreiHAND's order."""
    vertices_m: NDArray[np.float64]
    """(N, V, 3)."""
    K: NDArray[np.float64]
    """(N, 3, 3)."""

    @property
    def joints_px(self) -> NDArray[np.float64]:
        """(N, 21, 2) projected joints."""
        uvw = np.einsum("nij,nkj->nki", self.K, self.joints_m)
        return uvw[..., :2] / uvw[..., 2:]


def write_freihand(
    root: Path, *, training: int = 5, evaluation: int = 3, seed: int = 0, drawn: bool = True
) -> dict[str, Hands]:
    """Write the folder as it comes out of FreiHAND_pub_v2.zip and FreiHAND_pub_v2_eval.zip.

    root: becomes `datasets/FreiHand`. drawn: show the hands in the photos; else they are blank, which is quick.
    Returns what the files say, absolute poses included, by set: "training" and "evaluation".
    """
    model = load_model("free-hand")
    truth = {}
    for k, (name, count) in enumerate((("training", training), ("evaluation", evaluation))):
        hands = _hands(model, np.random.default_rng((seed, k)), count)
        _write_annotations(root, name, hands)
        for i in range(count * (VERSIONS if name == "training" else 1)):
            file, at = root / name / "rgb" / f"{i:08d}.jpg", i % count
            if drawn:
                camera = pinhole(hands.K[at, 0, 0], SIDE_PX, SIDE_PX, tuple(hands.K[at, :2, 2]))
                save_photo(file, photo_of(hands.vertices_m[at], model.faces.numpy(), camera, 60 + 40 * (i // count)))
            else:
                blank_photo(file, SIDE_PX, SIDE_PX)
        truth[name] = hands
    return truth


def write_means(body_models: Path) -> None:
    """Write an all_means.pkl whose right hand is MEAN_POSE; left hand and body are zero."""
    zero = {"aa": np.zeros((21, 3)), "cont_rot_repr": np.tile(np.array([1.0, 0, 0, 1, 0, 0], np.float32), (21, 1))}
    hand = {k: v[:15] for k, v in zero.items()}
    means = {"body_pose": zero, "left_hand_pose": hand, "right_hand_pose": {**hand, "aa": MEAN_POSE[..., None]}}
    body_models.mkdir(parents=True, exist_ok=True)
    (body_models / "all_means.pkl").write_bytes(pickle.dumps(means, protocol=2))


def _hands(model, rng: np.random.Generator, count: int) -> Hands:
    orient = np.array([np.pi, 0, 0]) + rng.normal(0, 0.35, (count, 3))  # upright in a frame whose y points down
    pose = MEAN_POSE + rng.normal(0, 0.12, (count, 15, 3))
    betas = rng.normal(0, 0.7, (count, 10))
    R = {"global_orient": orient[:, None], "hand_pose": pose}
    R = join_pose("mano", {k: axis_angle_to_matrix(torch.from_numpy(v).float()) for k, v in R.items()})
    posed = model.shape(torch.from_numpy(betas).float()).pose(R)
    wrist = np.column_stack([rng.uniform(-0.03, 0.03, (count, 2)), rng.uniform(0.55, 0.7, count)])
    middle = posed.keypoints_m().numpy().astype(np.float64).mean(1)
    shift = (wrist - middle)[:, None]
    focal = rng.uniform(470, 490, count)
    K = np.zeros((count, 3, 3))
    K[:, 0, 0], K[:, 1, 1], K[:, 2, 2] = focal, focal, 1
    K[:, :2, 2] = 112
    return Hands(
        orient, pose, betas, posed.keypoints_m().numpy() + shift, posed.skin().vertices_m.numpy() + shift, K
    )  # fmt: skip


def _write_annotations(root: Path, name: str, hands: Hands) -> None:
    """The five json files of a set. `mano` is 48 angles relative to the mean hand, 10 betas, 2 pixels and a scale."""
    relative = (hands.hand_pose - MEAN_POSE).reshape(len(hands.betas), 45)
    scale = np.linalg.norm(hands.joints_m[:, 9] - hands.joints_m[:, 10], axis=1)
    uv_root = hands.joints_px[:, 9]
    mano = np.column_stack([hands.global_orient, relative, hands.betas, uv_root, scale])[:, None]
    files = {"mano": mano, "xyz": hands.joints_m, "K": hands.K, "scale": scale, "verts": hands.vertices_m}
    root.mkdir(parents=True, exist_ok=True)
    for key, value in files.items():
        (root / f"{name}_{key}.json").write_text(json.dumps(value.tolist()))
