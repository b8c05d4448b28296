"""Scenes drawn ahead in other processes: a draw takes milliseconds, a GPU wants thousands of photos a second."""

import multiprocessing
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import islice
from types import TracebackType

import torch

from openexpose.errors import ConfigError
from openexpose.synth.mannequin import Mannequin
from openexpose.synth.scene import Casting, SceneDraw, SynthConfig

_CHUNK = 16
"""Scenes of one task: few messages, and small batches still use all processes."""


class DrawAhead:
    """Draws batches of scenes in worker processes, in order: the same scenes as `Studio.draw`.

    with DrawAhead(studio.cfg, seed=1, workers=14) as pool:
        for positions, draws in pool.batches(range(k, k + 256) for k in range(0, 10**6, 256)):
            batch = body_batches.batch(positions, draws)
    """

    def __init__(self, cfg: SynthConfig, *, seed: int, workers: int, bank: int = 0, ahead: int = 3) -> None:
        """bank: how many real backgrounds the studio has.   ahead: batches drawn before they are asked for.

        Raises ConfigError for no workers.
        """
        if workers < 1 or ahead < 1:
            raise ConfigError(f"workers={workers}, ahead={ahead}: need at least one of each")
        self.seed, self.ahead = seed, ahead
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(workers, context, initializer=_start, initargs=(cfg, bank))

    def __enter__(self) -> "DrawAhead":
        """The pool itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        """End the processes."""
        self._pool.shutdown(cancel_futures=True)

    def batches(self, positions: Iterable[Sequence[int]]) -> Iterator[tuple[Sequence[int], list[SceneDraw]]]:
        """Each batch's positions with its scenes, in the order given."""
        source = iter(positions)
        waiting: deque[tuple[Sequence[int], list[Future[list[SceneDraw]]]]] = deque()
        for batch in islice(source, self.ahead):
            waiting.append((batch, self._ask(batch)))
        while waiting:
            batch, parts = waiting.popleft()
            for following in islice(source, 1):
                waiting.append((following, self._ask(following)))
            yield batch, [draw for part in parts for draw in part.result()]

    def _ask(self, batch: Sequence[int]) -> list[Future[list[SceneDraw]]]:
        return [self._pool.submit(_draw, self.seed, list(batch[k : k + _CHUNK])) for k in range(0, len(batch), _CHUNK)]


_CASTING: list[Casting] = []
"""Of this worker process."""


def _start(cfg: SynthConfig, bank: int) -> None:
    torch.set_num_threads(1)
    _CASTING[:] = [Casting(Mannequin(), cfg, bank=bank)]


def _draw(seed: int, positions: list[int]) -> list[SceneDraw]:
    return [_CASTING[0].draw(seed, p) for p in positions]
