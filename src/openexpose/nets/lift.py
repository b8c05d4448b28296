"""From 2D points to a first guess of a part's parameters, without looking at pixels.

Poses are endless and need no photos, so this small network can see millions of bodies in minutes, and what it learns
has no gap between rendered and real photos (STRAPS' idea: 2D proxies). The regressor starts from its answer.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from openexpose.nets.points import Points

LEAST_PEAK = 0.12
"""Points less sure than this count as unseen."""


class Lifter(nn.Module):
    """Points with how sure they are, in; some numbers of the part's vector, out."""

    columns: Tensor
    told: Tensor

    def __init__(
        self,
        *,
        num_points: int,
        columns: Sequence[int],
        told: Sequence[int] = (),
        legs: Sequence[int] = (),
        width: int,
        blocks: int = 2,
    ) -> None:
        """columns: which numbers of the vector it gives; the others stay as the first guess has them.

        told: those of them whose first guess it is shown and corrects (a hand's turn, as the body sees it); it gives
        the rest as differences from the mean.   legs: points that are seen together or not at all.
        """
        super().__init__()
        self.register_buffer("columns", torch.tensor(columns, dtype=torch.int64), persistent=False)
        self.register_buffer("told", torch.tensor(told, dtype=torch.int64), persistent=False)
        self.legs = tuple(legs)
        self.enter = nn.Linear(4 * num_points + len(told), width)
        self.first = nn.ModuleList([nn.Linear(width, width) for _ in range(blocks)])
        self.second = nn.ModuleList([nn.Linear(width, width) for _ in range(blocks)])
        self.norms = nn.ModuleList([nn.LayerNorm(width) for _ in range(blocks)])
        self.leave = nn.Linear(width, len(columns))
        nn.init.xavier_uniform_(self.leave.weight, gain=0.01)
        nn.init.zeros_(self.leave.bias)

    def forward(
        self,
        at_u: Float[Tensor, "B K 2"],
        peak: Float[Tensor, "B K"],
        mean: Float[Tensor, "1 D"],
        start: Float[Tensor, "B D"] | None = None,
    ) -> Float[Tensor, "B D"]:
        """The vector with its columns lifted. at_u: in [-1, 1] over the crop.   peak: 0 to 1.

        start: first guess of each row; the mean when None.
        """
        start = mean.expand(len(at_u), -1) if start is None else start
        seen = (peak > LEAST_PEAK).to(at_u)
        hint = (start - mean)[:, self.told]
        x = torch.cat([(at_u * seen[..., None]).flatten(1), seen, peak * seen, hint], -1)
        x = functional.relu(self.enter(x))
        for norm, first, second in zip(self.norms, self.first, self.second, strict=True):
            x = x + second(functional.relu(first(norm(x))))
        base = start.index_copy(1, self.columns, mean[:, self.columns].expand(len(x), -1))
        base = base.index_copy(1, self.told, start[:, self.told])
        return base.index_add(1, self.columns, self.leave(functional.relu(x)))

    def of(
        self, points: Points, mean: Float[Tensor, "1 D"], start: Float[Tensor, "B D"] | None = None
    ) -> Float[Tensor, "B D"]:
        """The vector lifted from heatmaps; no gradient reaches them."""
        sharp = points.sharpened().doubted(self.legs)
        return self(sharp.at_u.detach(), sharp.peak.detach(), mean, start)
