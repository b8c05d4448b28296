"""The inference form of `PointBackbone`: batch norms folded into their convolutions, padding too."""

import copy
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from openexpose.errors import ConfigError
from openexpose.nets.fused import FusedConv
from openexpose.nets.points import PointBackbone, RectifiedConv

_PAIRS = (("conv_stem", "bn1"), ("conv_pw", "bn1"), ("conv_dw", "bn2"), ("conv_pwl", "bn3"), ("conv_dw", "bn1"),
          ("conv_pw", "bn2"))  # fmt: skip
"""Convolution and batch norm of timm's stem and blocks; depthwise separable blocks begin with `conv_dw`."""


def folded(backbone: PointBackbone, dtype: torch.dtype) -> PointBackbone:
    """A copy for inference, channels last; convolutions in `dtype`, heatmaps and features in float32."""
    out = copy.deepcopy(backbone).eval()
    for block in out.trunk.modules():
        fold_block(block, dtype)
    for owner in (out, *out.children()):
        for name, module in list(owner.named_children()):
            if isinstance(module, nn.Conv2d):
                own = torch.float32 if name in ("read", "depth_here") else dtype
                setattr(owner, name, FusedConv(module, None, relu=isinstance(module, RectifiedConv), dtype=own))
    return out.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def fold_block(block: Any, dtype: torch.dtype) -> None:
    """Fuse each convolution of this block with its batch norm and activation."""
    for conv_name, norm_name in _PAIRS:
        conv, norm = getattr(block, conv_name, None), getattr(block, norm_name, None)
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d) and conv.out_channels == norm.num_features:
            if norm_name == "bn1" and conv_name == "conv_dw" and hasattr(block, "conv_pwl"):
                continue  # an inverted residual's bn1 belongs to its first convolution
            most = 6.0 if isinstance(norm.act, nn.ReLU6) else None
            plain = _padded_inside(fuse_conv_bn_eval(conv, norm))
            setattr(block, conv_name, FusedConv(plain, None, relu=most is not None, most=most, dtype=dtype))
            setattr(block, norm_name, nn.Identity() if most is not None else norm.act)


def _padded_inside(conv: nn.Conv2d) -> nn.Conv2d:
    """TensorFlow's padding (more at the end) of a strided convolution as oneDNN's own, without a padded copy.

    A row and a column of zeros before the filter move its window by one, so that padding alike on both sides fits.
    Exact for even maps, and crops are multiples of 32. Raises ConfigError for another stride than 2.
    """
    if type(conv).__name__ != "Conv2dSame":
        return conv
    if conv.stride != (2, 2):
        raise ConfigError(f"a convolution with TensorFlow's padding and stride {conv.stride} cannot be fused")
    size = conv.kernel_size[0]
    plain = nn.Conv2d(
        conv.in_channels, conv.out_channels, size + 1, stride=2, padding=(size - 1) // 2, groups=conv.groups
    )
    assert conv.bias is not None  # the batch norm's
    plain.weight.data, plain.bias = functional.pad(conv.weight.data, (1, 0, 1, 0)), conv.bias
    return plain
