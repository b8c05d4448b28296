"""From a picture to an estimate: backbone, then a regressor that corrects its own guess a few times."""

from dataclasses import replace
from typing import Generic, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from openexpose.errors import ShapeError
from openexpose.nets.codec import Codec, Estimate, P
from openexpose.nets.lift import Lifter


class IterativeRegressor(nn.Module):
    """Starts from a mean and adds corrections: p <- p + MLP([features, p]) (spec 2.3).

    State: `hidden.{0,1}.{weight,bias}`, `output.{weight,bias}`, and the buffer `mean_param` (1, D).
    """

    mean_param: Tensor

    def __init__(
        self,
        *,
        num_features: int,
        mean: Float[Tensor, " D"],
        width: int,
        activation: Literal["none", "relu"],
        steps: int,
        dropout: float,
    ) -> None:
        """mean: where to start. activation: between the layers; ExPose's body regressor has none: it is linear."""
        super().__init__()
        D = mean.shape[0]
        self.steps = steps
        self.hidden = nn.ModuleList([nn.Linear(num_features + D, width), nn.Linear(width, width)])
        self.output = nn.Linear(width, D)
        self.activation = nn.ReLU() if activation == "relu" else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("mean_param", mean.detach().clone().float()[None])
        nn.init.xavier_uniform_(self.output.weight, gain=0.01)  # first guesses stay near the mean (HMR)
        nn.init.zeros_(self.output.bias)

    def stages(
        self, features: Float[Tensor, "B F"], start: Float[Tensor, "B D"] | None = None
    ) -> Float[Tensor, "T B D"]:
        """The guess after each step. start: first guess of each row; the mean when None.

        Raises ShapeError if `start` has another length than the mean.
        """
        guess = self.mean_param.expand(len(features), -1) if start is None else start
        if guess.shape[-1] != self.mean_param.shape[-1]:
            raise ShapeError(f"start has {guess.shape[-1]} numbers, this network takes {self.mean_param.shape[-1]}")
        guesses = []
        for _ in range(self.steps):
            x = torch.cat([features, guess], -1)
            for layer in self.hidden:
                x = self.dropout(self.activation(layer(x)))
            guess = guess + self.output(x)
            guesses.append(guess)
        return torch.stack(guesses)

    def forward(
        self, features: Float[Tensor, "B F"], start: Float[Tensor, "B D"] | None = None
    ) -> Float[Tensor, "B D"]:
        """The last guess."""
        return self.stages(features, start)[-1]


class LinearRegressor(nn.Module):
    """Three steps of a regressor without activations, as the one affine map that they are."""

    def __init__(self, regressor: IterativeRegressor) -> None:
        super().__init__()
        layers = [*regressor.hidden, regressor.output]
        weight, bias = layers[0].weight.double(), layers[0].bias.double()
        for layer in layers[1:]:
            weight, bias = layer.weight.double() @ weight, layer.weight.double() @ bias + layer.bias.double()
        D = weight.shape[0]
        from_features, step = weight[:, :-D], weight[:, -D:] + torch.eye(D, dtype=torch.float64, device=weight.device)
        powers = [torch.linalg.matrix_power(step, t) for t in range(regressor.steps + 1)]
        once = torch.stack(powers[:-1]).sum(0)  # 1 + step + step^2: what a constant push adds up to
        self.mean_param = regressor.mean_param
        self.from_features, self.from_start = (w.float() for w in (once @ from_features, powers[-1]))
        self.bias = (once @ bias).float()

    def forward(
        self, features: Float[Tensor, "B F"], start: Float[Tensor, "B D"] | None = None
    ) -> Float[Tensor, "B D"]:
        """The last guess."""
        guess = self.mean_param.expand(len(features), -1) if start is None else start
        return torch.addmm(functional.linear(guess, self.from_start, self.bias), features, self.from_features.T)


def collapsed(regressor: IterativeRegressor | LinearRegressor) -> IterativeRegressor | LinearRegressor:
    """The regressor itself, or one matrix where it has no activations (ExPose's body)."""
    if isinstance(regressor, IterativeRegressor) and isinstance(regressor.activation, nn.Identity):
        return LinearRegressor(regressor)
    return regressor


class PartRegressor(nn.Module, Generic[P]):
    """One of the three networks: crop in, estimate out."""

    def __init__(
        self,
        backbone: nn.Module,
        regressor: IterativeRegressor | LinearRegressor,
        codec: Codec[P],
        *,
        crop_px: int,
        fixed_norm: bool,
        lifter: Lifter | None = None,
    ) -> None:
        """backbone: picture (B, 3, crop_px, crop_px) to features (B, F), with or without points.

        fixed_norm: batch norms always use their stored statistics, in training too, as the reference does; their gains
        and offsets still learn.   lifter: corrects the first guess by the heatmaps' points.
        """
        super().__init__()
        self.backbone, self.regressor, self.codec = backbone, regressor, codec
        self.crop_px, self.fixed_norm, self.lifter = crop_px, fixed_norm, lifter

    def forward(self, crops: Float[Tensor, "B 3 S S"], start: Float[Tensor, "B D"] | None = None) -> Estimate[P]:
        """What the network says about each normalised RGB crop.

        start: first guess of each row, the network's mean when None; a lifter corrects it first.
        Raises ShapeError on other crop sides.
        """
        if len(crops) and crops.shape[-1] != self.crop_px:
            raise ShapeError(f"crops are {crops.shape[-1]} px wide, this network takes {self.crop_px}")
        seen = self.backbone(crops)
        features, points = seen if isinstance(seen, tuple) else (seen, None)
        if self.lifter is not None and points is not None:
            start = self.lifter.of(points, self.regressor.mean_param, start)
        vector: Tensor = self.regressor(features, start)
        return replace(self.codec.split(vector), points=points)

    def train(self, mode: bool = True) -> "PartRegressor[P]":
        """As usual, but fixed batch norms stay in evaluation mode (docs/parity.md, row 11)."""
        super().train(mode)
        if self.fixed_norm:
            for module in self.backbone.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self
