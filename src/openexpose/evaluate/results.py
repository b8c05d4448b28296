"""The results page of one or several benchmarks: results.json, CSV, plots, a page for each, and one for all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from openexpose.evaluate.gallery import CASES, figures_table, write_gallery
from openexpose.evaluate.report import Provenance, write_report
from openexpose.evaluate.run import Result
from openexpose.evaluate.score import Outcome
from openexpose.export.page import Page, Section, Table, Text

LEGEND = "left: the crop with true points (green, where the file has any) and predicted ones (red); right: the surface"


def write_results(
    folder: Path,
    results: Sequence[Result],
    *,
    command: Sequence[str],
    not_run: Mapping[str, str] | None = None,
    cases: int = CASES,
) -> Path:
    """Write everything about some benchmarks into a folder and return the path of `results.json`.

    command: as typed. not_run: benchmark -> why it has no figures; shown on the page. cases: how many of the worst and
    of the median samples are drawn; 0 leaves the galleries away. Raises DataError when the disk refuses.
    """
    files = list(dict.fromkeys(f for r in results for f in r.files))
    provenance = Provenance.now(command, files)
    samples = {o.benchmark: r.names for r in results for o in r.outcomes}
    outcomes = [o for r in results for o in r.outcomes]
    path = write_report(folder, outcomes, samples=samples, provenance=provenance)
    about = f"{provenance.command} · {provenance.created} · {LEGEND}"
    for result in results if cases else ():
        for outcome in result.outcomes:
            has = any(s.name == result.figure for s in outcome.scores)
            figure = result.figure if has else ""
            write_gallery(folder, outcome, result.names, result.draw, figure=figure, about=about, cases=cases)
    pages = {_titled(o): f"{o.benchmark}_{o.protocol}.html" for o in outcomes if cases}
    summary(outcomes, provenance, not_run or {}, pages).write(folder / "results.html")
    return path


@dataclass(frozen=True)
class Links:
    """Other pages of the same folder."""

    title: str
    pages: Mapping[str, str]
    """Words -> file."""
    lead: str = ""

    def body(self) -> str:
        """HTML, escaped."""
        return "".join(f'<p><a href="{escape(file)}">{escape(words)}</a></p>' for words, file in self.pages.items())


def summary(
    outcomes: Sequence[Outcome],
    provenance: Provenance,
    not_run: Mapping[str, str],
    pages: Mapping[str, str] | None = None,
) -> Page:
    """All tables below each other, what was not run and why, and where the numbers come from.

    pages: words -> file of the pages with drawings, which are linked to.
    """
    sections: list[Section] = [Links("Worst and median samples, plots", pages)] if pages else []
    sections += [_table(o) for o in outcomes]
    if not_run:
        sections.append(Text("Not run", [f"{name}: {why}" for name, why in not_run.items()]))
    versions = ", ".join(f"{k} {v}" for k, v in provenance.versions.items())
    made_of = [[name, digest] for name, digest in provenance.files.items()]
    sections.append(Table("Files", ("file", "SHA-256"), made_of, lead=versions))
    return Page("Benchmarks", sections, subtitle=f"{provenance.command} · {provenance.created}", footer="OpenExPose")


def _table(outcome: Outcome) -> Table:
    return figures_table(outcome, title=_titled(outcome), lead="; ".join(outcome.said))


def _titled(outcome: Outcome) -> str:
    return f"{outcome.benchmark}, protocol {outcome.protocol}, {outcome.samples} samples"
