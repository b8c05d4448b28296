"""Whole runs in this process: it learns, it stops when it must, options do what they say."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from openexpose.errors import ConfigError
from openexpose.train import build
from openexpose.train.batch import Batch
from openexpose.train.config import DataConfig
from openexpose.train.run import train
from openexpose.train.toy import StickPeople
from openexpose.train.watch import TrainingStopped
from openexpose.weights.native import load_checkpointed
from train.runs import small


@pytest.fixture(autouse=True)
def quiet_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def evaluations(folder) -> list[dict]:
    return [row for row in folder.read_metrics() if row["kind"] == "eval"]


def test_it_learns_what_an_untrained_network_does_not_know(tmp_path: Path) -> None:
    config = replace(
        small(tmp_path), steps=120, batch_size=16, eval_every=120, eval_batches=4, save_every=120, log_every=20
    )
    before, after = evaluations(train(config, tmp_path / "run"))
    assert after["loss"] < 0.85 * before["loss"]  # measured 0.75
    assert after["points_px"] < 0.6 * before["points_px"]  # measured 0.48
    assert after["joints_mm"] < 0.95 * before["joints_mm"]  # measured 0.89; depth and side are slow to learn
    net, state = load_checkpointed(tmp_path / "run" / "best.safetensors", preset="toy")
    assert net.parts == ("body",) and all(torch.isfinite(v).all() for v in state.values())


def test_it_learns_a_few_people_by_heart(tmp_path: Path) -> None:
    data = DataConfig(kind="toy", only_first=4)
    config = replace(small(tmp_path), data=data, steps=150, eval_every=150, save_every=150)
    before, after = evaluations(train(config, tmp_path / "run"))
    assert after["loss"] < 0.15 * before["loss"]


def test_halves_with_accumulation_take_the_same_number_of_samples(tmp_path: Path) -> None:
    whole = train(replace(small(tmp_path), steps=3, batch_size=8), tmp_path / "whole").read_metrics()
    turns = train(replace(small(tmp_path), steps=3, accumulate=2), tmp_path / "turns").read_metrics()
    norms = [[row["grad_norm"] for row in rows if row["kind"] == "train"] for rows in (whole, turns)]
    assert norms[1][0] == pytest.approx(norms[0][0], rel=0.3)  # each half divides by its own number of labels
    assert [row["step"] for row in whole] == [row["step"] for row in turns]


def test_bf16_follows_fp32(tmp_path: Path) -> None:
    full = train(replace(small(tmp_path), steps=3), tmp_path / "fp32").read_metrics()
    short = train(replace(small(tmp_path), steps=3, precision="bf16"), tmp_path / "bf16").read_metrics()
    assert [r["loss"] for r in short] != [r["loss"] for r in full]
    for a, b in zip(short, full, strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=0.02)  # bf16 keeps 8 bits


def test_a_poisoned_batch_stops_the_run_and_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clean = StickPeople.batch

    def poisoned(self: StickPeople, positions) -> Batch:
        batch = clean(self, positions)
        if 20 in batch.positions and self.seed == 0:
            batch.crops[0, 0, 0, 0] = torch.nan
        return batch

    monkeypatch.setattr(StickPeople, "batch", poisoned)
    with pytest.raises(TrainingStopped, match="step 5: loss nan") as stop:
        train(small(tmp_path), tmp_path / "run")
    kept = next((tmp_path / "run").glob("bad_batch_step5_*.safetensors"))
    assert kept.name in str(stop.value)
    monkeypatch.setattr(StickPeople, "batch", clean)
    assert evaluations(train(small(tmp_path), tmp_path / "run"))[-1]["step"] == 16


def test_a_runaway_loss_stops_the_run(tmp_path: Path) -> None:
    base = small(tmp_path)
    wild = replace(base, steps=400, optimiser=replace(base.optimiser, lr=3.0, max_grad_norm=None, warmup_steps=0))
    with pytest.raises(TrainingStopped):
        train(replace(wild, diverge_limit=1.5), tmp_path / "run")


def test_other_settings_do_not_go_on_with_this_run(tmp_path: Path) -> None:
    train(replace(small(tmp_path), steps=2), tmp_path / "run")
    with pytest.raises(ConfigError, match="seed"):
        train(replace(small(tmp_path), steps=4, seed=3), tmp_path / "run")
    assert len(train(replace(small(tmp_path), steps=4), tmp_path / "run").read_metrics()) > 4
    with pytest.raises(ConfigError, match="best_by"):
        train(replace(small(tmp_path), best_by="beauty"), tmp_path / "other")


def test_weights_of_a_run_start_another(tmp_path: Path) -> None:
    folder = train(replace(small(tmp_path), steps=2), tmp_path / "run")
    best = folder.path / "best.safetensors"
    learner = build.build_learner(replace(small(tmp_path), init=(best,)))
    _, state = load_checkpointed(best)
    assert all(torch.equal(value, state[name]) for name, value in learner.network.state_dict().items())
