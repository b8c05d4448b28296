"""Joint sets regressed from the posed surface: J14 in LSP's order and the 17 joints of Human3.6M."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from openexpose.body.build_free.kinematics import chain, rotation, skin
from openexpose.body.build_free.landmarks import NOSE_TIP
from openexpose.body.build_free.regress import around
from openexpose.body.build_free.rig import PARENTS, joint

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

LSP = [
    "right_ankle",
    "right_knee",
    "right_hip",
    "left_hip",
    "left_knee",
    "left_ankle",
    "right_wrist",
    "right_elbow",
    "right_shoulder",
    "left_shoulder",
    "left_elbow",
    "left_wrist",
    "neck",
    "headtop",
]
H36M = [
    "pelvis",
    "left_hip",
    "left_knee",
    "left_ankle",
    "right_hip",
    "right_knee",
    "right_ankle",
    "spine2",
    "neck",
    "nose",
    "headtop",
    "left_shoulder",
    "left_elbow",
    "left_wrist",
    "right_shoulder",
    "right_elbow",
    "right_wrist",
]
POSES = 48
SPREAD_RAD = 0.45
"""Standard deviation of the axis-angle components of the random poses behind the fit."""
SUM_WEIGHT = 1e2


@dataclass(frozen=True)
class Posed:
    """Random bodies in random poses: (N, V, 3) vertices and (N, 55, 3) joints."""

    vertices: F64
    joints: F64


def random_poses(template: F64, dirs: F64, regressor: F64, weights: F64, rng: np.random.Generator) -> Posed:
    """Bodies of the model's own shape space in moderate random poses of all body joints."""
    vertices, joints = [], []
    for _ in range(POSES):
        rest = template + dirs @ rng.normal(0, 1, dirs.shape[2])
        rest_joints = regressor @ rest
        turns = np.zeros((55, 3))
        turns[1:22] = rng.normal(0, SPREAD_RAD, (21, 3))
        motion = chain(rotation(turns), rest_joints, PARENTS)
        vertices.append(skin(rest, weights, motion))
        joints.append(np.einsum("jab,jb->ja", motion[..., :3], rest_joints) + motion[..., 3])
    return Posed(np.stack(vertices), np.stack(joints))


def joint_sets(template: F64, joints: F64, posed: Posed, mirror: I64, skin_ids: I64) -> dict[str, F64]:
    """{"j14": (14, V), "h36m": (17, V)} non-negative rows summing to one, the two sides mirror images.

    template (V, 3), joints (55, 3): the mean body at rest; skin_ids: vertices that may be used.
    """
    rows = {"headtop": _top(template, mirror), "nose": _one(len(template), NOSE_TIP)}
    pelvis = 0.5 * (posed.joints[:, joint("left_hip")] + posed.joints[:, joint("right_hip")])
    for name in sorted({*LSP, *H36M} - set(rows)):
        if name.startswith("right_"):
            continue
        at_rest = joints[[1, 2]].mean(0) if name == "pelvis" else joints[joint(name)]
        targets = pelvis if name == "pelvis" else posed.joints[:, joint(name)]
        row = _fit(posed.vertices, targets, around(template, at_rest, skin_ids))
        if name.startswith("left_"):
            rows[name] = row
            rows["right_" + name.removeprefix("left_")] = row[mirror]
        else:
            rows[name] = (row + row[mirror]) / 2
    return {"j14": np.stack([rows[n] for n in LSP]), "h36m": np.stack([rows[n] for n in H36M])}


def _fit(points: F64, targets: F64, ids: I64) -> F64:
    A = (points[:, ids] - targets[:, None]).transpose(0, 2, 1).reshape(-1, len(ids))
    A = np.concatenate([A, np.full((1, len(ids)), SUM_WEIGHT)])
    b = np.zeros(len(A))
    b[-1] = SUM_WEIGHT
    weights, _ = nnls(A, b, maxiter=50 * len(ids))
    row = np.zeros(points.shape[1])
    row[ids] = weights / weights.sum()
    return row


def _one(vertices: int, index: int) -> F64:
    row = np.zeros(vertices)
    row[index] = 1.0
    return row


def _top(template: F64, mirror: I64) -> F64:
    """The top of the skull: the highest vertex and its mirror image."""
    row = _one(len(template), int(template[:, 1].argmax()))
    return (row + row[mirror]) / 2
