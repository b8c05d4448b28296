"""Mean pose of the body and of relaxed hands: where regression starts."""

import numpy as np
from numpy.typing import NDArray

from openexpose.body.build_free.kinematics import rotation, rotvec
from openexpose.body.build_free.rig import BODY
from openexpose.body.hands import Side, hand_pose
from openexpose.body.stages import BodyModel

F64 = NDArray[np.float64]

# Medians, joint by joint, of 11,200 motion-captured poses (CMU and DeepMimic; see the notice), made symmetric. Radians.
_BODY_RAD = {
    "left_hip": (-0.346, -0.002, 0.028),
    "spine1": (0.031, 0.0, 0.0),
    "left_knee": (0.601, 0.0, 0.0),
    "spine2": (0.027, 0.0, 0.0),
    "left_ankle": (-0.195, 0.089, 0.008),
    "spine3": (0.020, 0.0, 0.0),
    "left_foot": (0.0, 0.0, 0.0),
    "neck": (-0.006, 0.0, 0.0),
    "left_collar": (0.0, -0.003, -0.228),
    "head": (-0.006, 0.0, 0.0),
    "left_shoulder": (0.232, -0.207, -1.038),
    "left_elbow": (0.0, -0.715, 0.271),
    "left_wrist": (0.012, 0.058, 0.106),
}


def mean_body_rad() -> F64:
    """(21, 3) axis-angle of joints 1 to 21."""
    out = []
    for name in BODY[1:22]:
        x, y, z = _BODY_RAD[name.replace("right_", "left_")]
        out.append((x, -y, -z) if name.startswith("right_") else (x, y, z))
    return np.array(out, np.float64)


def mean_hand_rad(model: BodyModel, side: Side) -> F64:
    """(15, 3) axis-angle of a relaxed hand."""
    return rotvec(hand_pose(model, "relaxed", side).numpy().astype(np.float64))


def six_d(axis_angle_rad: F64) -> F64:
    """(..., 6) the first two columns of the rotation matrices, row by row (the layout of ExPose's all_means file)."""
    R = rotation(axis_angle_rad)
    return np.asarray(R[..., :2].reshape(*R.shape[:-2], 6), np.float64)
