"""Curves and a page of a run, drawn from its metrics file."""

import base64
import html
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from openexpose.data.sample import skip_report
from openexpose.readers import write_atomically
from openexpose.train.folder import RunFolder

Rows = Sequence[Mapping[str, Any]]
NOT_DRAWN = ("step", "kind", "at_s", "lr", "grad_norm")
TIMES = "_ms"

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>
 body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #222 }}
 img {{ max-width: 100%; border-radius: 6px }} table {{ border-collapse: collapse; font-variant-numeric: tabular-nums }}
 td, th {{ padding: .2rem .8rem; text-align: right; border-bottom: 1px solid #ddd }}
 figcaption, .small {{ color: #666; font-size: .9rem }} figure {{ margin: 1.5rem 0 }}
</style>
<h1>{title}</h1>
<p class="small">{summary}</p>
<figure><img alt="curves" src="{curves}"><figcaption>Losses and metrics over steps.</figcaption></figure>
<h2>Evaluations</h2>
{table}
{pictures}
{skipped}
</html>
"""


def write_report(folder: RunFolder, *, title: str, summary: str) -> Path:
    """The run's `report.html`, one self-contained page; `curves.png` is drawn on the way."""
    rows = folder.read_metrics()
    curves = draw_curves(rows)
    with write_atomically(folder.path / "curves.png") as temporary:
        temporary.write_bytes(curves)
    pictures = sorted((folder.path / "pictures").glob("step_*.jpg"))
    shown = pictures[:1] + pictures[-1:] if len(pictures) > 1 else pictures
    page = _PAGE.format(
        title=html.escape(title),
        summary=html.escape(summary),
        curves=_embedded(curves, "png"),
        table=_table([row for row in rows if row["kind"] == "eval"]),
        pictures="\n".join(_figure(path) for path in shown),
        skipped=_skipped(folder.skipped()),
    )
    path = folder.path / "report.html"
    with write_atomically(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def draw_curves(rows: Rows) -> bytes:
    """A PNG: on the left the training losses, on the right what evaluations measured."""
    from matplotlib.figure import Figure  # slow to import, and only needed here

    figure = Figure(figsize=(11, 4), dpi=110, layout="constrained")
    left, right = figure.subplots(1, 2)
    for axes, kind in ((left, "train"), (right, "eval")):
        chosen = [row for row in rows if row["kind"] == kind]
        for name in _names(chosen):
            points = [(row["step"], row[name]) for row in chosen if name in row]
            width = 2.0 if name == "loss" else 1.0
            axes.plot(*zip(*points, strict=True), label=name, linewidth=width, marker="." if len(points) < 30 else None)
        axes.set_title({"train": "training", "eval": "evaluation"}[kind])
        axes.set_xlabel("step")
        if chosen:
            axes.set_yscale("log" if any(row.get("loss", 0) > 0 for row in chosen) else "linear")
            axes.legend(fontsize=7, frameon=False)
        axes.grid(alpha=0.3)
    out = BytesIO()
    figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()


def _names(rows: Rows) -> list[str]:
    names = dict.fromkeys(key for row in rows for key in row)
    return [n for n in names if n not in NOT_DRAWN and not n.endswith(TIMES) and n != "samples_per_s"]


def _table(rows: Rows) -> str:
    if not rows:
        return "<p>None yet.</p>"
    names = _names(rows)
    shown = rows if len(rows) <= 12 else [*rows[:2], *rows[-10:]]
    head = "".join(f"<th>{html.escape(n)}</th>" for n in ("step", *names))
    cells = ("".join(f"<td>{row[n]:.4g}</td>" if n in row else "<td></td>" for n in names) for row in shown)
    body = "".join(f"<tr><td>{row['step']}</td>{line}</tr>" for row, line in zip(shown, cells, strict=True))
    return f"<table><tr>{head}</tr>{body}</table>"


def _skipped(messages: Sequence[str]) -> str:
    if not messages:
        return ""
    text = html.escape(skip_report(messages))
    return f'<h2>Skipped</h2><pre class="small">{text}</pre><p class="small">All: skipped_process*.txt</p>'


def _figure(path: Path) -> str:
    step = int(path.stem.removeprefix("step_"))
    caption = f"After step {step}: green is the label, red the network's answer."
    return (
        f'<figure><img alt="" src="{_embedded(path.read_bytes(), "jpeg")}"><figcaption>{caption}</figcaption></figure>'
    )


def _embedded(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
