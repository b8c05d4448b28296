"""The training form of our trunks: frozen stages as in inference, batch norms inside convolutions, short formats."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.grad import conv2d_weight

from openexpose.nets.fast_points import fold_block
from openexpose.nets.points import LiteTrunk, in_chunks


def quicken_early(trunk: LiteTrunk, dtype: torch.dtype = torch.float32) -> None:
    """Run the stages up to stride 8, which must be frozen, in their inference form, without gradients.

    For training: half the time of these stages on a CPU, with `dtype` bfloat16 a quarter; the maps stay float32. They
    are copied when the first pictures come, so weights may be loaded until then; parameters and state dict of the trunk
    stay as they are. While its batch norms use what they see (`fixed_norm` off), nothing changes.
    """
    ready: list[Callable[[Tensor], list[Tensor]]] = []

    @torch.no_grad()
    def early_maps(picture: Tensor) -> list[Tensor]:
        if trunk.bn1.training:
            return LiteTrunk.early_maps(trunk, picture)
        if not ready:
            early = copy.deepcopy(trunk).eval()
            del early.early_maps  # the class's method is back
            for block in early.modules():
                fold_block(block, dtype)
            chance = torch.Generator().manual_seed(0)  # takes its final form by a picture that is always the same
            early.early_maps(torch.randn(1, *picture.shape[1:], generator=chance).to(picture.device))
            ready.append(early.early_maps)
        done = [ready[0](few) for few in in_chunks(picture.to(dtype))]
        return [torch.cat(maps).float() for maps in zip(*done, strict=True)]

    trunk.early_maps = early_maps  # type: ignore[method-assign]


def quicken_late(trunk: LiteTrunk, dtype: torch.dtype = torch.float32) -> None:
    """Run the stages after stride 8 in `dtype` while the trunk trains.

    Their batch norms go into the convolutions at every step, and the gradient through a depthwise filter is another
    depthwise convolution, which oneDNN does faster than its own backward pass (in bfloat16 by far). In float32 the
    result is the same up to rounding. In evaluation, and while batch norms use what they see, nothing changes.
    """
    plain = trunk.late_maps

    def late_maps(early: Tensor) -> list[Tensor]:
        if not trunk.training or trunk.bn1.training:
            return plain(early)
        return trunk.kept(early.to(dtype), _folded_block)

    trunk.late_maps = late_maps  # type: ignore[method-assign]


def _folded_block(block: Any, x: Float[Tensor, "B _ _ _"]) -> Float[Tensor, "B _ _ _"]:
    """An inverted residual of timm's, with batch norms of fixed statistics."""
    y = functional.relu6(_pointwise(block.conv_pw, block.bn1, x))
    y = functional.relu6(_depthwise(block.conv_dw, block.bn2, y))
    y = _pointwise(block.conv_pwl, block.bn3, y)
    return y + x if block.has_skip else y


def _pointwise(conv: nn.Conv2d, norm: nn.BatchNorm2d, x: Tensor) -> Tensor:
    scale, bias = _scale_and_bias(norm)
    return functional.conv2d(x, (conv.weight * scale[:, None, None, None]).to(x.dtype), bias.to(x.dtype))


def _depthwise(conv: nn.Conv2d, norm: nn.BatchNorm2d, x: Tensor) -> Tensor:
    scale, bias = _scale_and_bias(norm)
    weight = (conv.weight * scale[:, None, None, None]).to(x.dtype)
    out: Tensor = _Depthwise.apply(x, weight, bias.to(x.dtype), conv.stride[0])
    return out


def _scale_and_bias(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    return scale, norm.bias - norm.running_mean * scale


class _Depthwise(torch.autograd.Function):
    """An odd filter for each channel; even maps keep their size or are halved as in TensorFlow."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, stride: int) -> Tensor:
        before = (weight.shape[-1] - stride) // 2
        after = weight.shape[-1] - stride - before
        ctx.save_for_backward(x if ctx.needs_input_grad[1] else None, weight)
        ctx.stride, ctx.before, ctx.after, ctx.shape = stride, before, after, x.shape
        if before == after:
            return functional.conv2d(x, weight, bias, stride, before, groups=x.shape[1])
        return functional.conv2d(functional.pad(x, (before, after) * 2), weight, bias, stride, groups=x.shape[1])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor | None, Tensor, None]:
        (g,), (x, weight) = grads, ctx.saved_tensors
        B, C, H, W = ctx.shape
        by_weight = None
        if x is not None:
            by_weight = _by_weight(functional.pad(x, (ctx.before, ctx.after) * 2), g, weight.shape[-1], ctx.stride)
        by_bias = g.sum((0, 2, 3))
        if ctx.stride > 1:  # zeros between: what lies there was skipped
            spread = g.new_zeros(B, C, H, W).contiguous(memory_format=torch.channels_last)
            spread[..., :: ctx.stride, :: ctx.stride] = g
            g = spread
        reach = weight.shape[-1] - 1
        turned = weight.flip(2, 3).contiguous(memory_format=torch.channels_last)
        by_x = functional.conv2d(functional.pad(g, (reach - ctx.before, ctx.before) * 2), turned, groups=C)
        return by_x, by_weight, by_bias, None


def _by_weight(x: Float[Tensor, "B C _ _"], g: Float[Tensor, "B C h w"], size: int, stride: int) -> Tensor:
    """Gradient of size x size filters; x: with its border.

    In float32 and by 3 x 3 elements: oneDNN is slow in bfloat16, and takes eight times as long for 5 x 5.
    """
    B, C, h, w = g.shape
    exact = torch.promote_types(g.dtype, torch.float32)
    g = g.to(exact)
    out = g.new_empty(C, 1, size, size)
    reach = [stride * (side - 1) + 3 for side in (h, w)]
    for i in range(0, size - 1, 2):
        for j in range(0, size - 1, 2):
            seen = x[..., i : i + reach[0], j : j + reach[1]].to(exact).contiguous(memory_format=torch.channels_last)
            out[..., i : i + 3, j : j + 3] = conv2d_weight(seen, [C, 1, 3, 3], g, stride=stride, groups=C)
    return out.to(x.dtype)
