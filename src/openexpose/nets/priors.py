"""What bodies, hands and faces do as a rule: Gaussians over poses, measured on what the data engine draws.

They ship as numbers (`priors.safetensors`, 30 kB); `synth/priors.py` measures them again. Test clips are not in them.
"""

from dataclasses import dataclass
from functools import cache
from importlib.resources import as_file, files
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from openexpose.readers import read_safetensors

Kind = Literal["body", "hand", "face"]


@dataclass(frozen=True, eq=False)
class Prior:
    """A Gaussian over V numbers, in float64."""

    mean: Float[Tensor, " V"]
    precision: Float[Tensor, "V V"]
    """Inverse of the covariance."""


@cache
def shipped(kind: Kind) -> Prior:
    """body: 21 joints as rotation vectors relative to the parent, radians (63); hand: the 15 of a right hand (45).

    face: the jaw's rotation vector and the first 10 expression coefficients (13).
    """
    with as_file(files("openexpose.nets") / "priors.safetensors") as path:
        arrays, _ = read_safetensors(path)
    mean, covariance = (torch.from_numpy(arrays[f"{kind}.{name}"]).double() for name in ("mean", "covariance"))
    return Prior(mean, torch.linalg.inv(covariance))
