"""Named pose blocks of each family, and the way between them and the full list of joint rotations.

A body model takes rotations of *all* its joints in order; people speak of `body_pose`, `jaw_pose`, `left_hand_pose`.
Poses are absolute: no mean is added anywhere (spec 4.1). Files that store hands relative to the mean, or as PCA
coefficients, are converted once by `hand_pose_from_pca` / `add_hand_mean`, explicitly.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from openexpose.body.arrays import Family
from openexpose.errors import ConfigError, ShapeError

POSE_BLOCKS: Mapping[Family, tuple[tuple[str, int], ...]] = {
    "smplx": (
        ("global_orient", 1),
        ("body_pose", 21),
        ("jaw_pose", 1),
        ("left_eye_pose", 1),
        ("right_eye_pose", 1),
        ("left_hand_pose", 15),
        ("right_hand_pose", 15),
    ),
    "smpl": (("global_orient", 1), ("body_pose", 23)),
    "mano": (("global_orient", 1), ("hand_pose", 15)),
    "flame": (("global_orient", 1), ("neck_pose", 1), ("jaw_pose", 1), ("left_eye_pose", 1), ("right_eye_pose", 1)),
}
"""Blocks of joint rotations in joint order, and how many joints each has (spec 4.2-4.5)."""


def join_pose(family: Family, blocks: Mapping[str, Float[Tensor, "*B _ 3 3"]]) -> Float[Tensor, "*B J 3 3"]:
    """Rotations of all joints from named blocks; blocks that are not given stay at rest (identity).

    blocks: name -> (*B, joints of the block, 3, 3), batch axes broadcast; at least one block.
    Raises ShapeError for an unknown name or a wrong number of joints.
    """
    layout = dict(POSE_BLOCKS[family])
    for name, R in blocks.items():
        if name not in layout:
            raise ShapeError(f"{family} has no pose block {name!r}; it has {', '.join(layout)}")
        if tuple(R.shape[-3:]) != (layout[name], 3, 3):
            raise ShapeError(f"{name} must be (..., {layout[name]}, 3, 3), got {tuple(R.shape)}")
    if not blocks:
        raise ShapeError(f"no pose block given; {family} has {', '.join(layout)}")
    like = next(iter(blocks.values()))
    lead = torch.broadcast_shapes(*(R.shape[:-3] for R in blocks.values()))
    eye = torch.eye(3, dtype=like.dtype, device=like.device)
    parts = [blocks.get(name, eye.expand(count, 3, 3)).expand(*lead, count, 3, 3) for name, count in layout.items()]
    return torch.cat(parts, -3)


def split_pose(family: Family, R: Float[Tensor, "*B J 3 3"]) -> dict[str, Float[Tensor, "*B _ 3 3"]]:
    """Named blocks of the rotations of all joints. Raises ShapeError if the family has another number of joints."""
    layout = POSE_BLOCKS[family]
    counts = [count for _, count in layout]
    if R.shape[-3] != sum(counts):
        raise ShapeError(f"{family} has {sum(counts)} joints, got {R.shape[-3]} rotations")
    return dict(zip([name for name, _ in layout], R.split(counts, -3), strict=True))


def add_hand_mean(
    means: Mapping[str, Tensor], relative_rad: Float[Tensor, "*B 45"], side: str
) -> Float[Tensor, "*B 45"]:
    """Absolute axis-angle hand pose (radians) from one relative to the model's mean hand (`flat_hand_mean=False`).

    means: `BodyModel.means`. side: "left" or "right". Raises ConfigError when the model file has no mean hand.
    """
    return relative_rad + _mean(means, f"{side}_hand_mean")


def hand_pose_from_pca(
    means: Mapping[str, Tensor], coefficients: Float[Tensor, "*B N"], side: str, *, add_mean: bool
) -> Float[Tensor, "*B 45"]:
    """Axis-angle hand pose (radians) from the first N coefficients of the model's hand PCA.

    add_mean: True for files written with `flat_hand_mean=False` (the usual case), False for `flat_hand_mean=True`.
    Raises ConfigError when the model file has no hand PCA, or fewer than N components.
    """
    components = _mean(means, f"{side}_hand_components")
    if coefficients.shape[-1] > len(components):
        raise ConfigError(f"{coefficients.shape[-1]} hand PCA coefficients, but the model has {len(components)}")
    pose = coefficients @ components[: coefficients.shape[-1]]
    return add_hand_mean(means, pose, side) if add_mean else pose


def _mean(means: Mapping[str, Tensor], name: str) -> Tensor:
    if name not in means:
        raise ConfigError(f"this body model has no {name}; it has: {', '.join(means) or 'no means at all'}")
    return means[name]
