"""A second opinion on a part network: torch.nn.functional on the *foreign* names, nothing of ours."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import conv2d, max_pool2d
from torch.nn.functional import relu as rectify


def part_stages(w: Mapping[str, Tensor], crops: Tensor, *, relu: bool = True) -> Tensor:
    """(T, B, D) guesses of a ResNet-18 part, from the port's `backbone.` and `head.` tensors."""

    def conv(x: Tensor, name: str, stride: int, padding: int) -> Tensor:
        return conv2d(x, w[f"backbone.{name}.weight"], stride=stride, padding=padding)

    def norm(x: Tensor, name: str) -> Tensor:
        mean, var, gain, offset = (
            w[f"backbone.{name}.{leaf}"][:, None, None] for leaf in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (var + 1e-5).sqrt() * gain + offset

    x = max_pool2d(rectify(norm(conv(crops, "conv1", 2, 3), "bn1")), 3, 2, 1)
    for layer in range(1, 5):
        for k in range(2):
            block, stride = f"layer{layer}.{k}", 2 if layer > 1 and k == 0 else 1
            y = rectify(norm(conv(x, f"{block}.conv1", stride, 1), f"{block}.bn1"))
            y = norm(conv(y, f"{block}.conv2", 1, 1), f"{block}.bn2")
            if stride == 2:
                x = norm(conv(x, f"{block}.downsample.0", 2, 0), f"{block}.downsample.1")
            x = rectify(x + y)
    return regressor_stages(w, x.mean((2, 3)), "head.regressor.", relu=relu)


def regressor_stages(w: Mapping[str, Tensor], features: Tensor, prefix: str, *, relu: bool) -> Tensor:
    """The guess after each of three steps."""
    guess, out = w[f"{prefix}mean_param"].expand(len(features), -1), []
    for _ in range(3):
        x = torch.cat([features, guess], 1)
        for i in range(2):
            x = x @ w[f"{prefix}module.blocks.{i}.0.weight"].T + w[f"{prefix}module.blocks.{i}.0.bias"]
            x = rectify(x) if relu else x
        guess = guess + x @ w[f"{prefix}module.output_layer.weight"].T + w[f"{prefix}module.output_layer.bias"]
        out.append(guess)
    return torch.stack(out)
