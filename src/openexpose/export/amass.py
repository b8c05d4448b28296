"""One person as the `.npz` that tools for SMPL-X sequences read: AMASS's keys, one frame."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from openexpose.errors import ConfigError
from openexpose.prediction import Prediction
from openexpose.readers import write_npz

R_AMASS_CAMERA: Float[np.ndarray, "3 3"] = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
"""AMASS's world (z up) from the camera frame (x right, y down, z away): the camera looks along +y."""
FRAMES_PER_S = 30.0
"""Stated for the one frame; a photo has none."""


def amass_arrays(person: Prediction) -> Mapping[str, NDArray[Any]]:
    """Keys and arrays of the file, T = 1 frame; docs/export.md describes each.

    poses (T, 165) axis-angle in radians of all 55 joints, hands absolute (`flat_hand_mean=True`); trans (T, 3) metres,
    in a z-up world. FreeBody's shape numbers are not SMPL-X's: with it `betas` and `expression` are zero, for the
    tool's mean body, and its own are in `betas_freebody` and `expression_freebody`.
    Raises ConfigError for a body model of another skeleton.
    """
    model = person.body_model
    if model.family != "smplx" or model.num_joints != 55:
        raise ConfigError(f"{model.label} has not SMPL-X's 55 joints: an AMASS file for SMPL-X cannot be written")
    betas, expression = person.params.betas.double().numpy(), person.params.expression.double().numpy()
    R = person.params.R_parent_child().double().numpy()
    R[0] = R_AMASS_CAMERA @ R[0]
    poses = Rotation.from_matrix(R).as_rotvec().reshape(1, 165)
    pelvis_rest_m = person.body_model.shape(person.params.betas, person.params.expression).rest_joints_m[0]
    pelvis_rest = pelvis_rest_m.double().numpy()
    # the body turns about its pelvis, not about the origin: R (x - j) + j + t, in both worlds
    trans = R_AMASS_CAMERA @ (pelvis_rest + person.transl_m) - pelvis_rest
    free = model.label.startswith("FreeBody")
    own = {"betas_freebody": betas, "expression_freebody": expression[None]} if free else {}
    scale = 0.0 if free else 1.0
    return {
        "surface_model_type": np.array("smplx"),
        "gender": np.array(model.gender),
        "mocap_frame_rate": np.array(FRAMES_PER_S),
        "mocap_time_length": np.array(1 / FRAMES_PER_S),
        "trans": trans[None],
        "poses": poses,
        "root_orient": poses[:, :3],
        "pose_body": poses[:, 3:66],
        "pose_jaw": poses[:, 66:69],
        "pose_eye": poses[:, 69:75],
        "pose_hand": poses[:, 75:],
        "betas": scale * betas,
        "num_betas": np.array(len(betas)),
        "expression": scale * expression[None],
        "flat_hand_mean": np.array(True),
        "body_model": np.array(model.label),
        **own,
    }


def write_amass(path: Path, person: Prediction) -> None:
    """Leave the file of `amass_arrays`. Raises DataError when the disk is full or refuses."""
    write_npz(path, amass_arrays(person), compressed=True)
