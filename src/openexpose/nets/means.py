"""Where the regressors start: mean poses and shape as the data tree has them. Loaded weights bring their own."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from openexpose.errors import AssetError
from openexpose.geometry.rotations import SIXD_IDENTITY, SIXD_UPSIDE_DOWN
from openexpose.nets.codec import Codec
from openexpose.nets.config import PartConfig


@dataclass(frozen=True)
class Means:
    """Mean poses by name and mean betas. Empty means the rest pose and the template's shape."""

    poses_sixd: Mapping[str, Float[Tensor, "J 6"]] = field(default_factory=dict)
    """body_pose (21, 6), left_hand_pose and right_hand_pose (15, 6), interleaved 6D."""
    betas: Float[Tensor, " S"] | None = None
    """Mean shape of the body model; hands and heads start at zero."""

    @classmethod
    def of_tree(cls, all_means: Mapping[str, Mapping[str, object]], shape_mean: np.ndarray | None) -> "Means":
        """From the contents of `all_means.pkl` and `shape_mean.npy`.

        Raises AssetError if a pose lacks the entry `cont_rot_repr` or it is not J times 6 numbers.
        """
        poses = {}
        for name in ("body_pose", "left_hand_pose", "right_hand_pose"):
            if name not in all_means or "cont_rot_repr" not in all_means[name]:
                raise AssetError(f"all_means.pkl has no {name}/cont_rot_repr; its keys are {sorted(all_means)}")
            numbers = np.array(all_means[name]["cont_rot_repr"], np.float32)
            if numbers.size % 6:
                raise AssetError(f"all_means.pkl: {name}/cont_rot_repr of shape {numbers.shape} is not made of sixes")
            poses[name] = torch.from_numpy(numbers.reshape(-1, 6))
        betas = None if shape_mean is None else torch.from_numpy(np.array(shape_mean, np.float32).ravel())
        return cls(poses, betas)


def mean_vector(codec: Codec[Any], config: PartConfig, means: Means, *, is_body: bool) -> Float[Tensor, " D"]:
    """The vector a part's regressor starts from (spec 2.3).

    Raises AssetError if the tree's means have fewer joints or betas than the network.
    """
    pieces = []
    for block in codec.blocks:
        if block.name == "global_orient":
            value = torch.tensor(SIXD_UPSIDE_DOWN if config.upside_down else SIXD_IDENTITY)
        elif block.kind == "rotation":
            there = means.poses_sixd.get(block.name)
            rest = torch.tensor(SIXD_IDENTITY).repeat(block.count)
            value = rest if there is None else _first(there, block.count, block.name)
        elif block.name == "camera":
            value = torch.tensor([np.log(np.expm1(config.camera_scale)), 0.0, 0.0], dtype=torch.float32)
        elif block.name == "betas" and is_body and means.betas is not None:
            value = _first(means.betas, block.count, "betas")
        else:
            value = torch.zeros(block.width)
        pieces.append(value)
    return torch.cat(pieces)


def _first(there: Tensor, count: int, name: str) -> Tensor:
    if len(there) < count:
        raise AssetError(f"mean {name} has {len(there)} entries, the network needs {count}")
    return there[:count].flatten()
