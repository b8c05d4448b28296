"""Which samples a step sees: a pure function of the step, so that a run can go on anywhere, on any number of processes.

Samples are numbered by their position in an endless sequence. Step s of a run with W processes, batches of B and A
turns takes the positions s*A*W*B ... (s+1)*A*W*B - 1; each process takes its own B of every W*B. Two processes with
batches of B therefore see together what one sees with batches of 2B.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch.utils.data import DataLoader, Dataset

from openexpose.nets.params import Part
from openexpose.train.batch import Batch


@runtime_checkable
class Source(Protocol):
    """Where batches come from. The same position always gives the same sample."""

    @property
    def samples_per_epoch(self) -> int:
        """How many positions count as one pass over the data."""

    def batch(self, positions: Sequence[int]) -> Batch:
        """The samples at these positions, stacked, on the CPU."""


@dataclass(frozen=True)
class FirstOnly:
    """The first few samples of a source over and over: what a network must be able to learn by heart."""

    source: Source
    count: int

    @property
    def samples_per_epoch(self) -> int:
        """As many as there are."""
        return self.count

    def batch(self, positions: Sequence[int]) -> Batch:
        """The samples at these positions, modulo the count."""
        return self.source.batch([p % self.count for p in positions])


@dataclass(frozen=True)
class WithCloseups:
    """People, and beside every batch of them a batch of each part's own images."""

    people: Source
    parts: Mapping[Part, tuple[Source, int]]
    """Where a part's images come from, and how many go with a batch."""

    @property
    def samples_per_epoch(self) -> int:
        """As many as there are people."""
        return self.people.samples_per_epoch

    def batch(self, positions: Sequence[int]) -> Batch:
        """The people at these positions; the n-th batch of B people has a part's n-th batch of images.

        So two processes with a half of everything see together what one sees, as with the people.
        """
        people, turn = self.people.batch(positions), positions[0] // len(positions)
        closeups = {p: source.batch(range(turn * n, (turn + 1) * n)) for p, (source, n) in self.parts.items()}
        return Batch(
            people.crops, people.targets, photos=people.photos, positions=people.positions, skipped=people.skipped,
            closeups=closeups,
        )  # fmt: skip


@dataclass(frozen=True)
class Turns:
    """The positions of every batch of one process, from one turn on, for ever."""

    batch_size: int
    rank: int
    processes: int
    first_turn: int

    def __iter__(self) -> Iterator[list[int]]:
        turn = self.first_turn
        while True:
            start = (turn * self.processes + self.rank) * self.batch_size
            yield list(range(start, start + self.batch_size))
            turn += 1


class _BatchAt(Dataset[Batch]):
    """A source seen by torch's loader: the item at a list of positions is a whole batch."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def __getitem__(self, positions: list[int]) -> Batch:
        return self.source.batch(positions)


def endless(source: Source, turns: Turns, workers: int) -> Iterator[Batch]:
    """Batches of one process, prepared ahead by `workers` processes (by this one, when asked for, if 0)."""
    loader: DataLoader[Batch] = DataLoader(
        _BatchAt(source),
        sampler=turns,
        batch_size=None,
        num_workers=workers,
        persistent_workers=workers > 0,
    )
    return iter(loader)
