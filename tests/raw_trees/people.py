"""FreeBody before a plain background: a photo of a person, and where every named point is in it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray

from openexpose.body import BodyModel, load_model
from openexpose.body.params import join_pose
from openexpose.geometry.camera import PerspectiveCamera
from openexpose.geometry.rotations import axis_angle_to_matrix
from openexpose.skeleton import Skeleton
from tests.raw_trees.drawing import photo_of, pinhole

STAND_INS: Mapping[str, str] = {
    "left_hip_extra": "left_hip", "right_hip_extra": "right_hip", "neck_extra": "neck", "headtop": "head",
    "pelvis_extra": "pelvis", "thorax_extra": "spine_3", "left_hand_root": "left_wrist",
    "right_hand_root": "right_wrist", "left_wrist_openpose": "left_wrist", "right_wrist_openpose": "right_wrist",
    "left_pupil": "left_eyeball", "right_pupil": "right_eyeball",
}  # fmt: skip
"""Points that FreeBody lacks, and the one of its points that is shown in their place."""


@dataclass(frozen=True, eq=False)
class Person:
    """One FreeBody in a photo."""

    photo: NDArray[np.uint8]
    points_px: Mapping[str, NDArray[np.float64]]
    """SMPL-X name -> (2,); pixel centres are integers."""
    params: Mapping[str, NDArray[np.float64]]
    """SMPL-X parameters, axis-angle in radians, in the camera's frame."""
    points_m: Mapping[str, NDArray[np.float64]]
    """SMPL-X name -> (3,) in the camera's frame."""
    vertices_m: NDArray[np.float64]
    """(V, 3) in the camera's frame."""
    faces: NDArray[np.int64]
    camera: PerspectiveCamera

    def seen(self, skeleton: Skeleton) -> NDArray[np.float64]:
        """(K, 2) positions of a convention's points."""
        return np.stack([self.points_px[STAND_INS.get(n, n)] for n in skeleton.names])

    @property
    def box_xywh(self) -> NDArray[np.float64]:
        """Box of all points."""
        xy = np.stack(list(self.points_px.values()))
        return np.concatenate([xy.min(0), np.ptp(xy, axis=0)])


@cache
def _body() -> BodyModel:
    return load_model("free")


def person(seed: int, *, width_px: int = 160, height_px: int = 200, drawn: bool = True) -> Person:
    """A person with lowered arms, slightly turned and bent; the same seed gives the same one."""
    rng, model = np.random.default_rng(seed), _body()
    body = rng.normal(0, 0.12, (21, 3))
    body[15] += [0, 0, -0.9]  # left shoulder
    body[16] += [0, 0, 0.9]
    params = {
        "global_orient": np.array([np.pi, 0, 0]) + rng.normal(0, 0.15, 3),
        "body_pose": body,
        "jaw_pose": np.array([0.12, 0, 0]) + rng.normal(0, 0.02, 3),
        "left_hand_pose": rng.normal(0, 0.1, (15, 3)),
        "right_hand_pose": rng.normal(0, 0.1, (15, 3)),
    }
    R = {k: axis_angle_to_matrix(torch.from_numpy(v[None] if v.ndim == 1 else v).float()) for k, v in params.items()}
    betas = rng.normal(0, 0.7, 10)
    expression = rng.normal(0, 0.5, 10)
    shaped = model.shape(torch.from_numpy(betas).float(), torch.from_numpy(expression).float())
    posed = shaped.pose(join_pose("smplx", R))
    points = posed.keypoints_m().numpy().astype(np.float64)
    shift = [rng.uniform(-0.1, 0.1), rng.uniform(-0.1, 0.1), 6.0] - (points.min(0) + points.max(0)) / 2
    camera = pinhole(2.6 * height_px, width_px, height_px)
    px = camera.project(points + shift)
    vertices, faces = posed.skin().vertices_m.numpy().astype(np.float64) + shift, model.faces.numpy()
    photo = np.full((height_px, width_px, 3), 120, np.uint8)
    if drawn:
        photo = photo_of(vertices, faces, camera)
    names = model.keypoint_names
    return Person(
        photo,
        dict(zip(names, px, strict=True)),
        {**params, "betas": betas, "expression": expression},
        dict(zip(names, points + shift, strict=True)),
        vertices,
        faces,
        camera,
    )
