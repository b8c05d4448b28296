"""Checkpoints, averages, batches, the watch: each alone."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from openexpose.body import BodyModel
from openexpose.errors import ConfigError, DataError, WeightsError
from openexpose.train import checkpoint
from openexpose.train.average import Average
from openexpose.train.batches import FirstOnly, Turns, WithCloseups, endless
from openexpose.train.build import header_of, network_config
from openexpose.train.folder import RunFolder
from openexpose.train.report import draw_curves
from openexpose.train.toy import StickPeople
from openexpose.train.watch import TrainingStopped, Watch, memory_advice
from toy_models import toy_mano, toy_smplx
from train.runs import small


@pytest.fixture(scope="module")
def people() -> StickPeople:
    return StickPeople(BodyModel(toy_smplx(4)), "people", crop_px=64, seed=1, samples_per_epoch=100)


@pytest.fixture
def header(tmp_path: Path):
    config = small(tmp_path)
    return header_of(config, network_config(config))


def test_a_checkpoint_comes_back_and_old_ones_go(tmp_path: Path, header) -> None:
    weights = {"a": torch.randn(3, 2), "n": torch.tensor(4)}
    state = {"step": 5, "moments": {"a": torch.randn(3)}, "best": math.inf}
    for step in (1, 2, 3):
        checkpoint.save(tmp_path, step, weights, {**state, "step": step}, header=header, keep=2)
    (tmp_path / "step_00000009.partial").mkdir()
    assert [p.name for p in checkpoint.complete(tmp_path)] == ["step_00000002", "step_00000003"]
    got, back = checkpoint.load(checkpoint.complete(tmp_path)[-1])
    assert torch.equal(got["a"], weights["a"]) and got["n"] == 4
    assert back["step"] == 3 and torch.equal(back["moments"]["a"], state["moments"]["a"]) and back["best"] == math.inf


def test_a_damaged_checkpoint_is_refused(tmp_path: Path, header) -> None:
    path = checkpoint.save(tmp_path, 1, {"a": torch.ones(2)}, {"step": 1}, header=header, keep=1)
    (path / checkpoint.STATE).write_bytes(b"half")
    with pytest.raises(WeightsError, match=r"state\.pt"):
        checkpoint.load(path)


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path: Path, header, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint.save(tmp_path, 1, {"a": torch.ones(2)}, {"step": 1}, header=header, keep=1)

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint.torch, "save", refuse)
    with pytest.raises(DataError, match="Free some space"):
        checkpoint.save(tmp_path, 2, {"a": torch.ones(2)}, {"step": 2}, header=header, keep=1)
    assert [p.name for p in checkpoint.complete(tmp_path)] == ["step_00000001"]


def test_the_average_is_the_recursion_and_swaps_back() -> None:
    network = nn.Linear(2, 1)
    start = network.weight.detach().clone()
    average = Average(network, decay=0.5)
    with torch.no_grad():
        network.weight.add_(1.0)
    average.update(network)
    keep = min(0.5, 1 / 11)
    want = keep * start + (1 - keep) * (start + 1)
    average.swap(network)
    torch.testing.assert_close(network.weight.detach(), want)
    average.swap(network)
    torch.testing.assert_close(network.weight.detach(), start + 1)
    other = Average(nn.Linear(2, 1, bias=False), decay=0.5)
    with pytest.raises(WeightsError, match="bias"):
        other.load_state_dict(average.state_dict())


def test_processes_share_out_every_position_once() -> None:
    def first(rank: int, processes: int, size: int, turns: int) -> list[int]:
        walk = iter(Turns(size, rank, processes, first_turn=0))
        return [p for _ in range(turns) for p in next(walk)]

    assert sorted(first(0, 2, 4, 3) + first(1, 2, 4, 3)) == first(0, 1, 8, 3) == list(range(24))
    late = next(iter(Turns(4, 1, 2, first_turn=5)))
    assert late == list(range(44, 48))


def test_workers_make_the_same_batches(people: StickPeople) -> None:
    turns = Turns(3, 0, 1, first_turn=2)
    alone, helped = endless(people, turns, workers=0), endless(people, turns, workers=1)
    for _ in range(3):
        a, b = next(alone), next(helped)
        assert a.positions == b.positions and torch.equal(a.crops, b.crops)
        assert all(torch.equal(a.targets[k].value, b.targets[k].value) for k in a.targets)


def test_the_same_person_at_the_same_position(people: StickPeople) -> None:
    one, many = people.batch([7]), people.batch([3, 7])
    assert torch.equal(one.crops[0], many.crops[1])
    torch.testing.assert_close(one.targets["keypoints2d"].value[0], many.targets["keypoints2d"].value[1])
    by_heart = FirstOnly(people, 4)
    assert by_heart.samples_per_epoch == 4 and torch.equal(by_heart.batch([11]).crops, people.batch([3]).crops)


def test_close_ups_are_shared_out_as_people_are(people: StickPeople) -> None:
    two, four = (WithCloseups(people, {"hand": (people, n)}) for n in (2, 4))
    halves = [two.batch(range(start, start + 3)) for start in (6, 9)]  # two processes with three people each
    together = four.batch(range(6, 12))
    positions = [p for half in halves for p in half.closeups["hand"].positions]
    assert positions == list(together.closeups["hand"].positions) == [4, 5, 6, 7]
    assert two.samples_per_epoch == people.samples_per_epoch
    stored = together.to(torch.device("cpu")).tensors()
    assert stored["hand/positions"].tolist() == positions and stored["positions"].tolist() == list(range(6, 12))


def test_drawn_people_are_labelled_where_they_are_drawn(people: StickPeople) -> None:
    batch = people.batch(range(16))
    points = batch.targets["keypoints2d"].value
    assert points[..., :2].min() > 0 and points[..., :2].max() < 63  # pixels: everybody is inside the crop
    known = batch.targets["keypoints3d"].weight
    assert 0 < known.sum() < 16 and not batch.targets["body_pose"].value[known == 0].any()
    hips = points[:, 1:3, :2].mean(1).round().long()
    brightest = batch.crops.amax(1)
    at_hips = torch.stack([brightest[i, y, x] for i, (x, y) in enumerate(hips.tolist())])
    assert at_hips.mean() > brightest.flatten(1).mean(1).mean()
    with pytest.raises(ConfigError, match="family smplx"):
        StickPeople(BodyModel(toy_mano(4)), "people", crop_px=64, seed=1, samples_per_epoch=100)


def test_the_watch_stops_what_is_no_number_and_what_runs_away() -> None:
    for loss, norm in ((math.nan, 1.0), (1.0, math.inf)):
        with pytest.raises(TrainingStopped, match="step 3"):
            Watch(limit=3.0).check(3, loss, norm)
    calm = Watch(limit=3.0)
    for step in range(300):
        calm.check(step, 10.0 + math.sin(step), 1.0)
    wild = Watch(limit=3.0)
    with pytest.raises(TrainingStopped, match=r"--optimiser\.lr"):
        for step in range(300):
            wild.check(step, 10.0 if step < 100 else 10.0 * 1.05 ** (step - 100), 1.0)


def test_out_of_memory_names_the_knob() -> None:
    for error in (
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    ):
        with pytest.raises(TrainingStopped, match="--batch-size 24 --accumulate 4"), memory_advice(48, 2):
            raise error
    with pytest.raises(RuntimeError, match="shapes"), memory_advice(48, 1):
        raise RuntimeError("shapes differ")


def test_metrics_survive_a_cut_line_and_drop_what_a_resume_repeats(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, tensorboard=False)
    folder.begin({"seed": 1}, step=0)
    for step in (1, 2, 3):
        folder.log("train", step, {"loss": 1.0 / step})
    with folder.metrics.open("a") as f:
        f.write('{"step": 4, "ki')
    assert [row["step"] for row in folder.read_metrics()] == [1, 2, 3]
    folder.begin({"seed": 1}, step=2)
    assert [row["step"] for row in folder.read_metrics()] == [1, 2]
    with pytest.raises(ConfigError, match=r"seed \(was 1, now 2\)"):
        folder.begin({"seed": 2}, step=2)
    assert draw_curves(folder.read_metrics()).startswith(b"\x89PNG")


def test_a_kept_batch_can_be_read_again(tmp_path: Path, people: StickPeople) -> None:
    from safetensors.numpy import load_file

    batch = people.batch([4, 9])
    stored = load_file(RunFolder(tmp_path, tensorboard=False).keep_batch(12, 0, batch, 0))
    assert stored["positions"].tolist() == [4, 9]
    np.testing.assert_array_equal(stored["target/betas"], batch.targets["betas"].value.numpy())
