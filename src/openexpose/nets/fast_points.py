"""The inference form of `PointBackbone`: batch norms folded into their convolutions."""

import copy
from typing import Any

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from openexpose.nets.points import PointBackbone

_PAIRS = (("conv_stem", "bn1"), ("conv_pw", "bn1"), ("conv_dw", "bn2"), ("conv_pwl", "bn3"), ("conv_dw", "bn1"),
          ("conv_pw", "bn2"))  # fmt: skip
"""Convolution and batch norm of timm's stem and blocks; depthwise separable blocks begin with `conv_dw`."""


def folded(backbone: PointBackbone, dtype: torch.dtype) -> PointBackbone:
    """A copy for inference, channels last; convolutions in `dtype`, heatmaps and features in float32."""
    out = copy.deepcopy(backbone).eval()
    for block in out.trunk.modules():
        _fold(block)
    out = out.to(dtype)
    for layer in (out.pool, *([out.depth_all] if out.depth else [])):
        layer.float()
    return out.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _fold(block: Any) -> None:
    """Fold each pair of this block; the batch norm's activation takes its place."""
    for conv_name, norm_name in _PAIRS:
        conv, norm = getattr(block, conv_name, None), getattr(block, norm_name, None)
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d) and conv.out_channels == norm.num_features:
            if norm_name == "bn1" and conv_name == "conv_dw" and hasattr(block, "conv_pwl"):
                continue  # an inverted residual's bn1 belongs to its first convolution
            setattr(block, conv_name, fuse_conv_bn_eval(conv, norm))
            setattr(block, norm_name, norm.act)
