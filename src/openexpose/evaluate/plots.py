"""Pictures of an outcome as PNG bytes: a histogram for each figure, bars for joints and parts. No display is needed."""

import io
from typing import Any

import numpy as np

from openexpose.evaluate.score import Outcome

COLUMNS = 3
"""Histograms side by side, at most."""


def histograms_png(outcome: Outcome) -> bytes:
    """One histogram over samples for each figure, with the figure's value and the worst twentieth marked."""
    columns = min(COLUMNS, len(outcome.scores))
    rows = -(-len(outcome.scores) // columns)
    figure = _figure(4.0 * columns, 2.6 * rows + 0.6)
    for k, score in enumerate(outcome.scores):
        axes = figure.add_subplot(rows, columns, k + 1)
        axes.hist(score.each, bins=min(60, max(5, int(np.sqrt(len(score.each)) * 2))), color="#7a8fa6")
        axes.axvline(score.value, color="#b03a2e", label=f"{score.summary} {score.value:.4g}")
        axes.axvline(np.quantile(score.each, 0.95), color="#b03a2e", linestyle=":", label="95 %")
        axes.margins(y=0.3)  # room for the legend
        axes.set_title(score.name, fontsize=9)
        axes.set_xlabel(score.unit, fontsize=8)
        axes.tick_params(labelsize=7)
        axes.legend(fontsize=7, framealpha=0.8, edgecolor="none", loc="upper right")  # "best" is slow
    figure.suptitle(f"{outcome.benchmark} ({outcome.protocol}), {outcome.samples} samples", fontsize=10)
    return _png(figure)


def bars_png(outcome: Outcome) -> bytes:
    """Mean error of each joint or part, one panel for each group of `Outcome.parts` (at least one)."""
    longest = max(len(group) for group in outcome.parts.values())
    figure = _figure(5.0 * len(outcome.parts), max(2.5, 0.24 * longest + 1.2))
    for k, (title, group) in enumerate(outcome.parts.items()):
        axes = figure.add_subplot(1, len(outcome.parts), k + 1)
        axes.barh(list(group), list(group.values()), color="#7a8fa6")
        axes.invert_yaxis()
        axes.set_title(title, fontsize=9)
        axes.set_xlabel(title.rpartition("[")[2].rstrip("]") if title.endswith("]") else "mm", fontsize=8)
        axes.tick_params(labelsize=7)
        axes.margins(x=0.15)  # room for the numbers
        for y, value in enumerate(group.values()):
            axes.text(value, y, f" {value:.1f}", va="center", fontsize=7)
    return _png(figure)


def _figure(width_in: float, height_in: float) -> Any:
    from matplotlib.figure import Figure  # slow to import, and only reports need it

    return Figure(figsize=(width_in, height_in), dpi=110, layout="constrained")


def _png(figure: Any) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format="png", metadata={"Software": None})  # the same numbers give the same bytes
    return out.getvalue()
