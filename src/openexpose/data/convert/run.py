"""Converting a data set: pieces of work in other processes, kept on disk until the file is whole.

The same raw files and options give the same bytes, whatever the number of workers and however often it was stopped:
the pieces are fixed by the converter, each is written under its number, and the file is made of them in order.
"""

import hashlib
import json
import multiprocessing
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from openexpose.data.convert.common import Converter, Job, Options, Problem
from openexpose.data.convert.parts import Block, block_of, load_block, save_block, write_blocks
from openexpose.data.convert.table import converter, spec
from openexpose.data.record import Record
from openexpose.errors import AssetError, ConfigError, DataError

PARTS_FOLDER = ".parts"
PARTS_VERSION = 2
"""Raise it when a converter or the form of a piece changes: pieces on disk are then made again."""
Progress = Callable[[str, int, int, int], None]
"""Called with the output, pieces done, pieces in all, rows so far."""


@dataclass
class Outcome:
    """What became of one output file."""

    output: str
    path: Path | None = None
    """The file; None if none was written."""
    rows: int = 0
    problems: list[Problem] = field(default_factory=list)


def convert(
    name: str,
    options: Options,
    out: Path,
    *,
    outputs: Sequence[str] = (),
    strict: bool = False,
    workers: int = 0,
    progress: Progress | None = None,
) -> list[Outcome]:
    """Convert one data set into HumanData files in the folder `out`, and say what became of each.

    outputs: only these files; default all that the data set makes.
    strict: any problem leaves its file unwritten. Else a file lacks what could not be read, and the problems say what.
    workers: processes; 0 = this one.
    Raises ConfigError for an unknown data set or output, DataError if a file cannot be written.
    """
    line = spec(name)
    unknown = sorted(set(outputs) - set(line.outputs))
    if unknown:
        raise ConfigError(f"{name} makes {', '.join(line.outputs)}, not {', '.join(unknown)}")
    if not options.root.is_dir():
        raise ConfigError(
            f"{options.root} is no folder; --root takes the folder of the raw data set ({line.folder} of docs/data.md)"
        )
    outcomes = [_convert_one(name, o, options, out, strict, workers, progress) for o in (outputs or line.outputs)]
    folder = out / PARTS_FOLDER
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
    return outcomes


def _convert_one(
    name: str, output: str, options: Options, out: Path, strict: bool, workers: int, progress: Progress | None
) -> Outcome:
    outcome, module = Outcome(output), converter(name)
    try:
        jobs = list(module.jobs(output, options))
    except (DataError, AssetError) as e:
        outcome.problems.append(Problem(output, str(e)))
        return outcome
    folder = out / PARTS_FOLDER / output
    tasks = [
        Task(name, output, job, options, folder / f"{i:06d}.npz", _fingerprint(name, job, options))
        for i, job in enumerate(jobs)
    ]
    done = rows = 0
    for _, count in _finished(tasks, workers):
        done, rows = done + 1, rows + count
        if progress is not None:
            progress(output, done, len(tasks), rows)
    blocks = [_kept(task) for task in tasks]
    outcome.problems += dict.fromkeys(p for b in blocks for p in b.problems)  # what pieces share is said once
    outcome.rows = sum(map(len, blocks))
    if not outcome.rows:
        outcome.problems.append(Problem(output, f"no row of {options.root} could be used; nothing written"))
    elif not (strict and outcome.problems):
        outcome.path = out / f"{output}.npz"
        write_blocks(outcome.path, blocks, config=name)
        del blocks
        shutil.rmtree(folder, ignore_errors=True)
    return outcome


@dataclass(frozen=True)
class Task:
    """A piece of work with its place on disk; what a worker process is sent."""

    name: str
    output: str
    job: Job
    options: Options
    path: Path
    fingerprint: str


def _finished(tasks: list[Task], workers: int) -> Iterator[tuple[Task, int]]:
    """Yield every piece with its number of rows, those of an earlier run first, the others as they are done."""
    todo = []
    for task in tasks:
        block = load_block(task.path, task.fingerprint)
        if block is None:
            todo.append(task)
        else:
            yield task, len(block)
    workers = min(workers, len(todo))
    if workers < 1:
        worker = Worker()
        yield from ((task, worker(task)) for task in todo)
        return
    context = multiprocessing.get_context("spawn")
    queue = iter(todo)
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        running: dict[Future[int], Task] = {}
        try:
            while True:
                for task in queue:
                    running[pool.submit(_work, task)] = task
                    if len(running) >= 2 * workers:
                        break
                if not running:
                    return
                ready, _ = wait(running, return_when=FIRST_COMPLETED)
                yield from ((running.pop(f), f.result()) for f in ready)
        except BrokenProcessPool as e:
            raise DataError(
                "a worker process died, of too little memory perhaps; run again with fewer --workers"
            ) from e
        finally:
            for f in running:
                f.cancel()


class Worker:
    """Carries out pieces of work, keeping what they share."""

    def __init__(self) -> None:
        self._key: tuple[str, str, Options] | None = None
        self._loaded: Any = None

    def __call__(self, task: Task) -> int:
        """Do one piece, write it, and return its number of rows."""
        rows: list[Record] = []
        problems: list[Problem] = []
        try:
            module = converter(task.name)
            for item in module.rows(task.job, self._load(module, task), task.options):
                if isinstance(item, Problem):
                    problems.append(item)
                else:
                    rows.append(item)
        except (DataError, AssetError) as e:
            before = f", with the {len(rows):,} rows before that" if rows else ""
            problems.append(Problem(task.job.name, f"{e}; left out{before}"))
            rows = []
        block = block_of(rows, problems, f"{task.output}, {task.job.name}")
        save_block(task.path, block, task.fingerprint)
        return len(block)

    def _load(self, module: Converter, task: Task) -> Any:
        key = (task.name, task.output, task.options)
        if self._key != key:
            self._key, self._loaded = None, None  # frees the last one first
            self._loaded = module.load(task.output, task.options)
            self._key = key
        return self._loaded


@lru_cache(maxsize=1)
def _worker() -> Worker:
    """The one `Worker` of a worker process."""
    return Worker()


def _work(task: Task) -> int:
    return _worker()(task)


def _kept(task: Task) -> Block:
    block = load_block(task.path, task.fingerprint)
    if block is None:
        raise DataError(f"{task.path} vanished or changed while converting; run again, in one process at a time")
    return block


def _fingerprint(name: str, job: Job, options: Options) -> str:
    """What a piece was made of: options, what it is, size and time of its files."""
    files = [[str(p), *_state(p)] for p in job.sources]
    made_of = [PARTS_VERSION, name, repr(options), job.name, list(job.args), files]
    return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()


def _state(path: Path) -> list[int]:
    try:
        status = path.stat()
    except OSError:
        return []
    return [status.st_size, status.st_mtime_ns]
