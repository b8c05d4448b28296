"""Smooth periodic noise in space, looked up in a small volume: the same on every machine and device."""

from functools import cache

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import Tensor

SIDE = 48
"""Cells along each axis of the volume; one unit of a noise coordinate is this many cells."""
_ROW = SIDE + 1
_SEED = 90


@cache
def _volume() -> NDArray[np.float32]:
    """((SIDE + 1)^3, 4) noise, standard deviation 1, and its gradient per cell; the last layers repeat the first."""
    rng = np.random.default_rng(_SEED)
    value = gaussian_filter(rng.standard_normal((SIDE, SIDE, SIDE)), 1.2, mode="wrap")
    value /= value.std()
    slopes = [(np.roll(value, -1, k) - np.roll(value, 1, k)) / 2 for k in range(3)]
    wrapped = np.pad(np.stack([value, *slopes], -1), [(0, 1)] * 3 + [(0, 0)], mode="wrap")
    return wrapped.reshape(-1, 4).astype(np.float32)


class Noise:
    """The volume on one device."""

    def __init__(self, device: torch.device) -> None:
        self.table = torch.from_numpy(_volume()).to(device)
        self._values = self.table[:, :1].contiguous()

    def __call__(self, points: Float[Tensor, "*N 3"]) -> Float[Tensor, "*N 4"]:
        """Noise and its gradient with respect to the coordinates; detail of about 1/16 unit, period 1."""
        return self._look_up(self.table, points)

    def value(self, points: Float[Tensor, "*N 3"]) -> Float[Tensor, "*N"]:
        """Noise alone, standard deviation near 1."""
        return self._look_up(self._values, points)[..., 0]

    def _look_up(self, table: Tensor, points: Tensor) -> Tensor:
        cell = points * SIDE
        low = torch.floor(cell)
        f = cell - low
        f = f * f * (3 - 2 * f)
        x, y, z = (low - SIDE * torch.floor(low / SIDE)).long().unbind(-1)  # an integer remainder takes longer
        first = ((x * _ROW + y) * _ROW + z).flatten()
        fx, fy, fz = f.flatten(0, -2).split(1, -1)
        planes = []
        for right in (0, _ROW * _ROW):
            rows = []
            for down in (right, right + _ROW):
                near, far = (table.index_select(0, first + step) for step in (down, down + 1))
                rows.append(torch.lerp(near, far, fz))
            planes.append(torch.lerp(rows[0], rows[1], fy))
        return torch.lerp(planes[0], planes[1], fx).view(*points.shape[:-1], table.shape[1])


def hashed(seed: Float[Tensor, "*N"], x: Tensor, y: Tensor) -> Float[Tensor, "*M"]:
    """A number in 0..1 for each whole (x, y) and seed, without pattern: an integer hash (Wang 2007)."""
    n = (x.long() * 374761393 + y.long() * 668265263 + (seed * 4096).long() * 982451653) & 0x7FFFFFFF
    n = ((n ^ (n >> 13)) * 1274126177) & 0x7FFFFFFF
    n = ((n ^ (n >> 16)) * 2246822519) & 0x7FFFFFFF
    return ((n ^ (n >> 15)) & 0xFFFFFF).float() / 0x1000000
