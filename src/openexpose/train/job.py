"""What a run consists of while it runs."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from openexpose.train.average import Average
from openexpose.train.batch import Batch
from openexpose.train.batches import Source
from openexpose.train.config import Plan, TrainConfig
from openexpose.train.fabric import Fabric, FabricModule, FabricOptimiser
from openexpose.train.folder import RunFolder
from openexpose.train.learner import Learner
from openexpose.train.watch import Watch
from openexpose.weights.native import Header


@dataclass
class Job:
    """Made by `run.prepare`, carried through `loop.fit`."""

    config: TrainConfig
    plan: Plan
    fabric: Fabric
    learner: Learner
    """The networks, body model and losses themselves."""
    wrapped: FabricModule
    """The learner as Fabric wants it called: batch -> {name: Term}; in eval mode metrics too."""
    optimiser: FabricOptimiser
    batches: Iterator[Batch]
    """Endless, starting at `step`."""
    exam: Source | None
    """What evaluations look at."""
    header: Header
    folder: RunFolder
    watch: Watch
    average: Average | None
    step: int = 0
    """Steps taken."""
    best: float = float("inf")
    """Lowest `config.best_by` so far."""

    @property
    def is_first(self) -> bool:
        """Whether this process writes the folder."""
        return int(self.fabric.global_rank) == 0

    def loss_weights(self) -> dict[str, float]:
        """Weight of each loss of a training step, those of close-ups as "hand/keypoints2d"."""
        found = {str(name): weight for name, weight in self.config.losses.wanted().items()}
        for part, closeup in self.config.closeups.chosen().items():
            found |= {f"{part}/{name}": weight for name, weight in closeup.losses.wanted().items()}
        return found

    def mean_over_processes(self, numbers: Tensor) -> Tensor:
        """Without gradient."""
        return torch.as_tensor(self.fabric.all_reduce(numbers.detach(), reduce_op="mean"))
