"""A moving average of the weights (EMA): smoother than the last step's, often better."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

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
        torch._foreach_lerp_(list(self.values.values()), [now[k] for k in self.values], 1 - keep)

    @torch.no_grad()
    def swap(self, network: nn.Module) -> None:
        """Exchange the average with the network's weights; call twice to be back where you were."""
        for name, parameter in network.named_parameters():
            if name in self.values:
                mine = self.values[name]
                held = mine.clone()
                mine.copy_(parameter)
                parameter.copy_(held)

    def state_dict(self) -> dict[str, Tensor | int]:
        """Everything needed to go on."""
        return {"taken": self.taken, **{f"value/{k}": v for k, v in self.values.items()}}

    def load_state_dict(self, state: Mapping[str, Tensor | int]) -> None:
        """Go on from a saved average; WeightsError if it is of another network."""
        held = {k.removeprefix("value/"): v for k, v in state.items() if k.startswith("value/")}
        if set(held) != set(self.values):
            raise WeightsError(f"the saved average has other parameters: {sorted(set(held) ^ set(self.values))[:3]}")
        self.taken = int(state["taken"])
        for name, value in held.items():
            self.values[name].copy_(torch.as_tensor(value))
