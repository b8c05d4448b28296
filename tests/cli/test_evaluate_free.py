"""The commands of our own benchmarks, from weights and data to files."""

import json
from pathlib import Path

import numpy as np
import pytest

from evaluate import free
from openexpose.cli import evaluate_free, main
from openexpose.synth import sets


def test_lsp_writes_figures_samples_plots_and_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    points = np.random.default_rng(0).uniform(4, 28, (503, 14, 3))
    points[..., 2] = 1
    data = free.pack(tmp_path / "lspet.npz", points)
    weights = free.weights(tmp_path / "w.safetensors", "body")
    out = tmp_path / "out"
    args = ["eval", "lsp", "--data", str(data), "--weights", str(weights), "--out", str(out), "--n", "3"]
    assert main.main([*args, "--gallery", "1"]) == 0
    said = capsys.readouterr().out
    assert "NOT THE WHOLE SET" in said and ">= 55" in said
    document = json.loads((out / "results.json").read_text())
    entry = document["benchmarks"][0]
    assert entry["samples"] == 3 and {f["file"] for f in document["files"]} == {str(weights), str(data)}
    assert (out / entry["csv"]).read_text().startswith("sample,PCK@0.2") and (out / "lsp.html").stat().st_size > 5000
    assert main.main(["eval", "lsp", "--data", str(tmp_path / "none.npz"), "--weights", str(weights)]) == 2
    assert main.main([*args, "--gallery", "-1"]) == 2


def test_synth_renders_once_and_scores_a_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(evaluate_free, "TEST_SETS", sets.TEST_SETS | {"synth-hand": free.tiny_set("hand")})
    weights = free.weights(tmp_path / "w.safetensors", "hand")
    args = ["eval", "synth", "--data", str(tmp_path / "sets"), "--out", str(tmp_path / "out"), "--workers", "1"]
    assert main.main([*args, "--sets", "synth-hand", "--n", "1", "--render-only"]) == 0
    assert len(list((tmp_path / "sets" / "synth-hand").iterdir())) == 2 and not (tmp_path / "out").exists()
    assert main.main([*args, "--weights", str(weights), "--gallery", "0"]) == 0
    document = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [b["benchmark"] for b in document["benchmarks"]] == ["synth-hand"]
    assert any("recipe" in f["file"] or "settings" in f["file"] for f in document["files"])
    assert main.main([*args, "--weights", str(weights), "--sets", "synth-body"]) == 2
