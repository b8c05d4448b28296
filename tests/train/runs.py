"""Small training runs for the tests: a random body model, a tiny network, drawn people."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from toy_models import toy_smplx

from openexpose.body.files import write_model
from openexpose.train.config import DataConfig, TrainConfig
from openexpose.train.presets import toy
from openexpose.train.run import train


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
        steps=24,
        batch_size=4,
        eval_batches=1,
        eval_every=12,
        save_every=2,
        log_every=1,
        tensorboard=False,
        accelerator="cpu",
    )
    return replace(base, **changes)


def run_quietly(config: TrainConfig, out: Path) -> None:
    """Train on one thread; for other processes."""
    torch.set_num_threads(1)
    train(config, out)
