"""When to stop a run: a loss that is no number, one that runs away, memory that runs out."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from openexpose.errors import OpenExposeError


class TrainingStopped(OpenExposeError):  # noqa: N818 (it is no mistake of ours)
    """Training cannot go on; the message says at which step, why, and what to change."""


@dataclass
class Watch:
    """Follows the loss with a slow average; small, and part of every checkpoint."""

    limit: float
    """The averaged loss may reach so many times its lowest, or the first loss, whichever is more."""
    memory: float = 0.98
    """Share of the average that each step keeps: about 50 steps count."""
    average: float = math.nan
    lowest: float = math.inf
    first: float = math.nan

    def check(self, step: int, loss: float, grad_norm: float) -> None:
        """Nothing, or TrainingStopped at the first loss or gradient that is no number, or when the loss runs away."""
        if not math.isfinite(loss) or not math.isfinite(grad_norm):
            raise TrainingStopped(f"step {step}: loss {loss}, gradient norm {grad_norm}. The weights were not touched.")
        if math.isnan(self.first):
            self.first = self.average = loss
        self.average = self.memory * self.average + (1 - self.memory) * loss
        self.lowest = min(self.lowest, self.average)
        if self.average > max(self.limit * self.lowest, self.first):
            raise TrainingStopped(
                f"step {step}: the loss runs away (average {self.average:.3g}, it was {self.lowest:.3g}). "
                "Lower --optimiser.lr, or set --optimiser.max-grad-norm."
            )


@contextmanager
def memory_advice(batch_size: int, accumulate: int) -> Iterator[None]:
    """Turn out-of-memory errors into TrainingStopped that names the knob."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as e:
        raise TrainingStopped(_advice(batch_size, accumulate)) from e
    except RuntimeError as e:
        if "can't allocate memory" not in str(e) and "not enough memory" not in str(e):
            raise
        raise TrainingStopped(_advice(batch_size, accumulate)) from e


def _advice(batch_size: int, accumulate: int) -> str:
    if batch_size == 1:
        return "out of memory with one sample at once: --precision bf16, a smaller network, or another machine."
    return (
        f"out of memory with {batch_size} samples at once. Halve them and take twice as many turns for one step: "
        f"--batch-size {-(-batch_size // 2)} --accumulate {2 * accumulate}; --precision bf16 also saves memory."
    )
