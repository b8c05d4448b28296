"""One call from a name or a path to a ready body model."""

from pathlib import Path

import torch

import openexpose.body.free as free
from openexpose.body.arrays import Family, ModelArrays
from openexpose.body.files import read_model
from openexpose.body.stages import BodyModel

FREE = {"free": free.load_body, "free-hand": free.load_hand, "free-head": free.load_head}
"""The body models inside the package."""


def load_arrays(
    source: str | Path,
    *,
    family: Family | None = None,
    gender: str | None = None,
    num_betas: int | None = None,
    num_expression: int | None = None,
) -> ModelArrays:
    """Contents of a body model: "free", "free-hand", "free-head", or the path of a file or folder.

    num_betas, num_expression: columns to read from a file, None for all.
    Raises AssetError if the file is missing, damaged or of another family.
    """
    if str(source) in FREE:
        return FREE[str(source)]()
    return read_model(Path(source), family=family, gender=gender, num_betas=num_betas, num_expression=num_expression)


def load_model(
    source: str | Path = "free",
    *,
    family: Family | None = None,
    gender: str | None = None,
    num_betas: int | None = 10,
    num_expression: int | None = None,
    dtype: torch.dtype = torch.float32,
) -> BodyModel:
    """A body model on the CPU.

    source: "free", "free-hand", "free-head", or the path of a SMPL, SMPL-X, MANO, FLAME or safetensors file.
    num_betas: shape columns to keep, None for all. num_expression: None keeps 10 (SMPL-X), 50 (FLAME) or none.
    Raises AssetError (file), ConfigError (more columns asked for than there are).
    """
    arrays = load_arrays(source, family=family, gender=gender, num_betas=num_betas, num_expression=num_expression)
    if num_expression is None:
        num_expression = min(arrays.exprdirs.shape[2], {"smplx": 10, "flame": 50}.get(arrays.family, 0))
    return BodyModel(arrays, num_betas=num_betas, num_expression=num_expression, dtype=dtype)
