"""Checkpoints that a kill at any moment cannot damage.

A checkpoint is a folder `step_00001200/` with `weights.safetensors` (the network, as everything else reads it) and
`state.pt` (optimiser, averaged weights, position; read with weights_only). It is written under another name, flushed
to the disk, and renamed: a folder of the right name is complete. Older ones go only after that.
"""

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from openexpose.errors import DataError, WeightsError
from openexpose.weights.native import Header, load_weights, save_weights

WEIGHTS, STATE = "weights.safetensors", "state.pt"
_NAME = re.compile(r"step_(\d{8})")


def save(
    folder: Path, step: int, weights: Mapping[str, Tensor], state: Mapping[str, Any], *, header: Header, keep: int
) -> Path:
    """The new checkpoint's folder, complete on the disk; only the `keep` newest stay.

    weights: the network's state dict.   state: nested plain containers of tensors and numbers.
    Raises DataError when the disk refuses; the last complete checkpoint is untouched then.
    """
    final = folder / f"step_{step:08d}"
    partial = folder / f"{final.name}.partial"
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        save_weights(weights, partial / WEIGHTS, header)
        torch.save(dict(state), partial / STATE)
        _flush(partial / STATE)
        _flush(partial)
        if final.exists():
            shutil.rmtree(final)
        partial.rename(final)
        _flush(folder)
        for old in complete(folder)[:-keep]:
            shutil.rmtree(old)
    except (OSError, RuntimeError) as e:
        raise DataError(f"the checkpoint {final} could not be written ({e}). Free some space and run again.") from e
    return final


def complete(folder: Path) -> list[Path]:
    """The finished checkpoints of a run, oldest first; half-written ones are not among them."""
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if _NAME.fullmatch(p.name))


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights and state of a `step_...` folder, on the CPU.

    Raises WeightsError if a file is missing or damaged.
    """
    _, weights = load_weights(path / WEIGHTS)
    try:
        state = torch.load(path / STATE, map_location="cpu", weights_only=True)
    except Exception as e:
        raise WeightsError(f"{path / STATE} cannot be read ({e}); remove {path} to go on from an older one") from e
    return weights, state


def _flush(path: Path) -> None:
    """Wait until a file's bytes or a folder's entries are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
