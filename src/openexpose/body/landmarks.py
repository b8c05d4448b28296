"""Named points on the surface: which they are for each family, and the jaw contour that moves with the yaw."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from openexpose.body.arrays import ModelArrays
from openexpose.body.skinning import Tree
from openexpose.errors import AssetError
from openexpose.skeleton import Skeleton

MANO_TO_FREIHAND = (0, 13, 14, 15, 16, 1, 2, 3, 17, 4, 5, 6, 18, 10, 11, 12, 19, 7, 8, 9, 20)
"""FreiHAND's point k is entry MANO_TO_FREIHAND[k] of [16 joints | tips thumb, index, middle, ring, pinky], spec 4.4."""

_JOINTS = {"smplx": 55, "smpl": 24, "mano": 16, "flame": 5}
_KEYPOINTS = {"smplx": 144, "smpl": 45, "mano": 21, "flame": 73}


@dataclass(frozen=True)
class KeypointLayout:
    """What a family calls its joints and keypoints."""

    joint_names: tuple[str, ...]
    names: tuple[str, ...]
    """Keypoints: joints, extra vertices, 51 landmarks, 17 contour points; MANO's are then re-ordered."""
    extra_vertices: tuple[int, ...]
    order: tuple[int, ...] | None
    """Re-ordering of that list, or None."""
    yaw_joint: int
    """The joint whose absolute rotation picks the jaw contour: SMPL-X neck (12), FLAME root (0)."""


def layout_of(arrays: ModelArrays, tree: Tree) -> KeypointLayout:
    """The layout of a model file. Raises AssetError if its counts do not belong to its family."""
    family, J = arrays.family, len(tree.parents)
    if _JOINTS[family] != J:
        raise AssetError(f"{arrays.label}: {J} joints, but the {family} family has {_JOINTS[family]}")
    extra = () if arrays.extra_vertices is None else tuple(int(i) for i in arrays.extra_vertices)
    static = 0 if arrays.static_faces is None else len(arrays.static_faces)
    contour = 0 if arrays.dynamic_faces is None else arrays.dynamic_faces.shape[1]
    count = J + len(extra) + static + contour
    if count == _KEYPOINTS[family]:
        names = _keypoint_names(family)
    elif count == J:
        names = _joint_names(family)
    else:
        raise AssetError(
            f"{arrays.label}: {J} joints + {len(extra)} vertices + {static} landmarks + {contour} contour points make "
            f"{count} keypoints; the {family} family has {_KEYPOINTS[family]}. Are the landmark files beside the model?"
        )
    order = MANO_TO_FREIHAND if family == "mano" and count == 21 else None
    return KeypointLayout(_joint_names(family), tuple(names), extra, order, yaw_joint=12 if family == "smplx" else 0)


def _keypoint_names(family: str) -> tuple[str, ...]:
    if family == "smpl":
        smplx = Skeleton.read("smplx").names
        return (*smplx[:22], "left_hand", "right_hand", *smplx[55:76])
    return tuple(Skeleton.read({"smplx": "smplx", "mano": "freihand", "flame": "flame"}[family]).names)


def _joint_names(family: str) -> tuple[str, ...]:
    names = tuple(Skeleton.read("mano").names) if family == "mano" else _keypoint_names(family)
    return names[: _JOINTS[family]]


def blend_faces(corners: Float[Tensor, "N K 3 3"], bary: Float[Tensor, "*#N K 3"]) -> Float[Tensor, "N K 3"]:
    """Barycentric combination of three corners each: corners (N, K, corner, xyz)."""
    return (corners * bary[..., None]).sum(-2)


def contour_rows(R_model_neck: Float[Tensor, "N 3 3"]) -> Int[Tensor, " N"]:
    """Which of the 79 contour tables fits the head's yaw (spec 4.2): 0..39 for one side, 40..78 for the other.

    A rotation that is not a number takes row 0: the points then are no numbers either.
    """
    R = R_model_neck
    yaw_deg = torch.rad2deg(torch.atan2(-R[:, 2, 0], torch.hypot(R[:, 0, 0], R[:, 1, 0])))
    theta = torch.round(torch.clamp(-torch.nan_to_num(yaw_deg), max=39)).long()
    return torch.where(theta >= 0, theta, (39 - theta).clamp(max=78))
