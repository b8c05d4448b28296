"""What an evaluation leaves behind: results.json, one CSV row for each sample, plots; and a table for the screen."""

import csv
import json
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.table import Table

from openexpose import __version__
from openexpose.errors import DataError
from openexpose.evaluate.plots import bars_png, histograms_png
from openexpose.evaluate.published import published
from openexpose.evaluate.score import Outcome
from openexpose.readers import sha256_of, write_atomically

SCHEMA = "openexpose results 1"
"""First entry of results.json; a reader refuses any other."""


@dataclass(frozen=True)
class Provenance:
    """Where numbers come from: enough to make them again."""

    command: str
    """As typed."""
    files: Mapping[str, str]
    """File (as the user named it) -> SHA-256 of its bytes: weights, body models, annotations."""
    versions: Mapping[str, str]
    created: str
    """UTC, ISO 8601."""

    @classmethod
    def now(cls, command: Sequence[str], files: Sequence[Path]) -> "Provenance":
        """Of this moment and machine; hashes the files. Raises AssetError for a file that cannot be read."""
        versions = {"openexpose": __version__, "python": platform.python_version(), "platform": sys.platform}
        for name in ("torch", "numpy", "scipy", "libigl", "torchmetrics"):
            try:
                versions[name] = version(name)
            except PackageNotFoundError:
                versions[name] = "not installed"
        hashes = {str(f): sha256_of(f) for f in files}
        return cls(" ".join(command), hashes, versions, datetime.now(UTC).isoformat(timespec="seconds"))


def write_report(
    folder: Path, outcomes: Sequence[Outcome], *, samples: Mapping[str, Sequence[str]], provenance: Provenance
) -> Path:
    """The path of `results.json`; beside it one CSV and the plots of each outcome. Files appear whole or not at all.

    samples: benchmark -> a name for each sample, in the order of the scores (the photo's path), unique.
    Raises DataError when names and scores do not fit, or two outcomes have the same benchmark and protocol.
    """
    stems = [_stem(o) for o in outcomes]
    if len(set(stems)) < len(stems):
        raise DataError(f"the same benchmark and protocol came twice: {', '.join(sorted(stems))}")
    entries = []
    for outcome, stem in zip(outcomes, stems, strict=True):
        names = list(samples.get(outcome.benchmark, ()))
        if len(names) != outcome.samples or len(set(names)) < len(names):
            raise DataError(
                f"{outcome.benchmark}: {outcome.samples} samples were scored, but {len(names)} names were given, "
                f"{len(set(names))} of them different; each sample needs its own"
            )
        _write_csv(folder / f"{stem}.csv", outcome, names)
        plots = [f"{stem}_histograms.png"]
        with write_atomically(folder / plots[0]) as temporary:
            temporary.write_bytes(histograms_png(outcome))
        if outcome.parts:
            plots.append(f"{stem}_bars.png")
            with write_atomically(folder / plots[1]) as temporary:
                temporary.write_bytes(bars_png(outcome))
        entries.append(_entry(outcome) | {"csv": f"{stem}.csv", "plots": plots})
    document = {
        "schema": SCHEMA,
        "created": provenance.created,
        "command": provenance.command,
        "versions": dict(provenance.versions),
        "files": [{"file": k, "sha256": v} for k, v in provenance.files.items()],
        "benchmarks": entries,
    }
    path = folder / "results.json"
    with write_atomically(path) as temporary:
        temporary.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def read_results(path: Path) -> dict[str, Any]:
    """The document of a `results.json` (or of the folder it is in). Raises DataError if it is not one of ours."""
    path = path / "results.json" if path.is_dir() else path
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise DataError(f"{path}: cannot be read as results ({e}); `openexpose eval` writes results.json") from e
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise DataError(f"{path}: not a file of schema {SCHEMA!r}; evaluate again with this version")
    return document


def table(outcome: Outcome) -> Table:
    """Ours beside the printed row, for the screen. Figures that nobody printed have a dash."""
    title = f"{outcome.benchmark}, protocol {outcome.protocol}, {outcome.samples} samples"
    out = Table(title=title, caption="\n".join(outcome.said), caption_justify="left", title_justify="left")
    for name in ("figure", "unit", "ours", "published", "difference", "source"):
        out.add_column(name, justify="left" if name in ("figure", "unit", "source") else "right")
    for score in outcome.scores:
        row = published(outcome.benchmark, outcome.protocol, score.name)
        digits = 3 if score.unit == "share" else 2
        ours = f"{score.value:.{digits}f}"
        if row is None:
            out.add_row(score.name, score.unit, ours, "-", "-", "")
        else:
            source = row.source + (", from memory" if row.certainty == "recalled" else "")
            out.add_row(
                score.name,
                score.unit,
                ours,
                f"{row.value:.{digits}f}",
                f"{score.value - row.value:+.{digits}f}",
                source,
            )
    for name, value in outcome.derived.items():
        out.add_row(name, "", f"{value:.3f}", "-", "-", "derived")
    return out


def _entry(outcome: Outcome) -> dict[str, Any]:
    figures = []
    for score in outcome.scores:
        row = published(outcome.benchmark, outcome.protocol, score.name)
        figures.append(
            {
                "name": score.name,
                "unit": score.unit,
                "value": score.value,
                "summary": score.summary,
                "points": None if score.points is None else len(score.points),
                "published": None if row is None else row.value,
                "source": None if row is None else row.source,
                "certainty": None if row is None else row.certainty,
            }
        )
    return {
        "benchmark": outcome.benchmark,
        "protocol": outcome.protocol,
        "samples": outcome.samples,
        "said": list(outcome.said),
        "figures": figures,
        "parts": {k: dict(v) for k, v in outcome.parts.items()},
        "derived": dict(outcome.derived),
    }


def _write_csv(path: Path, outcome: Outcome, names: Sequence[str]) -> None:
    """Numbers are written so that reading gives the same float again."""
    with write_atomically(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as f:
        rows = csv.writer(f)
        rows.writerow(["sample", *(s.name for s in outcome.scores)])
        for i, name in enumerate(names):
            rows.writerow([name, *(repr(float(s.each[i])) for s in outcome.scores)])


def _stem(outcome: Outcome) -> str:
    return f"{outcome.benchmark}_{outcome.protocol}"
