"""Somebody in a photo without a network: what a prediction holds, from a pose and a place that the caller chooses."""

import numpy as np
import torch
from torch import Tensor

from openexpose.body import BodyModel
from openexpose.geometry.crop import Crop
from openexpose.nets.params import BodyParams
from openexpose.prediction import ModelInfo, PartSquare, Prediction, default_focal_px, photo_camera

CAMERA_FROM_BODY = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
"""Upright and facing the camera."""


def stand_in(
    model: BodyModel,
    size_px: tuple[int, int],
    transl_m: tuple[float, float, float],
    *,
    R: Tensor | None = None,
    coeffs: Tensor | None = None,
    person: int = 0,
    photo: str = "photo.jpg",
) -> Prediction:
    """R: rotations (55 3 3) of a y-up body, None for the T-pose. coeffs: betas and expression side by side."""
    R = torch.eye(3).repeat(55, 1, 1) if R is None else R.clone()
    R[0] = CAMERA_FROM_BODY @ R[0]
    coeffs = torch.zeros(model.num_betas + model.num_expression) if coeffs is None else coeffs
    betas, expression = coeffs[: model.num_betas], coeffs[model.num_betas :]
    eye = torch.eye(3).repeat(15, 1, 1)
    left, right = (R[25:40], R[40:55]) if len(R) == 55 else (eye, eye)
    params = BodyParams(R[0], R[1:22], left, right, R[22], betas, expression)
    camera = photo_camera(*size_px, default_focal_px(*size_px))
    transl = torch.tensor(transl_m)
    posed = model.shape(betas, expression).pose(params.R_parent_child(), transl)
    joints_m, keypoints_m = posed.joints_m.numpy(), posed.keypoints_m().numpy()
    keypoints_px = camera.project(keypoints_m.astype(np.float64)).astype(np.float32)
    box_px = np.concatenate([keypoints_px.min(0), keypoints_px.max(0)])

    def square(joint: str, reach_m: float) -> np.ndarray:
        at_m = joints_m[model.joint_names.index(joint)].astype(np.float64)
        half_px = camera.K[0, 0] * reach_m / at_m[2]
        (x, y) = camera.project(at_m)
        return np.array([x - half_px, y - half_px, x + half_px, y + half_px], np.float32)

    return Prediction(
        photo=photo,
        photo_size_px=size_px,
        person=person,
        box_px=box_px,
        score=0.93,
        params=params,
        weak_camera=np.array([1.0, 0, 0], np.float32),
        crop=Crop.around(box_px.tolist(), scale=1.2, size_px=256),
        camera=camera,
        focal_from="default",
        transl_m=transl.numpy(),
        joints_m=joints_m,
        joint_names=model.joint_names,
        keypoints_m=keypoints_m,
        keypoint_names=model.keypoint_names,
        keypoints_px=keypoints_px,
        parts={
            "right_hand": PartSquare(square("right_middle_1", 0.13), True, 0.81),
            "left_hand": PartSquare(square("left_middle_1", 0.13), False, 0.22),
            "head": PartSquare(square("jaw", 0.2), True, None),
        },
        model=ModelInfo(model.label, model.sha256, model.family, model.gender, "stand-in"),
        body_model=model,
    )
