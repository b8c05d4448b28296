"""Several processes, each with its share of a benchmark: by Lightning Fabric, as training does it."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch

from openexpose.errors import ConfigError
from openexpose.extras import load_timm

Accelerator = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True)
class Ranks:
    """This process among all."""

    rank: int
    ranks: int
    device: str
    """Where its network runs."""
    wait: Callable[[], object]
    """Returns when every process has called it."""


def launch(accelerator: Accelerator, devices: int) -> Ranks:
    """Start `devices` processes that run the same command, or join those of torchrun or SLURM.

    Raises ConfigError for no device, or CUDA that is not there.
    """
    if devices < 1:
        raise ConfigError(f"devices={devices}: at least one")
    if accelerator == "cuda" and not torch.cuda.is_available():
        raise ConfigError("accelerator=cuda: torch sees no CUDA device here; use --accelerator auto or cpu")
    cuda = accelerator != "cpu" and torch.cuda.is_available()
    if devices == 1 and "TORCHELASTIC_RUN_ID" not in os.environ and int(os.environ.get("SLURM_NTASKS", "1")) == 1:
        return Ranks(0, 1, "cuda" if cuda else "cpu", int)
    load_timm()  # lets torchvision import beside a CPU-only torch; lightning imports it
    from lightning.fabric import Fabric  # slow to import, and rarely needed

    fabric = Fabric(accelerator="cuda" if cuda else "cpu", devices=devices, strategy="ddp")
    fabric.launch()
    return Ranks(fabric.global_rank, fabric.world_size, str(fabric.device), fabric.barrier)
