"""Figures of an answer beside those of the same without attention and of the mean pose: outcomes and tables."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from rich.table import Table
from torch import Tensor

from openexpose.errors import ConfigError
from openexpose.evaluate.score import Outcome, Score

OWN = "no attention"
"""The body network's own estimate, as if nothing had been looked at again."""
HEAT = "heatmaps"
"""Where the network's heatmaps see the points, without a body."""
MEAN = "mean pose"
"""What a network that has learnt nothing but the average would score."""
Columns = Mapping[str, Tensor]
"""Figure -> (N,) one value for each sample."""


@dataclass(frozen=True)
class Aim:
    """What a figure should reach."""

    value: float
    smaller_is_better: bool = True

    def __str__(self) -> str:
        """As a table prints it."""
        return f"{'<=' if self.smaller_is_better else '>='} {self.value:g}"

    def met(self, value: float) -> bool:
        """Whether it is reached."""
        return value <= self.value if self.smaller_is_better else value >= self.value


AIMS: Mapping[str, Mapping[str, Aim]] = {
    "synth-body": {
        "PA-MPJPE": Aim(65.0),
        "PA-PVE": Aim(65.0),
        "HANDS PA-PVE": Aim(14.0),
        "FACE PA-PVE": Aim(6.0),
    },
    "faces": {"NME": Aim(8.0)},
    "lsp": {"PCK@0.2": Aim(55.0, smaller_is_better=False)},
}
"""Benchmark -> figure -> aim of the project (millimetres, per cent)."""
GAIN_AIM = Aim(20.0, smaller_is_better=False)
"""Per cent by which hands and face should be better with attention than without."""


def named(figure: str, variant: str) -> str:
    """Name of a score: the figure alone for the answer itself, with the variant after a comma otherwise."""
    return figure if not variant else f"{figure}, {variant}"


def joined_columns(batches: Iterable[Columns]) -> dict[str, Tensor]:
    """The columns of several batches one after another; ConfigError if there are none."""
    parts: dict[str, list[Tensor]] = {}
    for batch in batches:
        for name, values in batch.items():
            parts.setdefault(name, []).append(values)
    if not parts:
        raise ConfigError("nothing was scored")
    return {name: torch.cat(values) for name, values in parts.items()}


def side_by_side(
    benchmark: str,
    variants: Mapping[str, Columns],
    *,
    unit: str,
    said: Sequence[str],
    gains: Sequence[str] = (),
    parts: Mapping[str, Mapping[str, float]] | None = None,
) -> Outcome:
    """An outcome that holds each figure of each variant; the variant "" is the answer itself.

    gains: figures for which the attention gain is derived: 100 (1 - mean with / mean without) per cent.
    Raises DataError for values that are not finite.
    """
    scores = tuple(
        Score.of(named(figure, variant), values, unit=unit)
        for variant, columns in variants.items()
        for figure, values in columns.items()
    )
    derived = {}
    if OWN in variants:
        for figure in gains:
            with_mm, without_mm = float(variants[""][figure].mean()), float(variants[OWN][figure].mean())
            derived[gain_name(figure)] = 100 * (1 - with_mm / without_mm) if without_mm > 0 else 0.0
    return Outcome(benchmark, "openexpose", scores, tuple(said), parts or {}, derived)


def gain_name(figure: str) -> str:
    """Name of a derived number."""
    return f"attention gain {figure} [%]"


def variants_table(outcome: Outcome, *, full: int | None = None) -> Table:
    """For the screen: figure, the answer, its variants beside it, the gain of attention, the aim and whether it is met.

    full: how many samples the whole benchmark has; a smaller number is said in the title.
    """
    part = "" if full is None or full == outcome.samples else f" of {full}: NOT THE WHOLE SET"
    out = Table(
        title=f"{outcome.benchmark}, {outcome.samples} samples{part}",
        caption="\n".join(outcome.said),
        caption_justify="left",
        title_justify="left",
    )
    values = {s.name: s for s in outcome.scores}
    figures = [s for s in outcome.scores if ", " not in s.name]
    variants = [v for v in (OWN, HEAT, MEAN) if named(figures[0].name, v) in values]
    for name in (
        "figure",
        "unit",
        "answer",
        *variants,
        *([f"gain ({GAIN_AIM} %)"] if outcome.derived else []),
        "aim",
        "",
    ):
        out.add_column(name, justify="left" if name in ("figure", "unit", "") else "right")
    for score in figures:
        aim = AIMS.get(outcome.benchmark, {}).get(score.name)
        row = [score.name, score.unit, f"{score.value:.2f}"]
        row += [f"{values[named(score.name, v)].value:.2f}" for v in variants]
        if outcome.derived:
            gain = outcome.derived.get(gain_name(score.name))
            row.append("" if gain is None else f"{gain:+.1f} % {_verdict(GAIN_AIM, gain)}")
        row += ["", ""] if aim is None else [str(aim), _verdict(aim, score.value)]
        out.add_row(*row)
    return out


def _verdict(aim: Aim, value: float) -> str:
    return "met" if aim.met(value) else "missed"
