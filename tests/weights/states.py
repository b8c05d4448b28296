"""State dicts of exactly the listed names and shapes, cheap on disk: constant tensors share one number."""

import zlib
from pathlib import Path

import torch
from torch import Tensor

from weights import grammar

INDEX_HEADS = {
    "body": {"head.": grammar.BODY_INDEX},
    "hand": {"head.": grammar.HAND_INDEX},
    "face": {"head.": grammar.FACE_INDEX},
    "expose": {"head.": grammar.BODY_INDEX, "hand_head.": grammar.HAND_INDEX, "face_head.": grammar.FACE_INDEX},
    "original": {"smplx.": grammar.BODY_INDEX},
}


def canonical(key: str) -> str:
    """One name for both registrations of a regressor's hidden layer."""
    return key.replace("layer_000.", "blocks.0.").replace("layer_001.", "blocks.1.")


def constant(key: str) -> float:
    """The number that fills a tensor of this name: another one for (almost) every name."""
    return 0.5 + zlib.crc32(canonical(key).encode()) / 2**32


def shapes_of(which: str) -> grammar.Shapes:
    """Names and shapes of one of the five layouts."""
    return grammar.original() if which == "original" else grammar.mmhuman3d(which)


def constants(shapes: grammar.Shapes, which: str = "") -> dict[str, Tensor]:
    """Each tensor filled with the number of its name, one element in memory and on disk; index buffers are true."""
    state = {
        key: torch.full((), 0 if key.endswith(grammar.INTEGER) else constant(key)).expand(shape)
        for key, shape in shapes.items()
    }
    state = {k: v.long() if k.endswith(grammar.INTEGER) else v for k, v in state.items()}
    for head, index in INDEX_HEADS.get(which, {}).items():
        ends = torch.tensor(list(index.values())).cumsum(0).tolist()
        state |= {
            f"{head}{k}_idxs": torch.arange(end - n, end) for (k, n), end in zip(index.items(), ends, strict=True)
        }
    return state


def noise(shapes: grammar.Shapes, which: str, seed: int) -> dict[str, Tensor]:
    """Random weights that keep activations in range; both registrations of a layer are the same tensor."""
    rng = torch.Generator().manual_seed(seed)
    state = constants(shapes, which)
    for key, shape in shapes.items():
        leaf = key.rsplit(".", 1)[-1]
        if key.startswith("body_model_") or key.endswith(grammar.INTEGER):
            continue
        x = torch.randn(shape, generator=rng)
        if leaf == "running_var":
            state[key] = 1 + 0.1 * x.abs()
        elif leaf == "weight" and len(shape) > 1:
            state[key] = x * (2 / x[0].numel()) ** 0.5
        else:
            state[key] = 0.1 * x + (leaf == "weight")
    return {k: state.get(canonical(k), v) for k, v in state.items()}


def save(state: dict[str, Tensor], path: Path, wrapper: str = "state_dict", zip_format: bool = True) -> Path:
    """Writes a checkpoint as its makers did."""
    content = {wrapper: state, "meta": {"epoch": 60, "mmcv_version": "1.3.17"}} if wrapper else state
    torch.save(content, path, _use_new_zipfile_serialization=zip_format)
    return path
