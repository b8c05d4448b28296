"""What bodies, hands and faces do as a rule: mixtures of Gaussians over poses, measured on what the data engine draws.

They ship as numbers (`priors.safetensors`, 50 kB); `synth/priors.py` measures them again. Test clips are not in them.
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
    """A mixture of M Gaussians over V numbers, in float64."""

    mean: Float[Tensor, "M V"]
    precision: Float[Tensor, "M V V"]
    """Inverses of the covariances."""
    weight: Float[Tensor, " M"]
    """How often each is drawn; they add up to 1."""


@cache
def shipped(kind: Kind) -> Prior:
    """body: 21 joints as rotation vectors relative to the parent, radians (63), one Gaussian.

    hand: the 15 of a right hand (45), several: fists, fingers stretched and what is between have little in common.
    face: the jaw's rotation vector and the first 10 expression coefficients (13), one.
    """
    with as_file(files("openexpose.nets") / "priors.safetensors") as path:
        arrays, _ = read_safetensors(path)
    names = ("mean", "covariance", "weight")
    mean, covariance, weight = (torch.from_numpy(arrays[f"{kind}.{name}"]).double() for name in names)
    return Prior(mean, torch.linalg.inv(covariance), weight)
