"""A moving average of the weights (EMA): smoother than the last step's, often better.

Averaging works on each number alone. So where FSDP splits the weights, each process averages its own share, and shares
are put together only to be saved.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor, distribute_tensor

from openexpose.errors import WeightsError


class Average:
    """Running average of a network's trained parameters."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        """decay: share of the old average that each step keeps, 0 to 1; early steps use less (step / (step + 10))."""
        self.decay = decay
        self.taken = 0
        self.values = {k: p.detach().clone() for k, p in network.named_parameters() if p.requires_grad}

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Take in the weights as they are now."""
        self.taken += 1
        keep = min(self.decay, self.taken / (self.taken + 10))
        now = dict(network.named_parameters())
        mine, theirs = [_share(v) for v in self.values.values()], [_share(now[k]) for k in self.values]
        torch._foreach_lerp_(mine, theirs, 1 - keep)

    @torch.no_grad()
    def swap(self, network: nn.Module) -> None:
        """Exchange the average with the network's weights; call twice to be back where you were."""
        if isinstance(network, FSDPModule):
            network.reshard()  # a forward pass leaves them put together, and that copy would outlive the exchange
        for name, parameter in network.named_parameters():
            if name in self.values:
                mine, theirs = _share(self.values[name]), _share(parameter)
                held = mine.clone()
                mine.copy_(theirs)
                theirs.copy_(held)

    def state_dict(self) -> dict[str, Tensor | int]:
        """Everything needed to go on, whole tensors; where weights are split, every process must ask."""
        whole = {k: v.full_tensor() if isinstance(v, DTensor) else v for k, v in self.values.items()}
        return {"taken": self.taken, **{f"value/{k}": v for k, v in whole.items()}}

    def load_state_dict(self, state: Mapping[str, Tensor | int]) -> None:
        """Go on from a saved average; WeightsError if it is of another network."""
        held = {k.removeprefix("value/"): v for k, v in state.items() if k.startswith("value/")}
        if set(held) != set(self.values):
            raise WeightsError(f"the saved average has other parameters: {sorted(set(held) ^ set(self.values))[:3]}")
        self.taken = int(state["taken"])
        for name, mine in self.values.items():
            value = torch.as_tensor(held[name]).to(mine.device)
            if isinstance(mine, DTensor):
                value = distribute_tensor(value, mine.device_mesh, mine.placements)
            _share(mine).copy_(_share(value))


def _share(tensor: Tensor) -> Tensor:
    """The numbers that this process holds: all, or its own rows of a split tensor; a view of them."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor.detach()
