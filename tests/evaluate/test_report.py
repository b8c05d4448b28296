"""Reports: what is written can be read again to the last digit, and two results can be compared."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from openexpose.errors import AssetError, ConfigError, DataError
from openexpose.evaluate import Outcome, Score, compare, report
from openexpose.evaluate.plots import bars_png, histograms_png


def outcome(shift: float = 0.0, n: int = 60) -> Outcome:
    g = torch.Generator().manual_seed(0)
    each = 60 + 10 * torch.randn(n, generator=g, dtype=torch.float64)
    scores = (
        Score.of("PA-MPJPE", each + shift),
        Score.of("MPJPE", 1.5 * each),
        Score.of("F@5", each / 100, unit="share"),
        Score.pooled("HQ median", [np.arange(3.0) + i for i in range(n)], "median"),
    )
    return Outcome("3dpw", "mmhuman3d", scores, ("the root is said",), {"per joint": {"left_hip": 3.0, "neck": 4.0}})


def written(folder: Path, what: Outcome, names: list[str] | None = None) -> Path:
    names = [f"seq/{i:04d}.jpg" for i in range(what.samples)] if names is None else names
    where = report.Provenance.now(["openexpose", "eval", "3dpw"], [])
    return report.write_report(folder, [what], samples={"3dpw": names}, provenance=where)


def test_results_hold_everything_needed_to_make_them_again(tmp_path: Path) -> None:
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(b"abc")
    what = outcome()
    where = report.Provenance.now(["openexpose", "eval", "3dpw"], [weights])
    names = [f"{i}.jpg" for i in range(60)]
    path = report.write_report(tmp_path / "out", [what], samples={"3dpw": names}, provenance=where)
    document = json.loads(path.read_text())
    assert document["command"] == "openexpose eval 3dpw" and {"torch", "openexpose"} <= set(document["versions"])
    assert document["files"][0]["sha256"].startswith("ba7816bf")  # SHA-256 of "abc"
    entry = document["benchmarks"][0]
    assert entry["samples"] == 60 and entry["said"] == ["the root is said"]
    figures = {f["name"]: f for f in entry["figures"]}
    assert figures["PA-MPJPE"]["value"] == what.score("PA-MPJPE").value and figures["PA-MPJPE"]["published"] == 60.43
    assert figures["F@5"]["published"] is None and figures["HQ median"]["points"] == 180
    with (path.parent / entry["csv"]).open(newline="") as f:
        rows = list(csv.DictReader(f))
    assert [float(r["PA-MPJPE"]) for r in rows] == what.score("PA-MPJPE").each.tolist()
    for name in entry["plots"]:
        with Image.open(path.parent / name) as picture:
            assert picture.width > 200 and picture.height > 100
    assert sorted(p.name for p in path.parent.iterdir()) == sorted([path.name, entry["csv"], *entry["plots"]])
    assert report.read_results(tmp_path / "out") == document


def test_plots_are_the_same_bytes_again() -> None:
    assert histograms_png(outcome()) == histograms_png(outcome())
    assert bars_png(outcome()) == bars_png(outcome())
    assert histograms_png(outcome(5.0)) != histograms_png(outcome())


def test_the_table_puts_ours_beside_the_printed_number() -> None:
    screen = Console(file=io.StringIO(), width=160)
    screen.print(report.table(outcome()))
    assert isinstance(screen.file, io.StringIO)
    text = screen.file.getvalue()
    assert "60.43" in text and f"{outcome().scores[0].value:.2f}" in text and "the root is said" in text
    assert "60 samples" in text


def test_report_refusals(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="59 names were given"):
        written(tmp_path, outcome(), [f"{i}" for i in range(59)])
    with pytest.raises(DataError, match="each sample needs its own"):
        written(tmp_path, outcome(), ["same"] * 60)
    where = report.Provenance.now([], [])
    with pytest.raises(DataError, match="came twice"):
        report.write_report(tmp_path, [outcome(), outcome()], samples={}, provenance=where)
    with pytest.raises(AssetError):
        report.Provenance.now([], [tmp_path / "nothing"])
    (tmp_path / "results.json").write_text("{}")
    with pytest.raises(DataError, match="not a file of schema"):
        report.read_results(tmp_path)
    with pytest.raises(DataError, match="cannot be read as results"):
        report.read_results(tmp_path / "nowhere.json")


def test_a_shift_is_found_and_nothing_else(tmp_path: Path) -> None:
    a, b = written(tmp_path / "a", outcome()), written(tmp_path / "b", outcome(-2.0))
    found = {d.name: d for d in compare.compare(a, b)}
    moved = found["PA-MPJPE"]
    assert moved.difference == pytest.approx(-2.0) and moved.is_clear and moved.samples == 60
    assert moved.low == pytest.approx(-2.0) and moved.high == pytest.approx(-2.0)  # paired: every sample moved alike
    assert not any(found[k].is_clear or found[k].difference for k in ("MPJPE", "F@5", "HQ median"))
    screen = Console(file=io.StringIO(), width=160)
    screen.print(compare.table(tuple(found.values())))
    assert isinstance(screen.file, io.StringIO) and "-2.000" in screen.file.getvalue()


def test_samples_of_one_result_alone_are_left_out_and_counted(tmp_path: Path) -> None:
    a = written(tmp_path / "a", outcome())
    b = written(tmp_path / "b", outcome(n=50), [f"seq/{i:04d}.jpg" for i in range(10, 60)])
    d = compare.compare(a, b)[0]
    assert (d.samples, d.only_a, d.only_b) == (50, 10, 0)
    c = written(tmp_path / "c", outcome(), [f"other{i}" for i in range(60)])
    with pytest.raises(DataError, match="no sample in common"):
        compare.compare(a, c)
    (tmp_path / "c" / "3dpw_mmhuman3d.csv").unlink()
    with pytest.raises(DataError, match="keep it beside results.json"):
        compare.compare(a, c)


def test_the_interval_covers_as_often_as_it_says() -> None:
    """60 experiments at 90 %: fewer than 44 hits would be a 1 in 10,000 event."""
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(60):
        a = rng.standard_normal(80)
        b = a + 0.3 + 0.5 * rng.standard_normal(80)
        low, high = compare.bootstrap_interval(a, b, summary="mean", level=0.9, resamples=400, rng=rng)
        hits += low <= 0.3 <= high
    assert hits >= 44
    normal = 1.645 * np.std(b - a) / 80**0.5
    assert (high - low) / 2 == pytest.approx(normal, rel=0.2)


def test_interval_refusals() -> None:
    rng, one = np.random.default_rng(0), np.ones(3)
    with pytest.raises(DataError, match="pairs are needed"):
        compare.bootstrap_interval(one, one[:2], summary="mean", level=0.9, resamples=100, rng=rng)
    with pytest.raises(ConfigError, match="between 0 and 1"):
        compare.bootstrap_interval(one, one, summary="mean", level=95.0, resamples=100, rng=rng)
    assert compare.bootstrap_interval(one, 3 * one, summary="median", level=0.9, resamples=100, rng=rng) == (2.0, 2.0)
    assert compare.bootstrap_interval(one, one, summary="std", level=0.9, resamples=100, rng=rng) == (0.0, 0.0)
