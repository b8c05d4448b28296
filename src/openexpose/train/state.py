"""From a running job to a checkpoint and back."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from torch import Tensor
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.fsdp import FSDPModule

from openexpose.train import checkpoint
from openexpose.train.job import Job

WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)
"""Put split tensors together, on the CPU; only the first process receives them."""


def full_weights(job: Job) -> dict[str, Tensor]:
    """The network's state dict (every process must ask; the first one gets it)."""
    state = get_model_state_dict(job.learner.network, options=WHOLE)
    return {name: value for name, value in state.items() if isinstance(value, Tensor)}


@contextmanager
def whole_weights(job: Job) -> Iterator[None]:
    """Inside, every process holds all weights, so that one of them may look alone. Every process must enter."""
    if isinstance(job.learner, FSDPModule):
        job.learner.unshard()
        yield
        job.learner.reshard()
    else:
        yield


def save(job: Job) -> None:
    """Write a checkpoint of the step just taken."""
    weights = full_weights(job)
    state: dict[str, Any] = {
        "step": job.step,
        "best": job.best,
        "watch": asdict(job.watch),
        "optimiser": get_optimizer_state_dict(job.learner, job.optimiser.optimizer, options=WHOLE),
        "average": None if job.average is None else job.average.state_dict(),
    }
    if job.is_first:
        folder = job.folder.checkpoints
        checkpoint.save(folder, job.step, weights, state, header=job.header, keep=job.config.keep)
    job.fabric.barrier()


def restore(job: Job) -> None:
    """Go on from the newest complete checkpoint of the folder; nothing happens if there is none.

    Raises WeightsError if it is damaged or of another network.
    """
    found = checkpoint.complete(job.folder.checkpoints)
    if not found:
        return
    weights, state = checkpoint.load(found[-1])
    set_model_state_dict(job.learner.network, dict(weights), options=WHOLE)
    set_optimizer_state_dict(job.learner, job.optimiser.optimizer, state["optimiser"], options=WHOLE)
    job.step, job.best = state["step"], state["best"]
    for name, value in state["watch"].items():
        setattr(job.watch, name, value)
    if job.average is not None:
        job.average.load_state_dict(state["average"])
