"""`openexpose data convert NAME`: a raw data set into HumanData files, as the seed's README names them."""

import os
from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from openexpose.assets.find import data_root
from openexpose.data.convert.common import Options
from openexpose.data.convert.run import Outcome, convert
from openexpose.data.convert.table import CONVERTERS, spec


@dataclass(frozen=True)
class Convert:
    """Turn a raw data set into HumanData files. Without NAME: list the data sets.

    A run that was stopped goes on when the same command is given again. docs/data.md: trees, licences, row counts.
    """

    name: tyro.conf.Positional[str] = ""
    """Data set."""
    root: Path | None = None
    """Its folder; default: its place below `datasets/` in the data tree."""
    out: Path | None = None
    """Folder for the files; default `preprocessed_datasets/` in the data tree."""
    outputs: tuple[str, ...] = ()
    """Only these of the files it makes, without `.npz`."""
    reference_quirks: bool = False
    """Repeat the reference's bugs, for files equal to its own (docs/parity.md)."""
    strict: bool = False
    """Any problem is fatal: its file is not written, and the command exits with 1."""
    photos: bool = True
    """Look for every photo (its header only) and leave out rows without one."""
    body_models: Path | None = None
    """Folder of the body models' files; default `body_models/` in the data tree."""
    workers: int | None = None
    """Processes; default one for each core, at most 8. 0: no other process."""
    most: int = 20
    """Problems printed in full for each file."""


def run(config: Convert) -> int:
    """Convert, print problems and a summary, and return 1 if a file could not be written."""
    console = Console(highlight=False, soft_wrap=True)
    if not config.name:
        wide = console if console.is_terminal else Console(highlight=False, width=160)
        wide.print(_list())
        return 0
    data = data_root()
    line = spec(config.name)
    root = data / "datasets" / line.folder if config.root is None else config.root
    out = data / "preprocessed_datasets" if config.out is None else config.out
    models = data / "body_models" if config.body_models is None else config.body_models
    options = Options(root, config.reference_quirks, config.photos, models)
    workers = min(os.cpu_count() or 1, 8) if config.workers is None else config.workers
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rows]:,} rows"),
    )
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bar:
        tasks = {}

        def show(output: str, done: int, total: int, rows: int) -> None:
            if output not in tasks:
                tasks[output] = bar.add_task(output, total=total, rows=0)
            bar.update(tasks[output], completed=done, rows=rows)

        outcomes = convert(
            config.name, options, out, outputs=config.outputs, strict=config.strict, workers=workers, progress=show
        )
    for outcome in outcomes:
        _print_outcome(console, outcome, config)
    return 0 if all(o.path is not None for o in outcomes) else 1


def _print_outcome(console: Console, outcome: Outcome, config: Convert) -> None:
    for problem in outcome.problems[: config.most]:
        console.print(escape(str(problem)))
    if len(outcome.problems) > config.most:
        console.print(f"... and {len(outcome.problems) - config.most:,} more (--most)")
    count = len(outcome.problems)
    said = f"{outcome.rows:,} rows, {count:,} problem{'' if count == 1 else 's'}"
    if outcome.path is not None:
        size = outcome.path.stat().st_size / 1e6
        console.print(f"[bold]wrote {escape(str(outcome.path))}[/]: {said}, {size:,.1f} MB")
    else:
        why = " (--strict)" if config.strict and outcome.rows else ""
        console.print(f"[bold red]{escape(outcome.output)} not written[/]{why}: {said}")


def _list() -> Table:
    table = Table(box=None, padding=(0, 2))
    for title in ("NAME", "makes", "what it is", "licence"):
        table.add_column(title, no_wrap=title in ("NAME", "makes"))
    for name, line in CONVERTERS.items():
        table.add_row(name, "\n".join(line.outputs), line.what, f"{line.source.licence}\n{line.source.url}")
    return table
