"""A page to look at: the table of a benchmark, its plots, and its worst and middling samples with drawings."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from openexpose.errors import DataError
from openexpose.evaluate.plots import bars_png, histograms_png
from openexpose.evaluate.published import published
from openexpose.evaluate.score import Outcome
from openexpose.export.page import Gallery, Page, Section, Table, Text
from openexpose.export.picture import Picture

CASES = 24
"""Samples of each kind."""
Draw = Callable[[int], UInt8[np.ndarray, "_ _ 3"]]
"""Row of a sample -> its picture, RGB."""


def gallery_page(
    outcome: Outcome, names: Sequence[str], draw: Draw, *, figure: str = "", cases: int = CASES, about: str = ""
) -> Page:
    """The page of one outcome: figures beside published ones, plots, the worst and the median cases of one figure.

    names: of each sample, in the order of the scores. figure: which one sorts the samples; the first if empty.
    draw: called once for each sample that is shown. about: one line below the title (weights, command).
    Raises ConfigError for a figure that the outcome does not have, DataError when names do not fit.
    """
    score = outcome.score(figure) if figure else outcome.scores[0]
    if len(names) != outcome.samples:
        raise DataError(f"{outcome.benchmark}: {outcome.samples} samples, but {len(names)} names for the gallery")
    worst, median = outcome.worst_and_median(score.name, cases)
    pictures = {i: _case(outcome, score.name, names[i], i, draw) for i in dict.fromkeys([*worst, *median])}
    plots = [_plot(histograms_png(outcome), f"Histograms of {outcome.benchmark} over samples")]
    if outcome.parts:
        plots.append(_plot(bars_png(outcome), f"Mean error of each joint or part of {outcome.benchmark}"))
    sections: list[Section] = [
        figures_table(outcome, title=f"{outcome.samples} samples"),
        Text("What the numbers mean", outcome.said),
        Gallery("Plots", plots, wide=True),
        Gallery(f"Worst by {score.name}", [pictures[i] for i in worst], lead=f"{len(worst)} samples, worst first"),
        Gallery(
            f"Around the median of {score.name}",
            [pictures[i] for i in median],
            lead=f"{len(median)} samples in the middle, best first",
        ),
    ]
    title = f"{outcome.benchmark}, protocol {outcome.protocol}"
    return Page(title, sections, subtitle=about, footer=f"OpenExPose, {outcome.samples} samples")


def write_gallery(
    folder: Path,
    outcome: Outcome,
    names: Sequence[str],
    draw: Draw,
    *,
    figure: str = "",
    cases: int = CASES,
    about: str = "",
) -> Path:
    """Write `<benchmark>_<protocol>.html` in the folder and return its path; see `gallery_page`, also for errors."""
    path = folder / f"{outcome.benchmark}_{outcome.protocol}.html"
    gallery_page(outcome, names, draw, figure=figure, cases=cases, about=about).write(path)
    return path


def figures_table(outcome: Outcome, *, title: str, lead: str = "") -> Table:
    """Figures beside published ones, and numbers derived from them, for a page."""
    rows = []
    for score in outcome.scores:
        row, digits = published(outcome.benchmark, outcome.protocol, score.name), 3 if score.unit == "share" else 2
        theirs, apart, source = "-", "-", ""
        if row is not None:
            theirs, apart = f"{row.value:.{digits}f}", f"{score.value - row.value:+.{digits}f}"
            source = row.source + (", from memory" if row.certainty == "recalled" else "")
        rows.append((score.name, score.unit, f"{score.value:.{digits}f}", theirs, apart, source))
    rows += [(name, "", f"{value:.3f}", "-", "-", "derived") for name, value in outcome.derived.items()]
    return Table(title, ("figure", "unit", "ours", "published", "difference", "source"), rows, lead=lead)


def _case(outcome: Outcome, figure: str, name: str, row: int, draw: Draw) -> Picture:
    values = [(s.name, float(s.each[row]), s.unit) for s in outcome.scores]
    first = next(f"{n} {v:.1f} {unit}" for n, v, unit in values if n == figure)
    others = ", ".join(f"{n} {v:.1f}" for n, v, _ in values[:6] if n != figure)
    caption = f"{name}: {first}" + (f" ({others})" if others else "")
    return Picture.jpeg(draw(row), alt=f"{outcome.benchmark}, {name}: photo with the prediction", caption=caption)


def _plot(png: bytes, alt: str) -> Picture:
    width, height = (int.from_bytes(png[at : at + 4], "big") for at in (16, 20))  # of the IHDR chunk
    return Picture(png, "image/png", width, height, alt)
