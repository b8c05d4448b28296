"""Which sample stands at which position of an endless sequence: pure functions of the position.

Workers, ranks and a resumed run take positions of the same sequence, so together they see exactly what one process
would have seen, and nothing has to be stored but the number of positions already used.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from openexpose.data.dataset import Samples
from openexpose.data.sample import Sample, SampleBatch, collate
from openexpose.errors import ConfigError

_MIXING, _SHUFFLING = 0x6D6978, 0x736866
"""Keep the streams of random numbers of the two choices apart from each other and from augmentation's."""


@dataclass(frozen=True)
class Where:
    """What a position means."""

    dataset: int
    row: int
    epoch: int
    index: int
    """Within the epoch."""


@dataclass(frozen=True)
class MixConfig:
    """How data sets are mixed."""

    probabilities: tuple[float, ...]
    """One for each data set; they sum to 1. The reference's body network: 0.08 curated fits, 0.12 SPIN, 0.8 H36M."""
    seed: int
    epoch: Literal["largest", "sum"] | int = "largest"
    """Positions in an epoch: rows of the largest data set (the reference), of all together, or this many."""

    def __post_init__(self) -> None:
        """Raises ConfigError if the probabilities are not a distribution."""
        p = np.asarray(self.probabilities)
        if not len(p) or (p < 0).any() or abs(p.sum() - 1) > 1e-6:
            raise ConfigError(f"mix.probabilities={self.probabilities}: none negative, together 1")
        if isinstance(self.epoch, int) and self.epoch < 1:
            raise ConfigError(f"mix.epoch={self.epoch}: at least one position")


class Order:
    """Positions of several data sets mixed, or of one shuffled."""

    def __init__(self, sizes: Sequence[int], cfg: MixConfig) -> None:
        """sizes: rows of each data set.

        One data set: every row once an epoch, in a new order each time. Several: each position draws its data set with
        the given probabilities and then a row, independently and with replacement, as the reference does (spec 7.3).
        Raises ConfigError if sizes and probabilities do not pair up, or a data set is empty.
        """
        if len(sizes) != len(cfg.probabilities) or min(sizes, default=0) < 1:
            raise ConfigError(
                f"{len(cfg.probabilities)} probabilities for data sets of {list(sizes)} rows; none may be empty"
            )
        self.sizes, self.cfg = tuple(sizes), cfg
        self._upto = np.cumsum(cfg.probabilities)
        self.length: int = {"largest": max(sizes), "sum": sum(sizes)}.get(str(cfg.epoch), 0) or int(cfg.epoch)
        """Positions in an epoch."""
        self._shuffled: Callable[[int], NDArray[np.int64]] = lru_cache(2)(self._shuffle)

    def at(self, position: int) -> Where:
        """Return what stands at a position, 0 or more."""
        epoch, index = divmod(position, self.length)
        if len(self.sizes) == 1:
            turn, place = divmod(position, self.sizes[0])
            return Where(0, int(self._shuffled(turn)[place]), epoch, index)
        rng = np.random.default_rng((self.cfg.seed, _MIXING, position))
        dataset = min(int(np.searchsorted(self._upto, rng.random(), side="right")), len(self.sizes) - 1)
        return Where(dataset, int(rng.integers(self.sizes[dataset])), epoch, index)

    def __getstate__(self) -> dict[str, object]:
        """What other processes need: the settings."""
        return {"sizes": self.sizes, "cfg": self.cfg}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def _shuffle(self, turn: int) -> NDArray[np.int64]:
        return np.random.default_rng((self.cfg.seed, _SHUFFLING, turn)).permutation(self.sizes[0])


class Mixture:
    """Data sets in an `Order`: `mixture.batch(range(48))` are the first 48 samples of training."""

    def __init__(self, parts: Sequence[Samples], cfg: MixConfig) -> None:
        """parts: must share one target layout and crop size to be stacked."""
        self.parts = tuple(parts)
        self.order = Order([len(p) for p in parts], cfg)

    @property
    def samples_per_epoch(self) -> int:
        """Positions that count as one pass."""
        return self.order.length

    def sample(self, position: int) -> Sample:
        """Return the sample at a position."""
        where = self.order.at(position)
        return self.parts[where.dataset].sample(where.row, epoch=where.epoch, index=where.index)

    def batch(self, positions: Sequence[int]) -> SampleBatch:
        """Return the samples at these positions, stacked."""
        return collate([self.sample(p) for p in positions])
