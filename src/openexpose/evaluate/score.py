"""What an evaluation yields: named figures that remember every sample, and what must be said beside them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from openexpose.errors import ConfigError, DataError

Protocol = Literal["mmhuman3d", "paper", "openexpose"]
"""mmhuman3d: the figures of the README tables of configs/expose. paper: those of Choutas et al., ECCV 2020.

openexpose: our own benchmarks (synth, lsp, faces).
"""
Summary = Literal["mean", "median", "std"]
Floats = NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class Score:
    """One figure of a benchmark, with the value of every sample behind it."""

    name: str
    """As the table prints it, e.g. "RIGHT_HAND PA-PVE"."""
    unit: str
    """"mm", "share" or "%"."""
    each: Floats
    """(N,) value of each sample."""
    summary: Summary = "mean"
    """What is made of the samples, or of `points` where there are any."""
    points: Floats | None = None
    """All point distances of all samples, for figures that pool points instead of samples."""
    more_is_better: bool = False
    """True for shares of what is right (PCK): the worst sample then has the smallest value."""

    @classmethod
    def of(cls, name: str, each: Tensor, *, unit: str = "mm") -> "Score":
        """The mean over samples of a metric's values. Raises DataError for values that are not finite, or none."""
        values = each.detach().double().cpu().numpy()
        if len(values) == 0 or not np.isfinite(values).all():
            bad = np.flatnonzero(~np.isfinite(values))[:5].tolist()
            raise DataError(f"{name}: samples {bad} have no finite value; {len(values)} samples were given")
        return cls(name, unit, values)

    @classmethod
    def pooled(
        cls,
        name: str,
        distances: Sequence[Floats],
        summary: Summary,
        *,
        unit: str = "mm",
        more_is_better: bool = False,
    ) -> "Score":
        """A figure over all points of all samples together. distances: one array per sample, none of them empty."""
        if not distances or any(len(d) == 0 for d in distances):
            raise DataError(f"{name}: every sample needs at least one point")
        each = np.array([summarise(d, summary) for d in distances])
        return cls(name, unit, each, summary, np.concatenate(list(distances)), more_is_better)

    @property
    def value(self) -> float:
        """The figure."""
        return summarise(self.each if self.points is None else self.points, self.summary)


def summarise(values: Floats, summary: Summary) -> float:
    """Mean, median or standard deviation (of the population) of all values."""
    if summary == "median":
        return float(np.median(values))
    return float(values.mean() if summary == "mean" else values.std())


@dataclass(frozen=True, eq=False)
class Outcome:
    """All figures of one benchmark under one protocol."""

    benchmark: str
    """"3dpw", "ehf", "freihand", "stirling", "synth-body", "lsp", "faces", ..."""
    protocol: Protocol
    scores: tuple[Score, ...]
    said: tuple[str, ...] = ()
    """Choices that move the numbers, one sentence each; printed under every table."""
    parts: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Bars: group -> joint or part -> mean error in mm, or in the unit that ends the group's name in brackets."""
    derived: Mapping[str, float] = field(default_factory=dict)
    """Numbers made of the figures, with their unit in the name: "attention gain FACE PA-PVE [%]"."""

    @property
    def samples(self) -> int:
        """How many samples every figure rests on."""
        return len(self.scores[0].each)

    def score(self, name: str) -> Score:
        """The figure of that name; ConfigError if there is none."""
        for s in self.scores:
            if s.name == name:
                return s
        raise ConfigError(f"{self.benchmark} has no figure {name!r}; it has {', '.join(s.name for s in self.scores)}")

    def worst_and_median(self, name: str, count: int) -> tuple[list[int], list[int]]:
        """Rows of the `count` worst samples of a figure, worst first, and of the `count` around its median."""
        score = self.score(name)
        order = np.argsort(-score.each if score.more_is_better else score.each, kind="stable")
        low = max(0, (len(order) - count) // 2)
        return order[::-1][:count].tolist(), order[low : low + count].tolist()
