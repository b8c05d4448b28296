"""Lightning Fabric as this package uses it: precision, devices, processes. Its import is here and nowhere else."""

import torch
from torch import nn

from openexpose.errors import ConfigError
from openexpose.extras import load_timm
from openexpose.train.config import TrainConfig

load_timm()  # lets torchvision import beside a CPU-only torch; lightning imports it

from lightning.fabric import Fabric  # noqa: E402
from lightning.fabric.strategies.ddp import DDPStrategy  # noqa: E402
from lightning.fabric.strategies.model_parallel import ModelParallelStrategy  # noqa: E402
from lightning.fabric.strategies.strategy import Strategy  # noqa: E402
from lightning.fabric.wrappers import _FabricModule as FabricModule  # noqa: E402
from lightning.fabric.wrappers import _FabricOptimizer as FabricOptimiser  # noqa: E402
from torch.distributed.device_mesh import DeviceMesh  # noqa: E402
from torch.distributed.fsdp import fully_shard  # noqa: E402

__all__ = ["Fabric", "FabricModule", "FabricOptimiser", "make_fabric"]


def make_fabric(config: TrainConfig) -> Fabric:
    """Fabric for this run; under torchrun or SLURM it takes their processes.

    Raises ConfigError if the accelerator is not there.
    """
    if config.accelerator == "cuda" and not torch.cuda.is_available():
        raise ConfigError("accelerator=cuda: torch sees no CUDA device here; use --accelerator auto or cpu")
    strategy: str | Strategy = "auto"
    if config.strategy == "fsdp":
        strategy = ModelParallelStrategy(
            _shard, data_parallel_size=config.devices * config.nodes, tensor_parallel_size=1
        )
    elif config.strategy == "ddp" or config.devices * config.nodes > 1:
        strategy = DDPStrategy()
    return Fabric(
        accelerator=config.accelerator,
        devices=config.devices,
        num_nodes=config.nodes,
        strategy=strategy,
        precision={"fp32": "32-true", "bf16": "bf16-mixed"}[config.precision],  # type: ignore[arg-type]
    )


def _shard(learner: nn.Module, mesh: DeviceMesh) -> nn.Module:
    """Split every network's weights over the processes (FSDP2)."""
    fully_shard(learner, mesh=mesh["data_parallel"])
    return learner
