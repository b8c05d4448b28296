"""Do two results differ by more than the choice of samples explains? Paired bootstrap over the samples both have."""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from openexpose.errors import ConfigError, DataError
from openexpose.evaluate.report import read_results
from openexpose.evaluate.score import Summary

Floats = NDArray[np.float64]
_DRAWS_AT_ONCE = 4_000_000
"""Numbers drawn at a time; bounds the memory."""


@dataclass(frozen=True)
class Difference:
    """One figure in two results, over the samples both have."""

    benchmark: str
    protocol: str
    name: str
    unit: str
    samples: int
    """How many samples both results hold."""
    a: float
    b: float
    low: float
    """Lower end of the confidence interval of b - a."""
    high: float
    only_a: int
    """Samples left out because b lacks them."""
    only_b: int

    @property
    def difference(self) -> float:
        """b - a; below zero b has the smaller number."""
        return self.b - self.a

    @property
    def is_clear(self) -> bool:
        """The interval does not hold zero."""
        return self.low > 0 or self.high < 0


def bootstrap_interval(
    a: Floats, b: Floats, *, summary: Summary, level: float, resamples: int, rng: np.random.Generator
) -> tuple[float, float]:
    """Percentile interval of summary(b) - summary(a) when the pairs (a_i, b_i) are drawn again with replacement.

    a, b: (N,) values of the same samples. level: 0.95 for 95 %. Same rng state, same interval.
    Raises DataError for arrays of different length or empty, ConfigError for a level outside 0..1 or resamples < 100.
    """
    if a.shape != b.shape or a.ndim != 1 or len(a) == 0:
        raise DataError(f"pairs are needed: got {a.shape} and {b.shape}")
    if not 0 < level < 1 or resamples < 100:
        raise ConfigError(f"level={level} must lie between 0 and 1, resamples={resamples} be at least 100")
    found: list[Floats] = []
    step = max(1, _DRAWS_AT_ONCE // len(a))
    for start in range(0, resamples, step):
        rows = rng.integers(0, len(a), (min(step, resamples - start), len(a)))
        found.append(_summary(b[rows], summary) - _summary(a[rows], summary))
    low, high = np.quantile(np.concatenate(found), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def compare(a: Path, b: Path, *, level: float = 0.95, resamples: int = 2000, seed: int = 0) -> tuple[Difference, ...]:
    """Every figure that both results have, a against b. a, b: results.json or its folder, with the CSV files beside it.

    Samples are paired by name; those that only one result has are left out and counted. Figures that pool points are
    compared by their values per sample. Raises DataError for files that cannot be read, or nothing in common.
    """
    first, second = _load(a), _load(b)
    out = []
    for key, (summary, unit, left) in first.items():
        if key not in second:
            continue
        right = second[key][2]
        names = [n for n in left if n in right]
        if not names:
            raise DataError(f"{key[0]}: {a} and {b} have no sample in common; were the photos named differently?")
        x, y = np.array([left[n] for n in names]), np.array([right[n] for n in names])
        rng = np.random.default_rng(seed)  # the same draws for each figure, so that equal figures get equal intervals
        low, high = bootstrap_interval(x, y, summary=summary, level=level, resamples=resamples, rng=rng)
        counts = len(left) - len(names), len(right) - len(names)
        both = float(_summary(x[None], summary)[0]), float(_summary(y[None], summary)[0])
        out.append(Difference(*key, unit, len(names), *both, low, high, *counts))
    if not out:
        raise DataError(f"{a} and {b} have no figure in common")
    return tuple(out)


def table(differences: tuple[Difference, ...], *, level: float = 0.95) -> Table:
    """For the screen: both values, b - a with its interval, and whether it is clear of zero."""
    out = Table(title=f"b - a, {100 * level:g} % bootstrap interval over paired samples", title_justify="left")
    for name in ("benchmark", "figure", "samples", "a", "b", "b - a", "interval", "clear"):
        out.add_column(name, justify="left" if name in ("benchmark", "figure") else "right")
    for d in differences:
        left_out = f" (-{d.only_a}/-{d.only_b})" if d.only_a or d.only_b else ""
        out.add_row(
            f"{d.benchmark} {d.protocol}",
            f"{d.name} {d.unit}",
            f"{d.samples}{left_out}",
            f"{d.a:.3f}",
            f"{d.b:.3f}",
            f"{d.difference:+.3f}",
            f"{d.low:+.3f} .. {d.high:+.3f}",
            "yes" if d.is_clear else "no",
        )
    return out


Key = tuple[str, str, str]


def _load(path: Path) -> dict[Key, tuple[Summary, str, dict[str, float]]]:
    """(benchmark, protocol, figure) -> summary, unit, value of each sample by name."""
    document = read_results(path)
    folder = path if path.is_dir() else path.parent
    out: dict[Key, tuple[Summary, str, dict[str, float]]] = {}
    try:
        for entry in document["benchmarks"]:
            columns = _read_csv(folder / Path(entry["csv"]).name)
            for figure in entry["figures"]:
                key = (str(entry["benchmark"]), str(entry["protocol"]), str(figure["name"]))
                summary = figure["summary"]
                pooled_or_mean = summary if figure["points"] is None else "mean"
                out[key] = (_known(pooled_or_mean), str(figure["unit"]), columns[key[2]])
    except (KeyError, TypeError) as e:
        raise DataError(f"{path}: entry {e} is missing or of another kind; evaluate again with this version") from e
    return out


def _known(summary: Any) -> Summary:
    if summary not in ("mean", "median", "std"):
        raise DataError(f"results name a summary {summary!r}; mean, median and std are known")
    return cast(Summary, summary)


def _read_csv(path: Path) -> dict[str, dict[str, float]]:
    try:
        with path.open(newline="", encoding="utf-8") as f:
            header, *rows = csv.reader(f)
        return {name: {row[0]: float(row[k]) for row in rows} for k, name in enumerate(header) if k > 0}
    except (OSError, ValueError, IndexError) as e:
        raise DataError(f"{path}: cannot be read as the samples of a result ({e}); keep it beside results.json") from e


def _summary(values: Floats, summary: Summary) -> Floats:
    if summary == "median":
        return np.median(values, axis=1)
    return values.mean(axis=1) if summary == "mean" else values.std(axis=1)
