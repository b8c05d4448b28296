"""Hands from anatomical angles: flexion, abduction and twist of each finger joint, on any model with SMPL-X's fingers.

The axes are built from the model's own rest joints, so the same angles close the same finger on SMPL-X and FreeBody.
Named poses (fist, point, ok, ...) stand in `hand_poses.json`; they were authored for this project.
"""

import json
from functools import cache
from importlib.resources import files
from typing import Literal

import numpy as np
import roma
import torch
from jaxtyping import Float
from torch import Tensor

from openexpose.body.stages import BodyModel
from openexpose.errors import ConfigError, ShapeError

Side = Literal["left", "right"]
FINGERS = ("index", "middle", "pinky", "ring", "thumb")
"""Order of the fingers in `left_hand_pose` and `right_hand_pose`, three joints each."""
_THUMB_TURN_RAD = np.deg2rad(50.0)


@cache
def named_hand_poses() -> dict[str, tuple[tuple[float, float, float], ...]]:
    """Name -> 15 x (flexion, abduction, twist) in degrees."""
    table = json.loads((files("openexpose.body") / "hand_poses.json").read_text(encoding="utf8"))
    return {name: tuple((float(f), float(a), float(t)) for f, a, t in rows) for name, rows in table["poses"].items()}


def hand_axes(model: BodyModel, side: Side) -> Float[Tensor, "15 3 3"]:
    """Unit axes of (flexion, abduction, twist) for the 15 finger joints, rows, in the model frame at rest.

    Palm down at rest: flexion bends the bone b towards the palm normal n = -y; abduction moves it towards the thumb's
    side (+z); twist turns about the bone. The thumb flexes across the palm: its flexion is turned by 50 degrees about
    the bone, its abduction leads away from the palm, and its twist brings the pad to face the fingers.
    Raises ConfigError for a model without fingers.
    """
    if model.family != "smplx":
        raise ConfigError(f"{model.label} has no two hands; hand poses need a model of the SMPL-X family")
    names = list(model.keypoint_names)
    rest = model.shape().pose().keypoints_m()
    down, forward = rest.new_tensor([0.0, -1.0, 0.0]), rest.new_tensor([0.0, 0.0, 1.0])
    axes = []
    for finger in FINGERS:
        chain = [names.index(f"{side}_{finger}{end}") for end in ("_1", "_2", "_3", "")]
        for joint, following in zip(chain, chain[1:], strict=False):
            b = _unit(rest[following] - rest[joint])
            if finger == "thumb":
                across = -_unit(forward - (forward @ b) * b)
                bend = np.cos(_THUMB_TURN_RAD) * _unit(down - (down @ b) * b) + np.sin(_THUMB_TURN_RAD) * across
                twist = b * torch.sign(b @ torch.linalg.cross(down, -forward))
                rows = [torch.linalg.cross(b, _unit(bend)), _unit(torch.linalg.cross(b, down)), twist]
            else:
                rows = [_unit(torch.linalg.cross(b, down)), _unit(torch.linalg.cross(b, forward)), b]
            axes.append(torch.stack(rows))
    return torch.stack(axes)


def hand_pose(model: BodyModel, angles_deg: Float[Tensor, "*B J 3"] | str, side: Side) -> Float[Tensor, "*B 15 3 3"]:
    """Rotations of the 15 finger joints of one hand: abduction after flexion after twist.

    angles_deg: (flexion, abduction, twist) in degrees, or the name of a pose of `named_hand_poses`.
    Raises ConfigError for an unknown name, ShapeError for a wrong shape.
    """
    if isinstance(angles_deg, str):
        poses = named_hand_poses()
        if angles_deg not in poses:
            raise ConfigError(f"no hand pose {angles_deg!r}; there are {', '.join(poses)}")
        angles_deg = torch.tensor(poses[angles_deg])
    if angles_deg.shape[-2:] != (15, 3):
        raise ShapeError(f"hand angles must be (..., 15, 3) degrees, got {tuple(angles_deg.shape)}")
    axes = hand_axes(model, side)
    rotvec = torch.deg2rad(angles_deg.to(axes))[..., None] * axes
    flexion, abduction, twist = roma.rotvec_to_rotmat(rotvec).unbind(-3)
    return abduction @ flexion @ twist


def _unit(v: Tensor) -> Tensor:
    return v / v.norm()
