"""Small training runs for the tests: a random body model, a tiny network, drawn people."""

import multiprocessing
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from openexpose.body.files import write_model
from openexpose.train.config import DataConfig, TrainConfig
from openexpose.train.presets import toy
from openexpose.train.run import train
from toy_models import toy_smplx


def fork_server() -> Any:
    """A context whose processes start in milliseconds: a server has imported everything before they fork from it."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["openexpose.train.run"])
    first = context.Process(target=nothing)
    first.start()
    first.join()
    return context


def body_file(folder: Path) -> str:
    """A random body model as a file."""
    path = folder / "body.safetensors"
    if not path.is_file():
        write_model(toy_smplx(4), path, dtype="float32")
    return str(path)


def small(folder: Path, **changes: Any) -> TrainConfig:
    """The toy preset, shrunk until a run takes about a second."""
    base = replace(
        toy(),
        body_model=body_file(folder),
        data=DataConfig(kind="toy", samples_per_epoch=64),
        steps=16,
        batch_size=4,
        eval_batches=1,
        eval_every=8,
        save_every=2,
        log_every=1,
        tensorboard=False,
        report=False,
        accelerator="cpu",
    )
    return replace(base, **changes)


def run_quietly(config: TrainConfig, out: Path) -> None:
    """Train on one thread; for other processes."""
    torch.set_num_threads(1)
    train(config, out)


def run_as_rank(config: TrainConfig, out: Path, rank: int, port: int) -> None:
    """One of two processes, with the environment that torchrun gives them."""
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "GROUP_RANK": "0",
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_RUN_ID": "test",
    }
    run_quietly(config, out)
    torch.distributed.destroy_process_group()


def nothing() -> None:
    """Started first in a fork server: it then has imported everything."""
