"""The command: presets by name, options by field, a dry run, a run."""

import subprocess
import sys
from pathlib import Path

import pytest
import tyro

from openexpose.cli.main import main
from openexpose.cli.train import Train
from openexpose.train.presets import PRESETS
from train.runs import body_file


def test_every_preset_and_every_field_is_an_option() -> None:
    for name, preset in PRESETS.items():
        assert tyro.cli(Train, args=[name]).config == preset()
    changed = tyro.cli(Train, args=["toy", "--optimiser.lr", "0.5", "--batch-size", "7", "--dry-run"])
    assert (changed.config.optimiser.lr, changed.config.batch_size, changed.dry_run) == (0.5, 7, True)


def test_a_misspelt_option_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        tyro.cli(Train, args=["toy", "--batchsize", "7"])
    assert "batchsize" in capsys.readouterr().err


def test_a_dry_run_shows_settings_data_and_schedule(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = ["train", "toy", "--body-model", body_file(tmp_path), "--out", str(tmp_path / "run"), "--dry-run"]
    assert main([*args, "--steps", "40"]) == 0
    shown = capsys.readouterr().out
    for piece in ("optimiser.lr", "4,096 samples an epoch", "40 steps of 32 samples", "0.002", "parameters"):
        assert piece in shown
    assert not (tmp_path / "run").exists()


def test_impossible_settings_end_with_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "expose", "--body-model", "nowhere"]) == 2
    assert "error" in capsys.readouterr().err
    assert main(["train", "toy", "--accelerator", "cuda", "--body-model", body_file(tmp_path)]) == 2
    assert "--accelerator" in capsys.readouterr().err


def test_a_run_leaves_weights_and_a_report(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "openexpose.cli.main", "train", "toy", "--body-model", body_file(tmp_path)]
    sizes = ["--steps", "4", "--batch-size", "4", "--eval-batches", "1", "--log-every", "1", "--accelerator", "cpu"]
    done = subprocess.run([*command, *sizes, "--out", str(tmp_path / "run")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    there = {path.name for path in (tmp_path / "run").iterdir()}
    assert there >= {"best.safetensors", "report.html", "curves.png", "metrics.jsonl", "config.json", "tensorboard"}
    page = (tmp_path / "run" / "report.html").read_text()
    assert page.count("data:image/") == 3 and "joints_mm" in page
