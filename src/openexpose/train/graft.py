"""A new trunk under a trained network, so that what stands on the trunk need not be learnt again.

Everything but the trunk is taken over. The layers that read the trunk's maps are fitted by least squares, so that they
give what the old ones gave on the same crops; training goes on from there.
"""

from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from openexpose.errors import ConfigError
from openexpose.nets.points import PointBackbone
from openexpose.nets.regressor import PartRegressor
from openexpose.train.batches import Source, Turns
from openexpose.train.learner import Learner, PartLearner
from openexpose.weights.models import load_part

_TRUNK = "backbone.trunk."
_RIDGE = 1e-5
"""Of the mean variance of what is read: keeps the fit steady where two maps say the same."""
_BATCHES = 100
"""Of the run's first ones; the fit has 450 unknowns for each number, and a batch of 32 has 12,800 places."""


def graft_onto(learner: Learner, path: Path, source: Source, batch_size: int) -> None:
    """Graft a run's network onto its trunk from a weights file, on the first batches of the run.

    Raises ConfigError for networks that do not fit, WeightsError for the file.
    """
    assert isinstance(learner, PartLearner)  # `TrainConfig` refuses a graft in the stage whole
    old = load_part(path, learner.part)
    crops = (source.batch(positions).crops for positions in islice(Turns(batch_size, 0, 1, 0), _BATCHES))
    graft(cast(PartRegressor[Any], learner.network[learner.part]), old, crops)


class Fit:
    """Linear least squares over batches, with an intercept."""

    def __init__(self) -> None:
        """No samples yet."""
        self.xx: Tensor | float = 0.0
        self.xy: Tensor | float = 0.0

    def add(self, x: Float[Tensor, "N P"], y: Float[Tensor, "N Q"]) -> None:
        """More samples."""
        x = functional.pad(x, (0, 1), value=1.0).double()
        self.xx, self.xy = self.xx + x.T @ x, self.xy + x.T @ y.double()

    def solved(self) -> tuple[Float[Tensor, "Q P"], Float[Tensor, " Q"]]:
        """Weight and bias. Raises ConfigError without samples."""
        if not isinstance(self.xx, Tensor) or not isinstance(self.xy, Tensor):
            raise ConfigError("a graft needs at least one batch of crops")
        ridge = torch.full_like(self.xx.diagonal(), _RIDGE * float(self.xx.diagonal()[:-1].mean()))
        ridge[-1] = 0.0
        out = torch.linalg.solve(self.xx + ridge.diag(), self.xy).float()
        return out[:-1].T.contiguous(), out[-1]


@torch.no_grad()
def graft(new: PartRegressor[Any], old: PartRegressor[Any], crops: Iterable[Float[Tensor, "B 3 S S"]]) -> None:
    """Take over all of `old` but its trunk, and fit the layers behind the trunk on these crops (normalised RGB).

    new: its trunk is the one that stays; same sizes otherwise.

    Raises ConfigError if the networks differ in more than their trunks, or without crops.
    """
    a, b = _backbone(new), _backbone(old)
    mine, theirs = ({k: v for k, v in n.state_dict().items() if not k.startswith(_TRUNK)} for n in (new, old))
    readers = _readers(a)
    other = [k for k in {**mine, **theirs} if k not in readers and _shape(mine, k) != _shape(theirs, k)]
    if other:
        raise ConfigError(f"a graft needs networks that differ in their trunks alone; these in {sorted(other)[0]} too")
    modes = new.training, old.training
    new.eval()
    old.eval()
    pyramid, edge, pool = Fit(), Fit(), Fit()
    for batch in crops:
        x, y = (n.trunk(batch.contiguous(memory_format=torch.channels_last)) for n in (a, b))
        pyramid.add(_columns(_stacked(x[1:])), _columns(_summed(b, y[1:])))
        if a.fine:
            edge.add(_columns(x[0]), _columns(_convolved(b.edge, y[0])))
        pool.add(x[-1].mean((2, 3)), b.pool(y[-1].mean((2, 3))))
    new.load_state_dict(mine | {k: v for k, v in theirs.items() if k not in readers}, strict=False)
    weight, bias = pyramid.solved()
    for i, (lateral, part) in enumerate(zip(a.lateral, weight.split(list(a.trunk.widths), 1), strict=True)):
        _put(lateral, part, bias if i == 0 else torch.zeros_like(bias))
    if a.fine:
        _put(a.edge, *edge.solved())
    _put(a.pool, *pool.solved())
    new.train(modes[0])
    old.train(modes[1])


def _backbone(network: PartRegressor[Any]) -> PointBackbone:
    if not isinstance(network.backbone, PointBackbone):
        raise ConfigError("a graft is for `lite` networks")
    return network.backbone


def _readers(backbone: PointBackbone) -> set[str]:
    """Names of the tensors that read the trunk's maps."""
    names = ("lateral.", "edge.", "pool.")
    return {f"backbone.{k}" for k in backbone.state_dict() if k.startswith(names)}


def _shape(state: Mapping[str, Tensor], name: str) -> torch.Size | None:
    return state[name].shape if name in state else None


def _stacked(maps: list[Tensor]) -> Float[Tensor, "B _ h w"]:
    """The maps one above the other, all as wide as the first."""
    size = maps[0].shape[-2:]
    return torch.cat([functional.interpolate(m, size, mode="nearest") for m in maps], 1)


def _summed(backbone: PointBackbone, maps: list[Tensor]) -> Float[Tensor, "B C h w"]:
    """What the pyramid's laterals add up to at stride 8, before the first ReLU."""
    size = maps[0].shape[-2:]
    seen = [_convolved(layer, m) for layer, m in zip(backbone.lateral, maps, strict=True)]
    return torch.stack([functional.interpolate(m, size, mode="nearest") for m in seen]).sum(0)


def _convolved(layer: nn.Module, x: Tensor) -> Tensor:
    """Without the ReLU."""
    assert isinstance(layer, nn.Conv2d)
    return functional.conv2d(x, layer.weight, layer.bias)


def _columns(maps: Float[Tensor, "B C h w"]) -> Float[Tensor, "N C"]:
    return maps.permute(0, 2, 3, 1).flatten(0, 2)


def _put(layer: nn.Module, weight: Float[Tensor, "Q P"], bias: Float[Tensor, " Q"]) -> None:
    assert isinstance(layer, nn.Conv2d | nn.Linear)
    assert layer.bias is not None
    layer.weight.copy_(weight.view_as(layer.weight))
    layer.bias.copy_(bias)
