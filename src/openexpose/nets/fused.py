"""Convolution, batch norm, sum and ReLU in one pass over the memory, by oneDNN where torch has it."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from openexpose.errors import ConfigError


class FusedConv(nn.Module):
    """Convolution, then optionally plus another map, then optionally ReLU: one pass over the memory.

    It answers the first batch in float32 and takes its final form from it: weights in `dtype`, in the layout that the
    kernel for this size of map wants, and a bias that makes up for the mean of what rounding them did to this batch
    (data-free quantisation's bias correction, Nagel et al. 2019: a third of bfloat16's error at no cost).
    """

    def __init__(
        self, conv: nn.Conv2d, norm: nn.Module | None, *, relu: bool, dtype: torch.dtype, most: float | None = None
    ) -> None:
        """most: the ReLU goes no higher (6 for ReLU6); then no map may be added."""
        super().__init__()
        self.most = most
        if isinstance(norm, nn.BatchNorm2d):
            conv = fuse_conv_bn_eval(conv, norm)
        self.relu, self.dtype = relu, dtype
        self.stride, self.padding, self.dilation = list(conv.stride), list(_numbers(conv.padding)), list(conv.dilation)
        self.groups = conv.groups
        weight = conv.weight.detach().float()
        self.weight = weight.contiguous(memory_format=torch.channels_last)
        self.bias = weight.new_zeros(len(weight)) if conv.bias is None else conv.bias.detach().float()
        self.fitted = False
        self.onednn = weight.device.type == "cpu" and torch.backends.mkldnn.is_available()

    def forward(self, x: Tensor, plus: Tensor | None = None) -> Tensor:
        """The convolved map, plus another of the same shape."""
        where = (self.padding, self.stride, self.dilation, self.groups)
        if not (self.fitted and self.onednn):
            out = self._convolved(x, self.weight, self.bias)
            out = out if plus is None else out.add_(plus)
            if not self.fitted:
                self._fit(x)
            return out if not self.relu else out.relu_() if self.most is None else out.clamp_(0, self.most)
        if plus is None and self.most is not None:
            limits = [0.0, self.most]
            return torch.ops.mkldnn._convolution_pointwise(x, self.weight, self.bias, *where, "hardtanh", limits, "")
        if plus is None:
            kind = "relu" if self.relu else "none"
            return torch.ops.mkldnn._convolution_pointwise(x, self.weight, self.bias, *where, kind, [], "")
        after = "relu" if self.relu else None
        add = torch.ops.mkldnn._convolution_pointwise.binary
        return add(x, plus, self.weight, self.bias, *where, "add", 1.0, after, [], "")

    def _convolved(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return functional.conv2d(x, weight, bias, self.stride, self.padding, self.dilation, self.groups)

    def _fit(self, x: Tensor) -> None:
        if self.dtype != torch.float32:
            lost = self.weight - self.weight.to(self.dtype).float()
            self.bias = (self.bias + self._convolved(x, lost, None).mean((0, 2, 3))).to(self.dtype)
            self.weight = self.weight.to(self.dtype)
        if self.onednn:
            where = (self.padding, self.stride, self.dilation, self.groups)
            one = [1, *x.shape[1:]]  # any batch size may follow
            self.weight = torch.ops.mkldnn._reorder_convolution_weight(self.weight, *where, one)
        self.fitted = True


def _numbers(padding: Any) -> tuple[int, int]:
    if isinstance(padding, str):
        raise ConfigError(f"convolutions with padding={padding!r} cannot be fused")
    return (int(padding[0]), int(padding[1]))
