"""PCK of marked people: the truth scores 100 %, by-hand cases score what they must, files as distributed are read."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

from evaluate import free
from openexpose.body import load_model
from openexpose.data.splits import lspet_validation
from openexpose.errors import AssetError, DataError
from openexpose.evaluate import lsp
from openexpose.evaluate.networks import Networks, boxed_px
from openexpose.evaluate.variants import MEAN, named


def marked(count: int, seed: int = 0) -> np.ndarray:
    """(N, 14, 3) scattered joints, all marked."""
    points = np.random.default_rng(seed).uniform(4, 28, (count, 14, 3))
    points[..., 2] = 1
    return points


def people(points: np.ndarray) -> lsp.People:
    grey = np.full((32, 32, 3), 90, np.uint8)
    at = np.where(points[..., 2:] > 0, points[..., :2], np.nan)
    return lsp.People(tuple(f"p#{i}" for i in range(len(at))), "made up", at, lambda i: grey)


def test_truth_scores_a_hundred_per_cent_and_its_mirror_does_not():
    who = people(marked(3))
    outcome = lsp.pck_outcome(who, {"": torch.from_numpy(who.points_px), MEAN: torch.from_numpy(32 - who.points_px)})
    assert outcome.score("PCK@0.2").value == 100 and outcome.score(named("PCK@0.2", MEAN)).value < 60
    assert set(outcome.parts["PCK@0.2 by joint [%]"].values()) == {100.0}
    (worst,), _ = outcome.worst_and_median(named("PCK@0.2", MEAN), 1)
    assert outcome.scores[1].each[worst] == outcome.scores[1].each.min()


def test_a_fifth_of_the_torso_by_hand():
    points = marked(1)
    points[0, 8, :2], points[0, 3, :2] = (10, 10), (10, 20)  # right shoulder, left hip: the torso is 10 px
    points[0, 5, 2] = 0
    who = people(points)
    pred = torch.from_numpy(np.nan_to_num(who.points_px))
    pred[0, 0, 0] += 1.999  # just right
    pred[0, 1, 0] += 2.1  # wrong
    pred[0, 5] += 1000.0  # not marked
    outcome = lsp.pck_outcome(who, {"": pred})
    assert who.torso_px.tolist() == [10.0] and outcome.scores[0].value == pytest.approx(100 * 12 / 13)
    bars = outcome.parts["PCK@0.2 by joint [%]"]
    assert bars["right_ankle"] == 100 and bars["right_knee"] == 0
    with pytest.raises(DataError, match="finite"):
        lsp.pck_outcome(who, {"": pred * torch.nan})


def test_the_torso_falls_back_to_what_is_marked():
    points = marked(4)
    points[1, 3, 2] = 0
    points[2, [3, 9], 2] = 0
    points[3, [2, 3], 2] = 0
    who = people(points)
    pairs = ((0, 8, 3), (1, 9, 2), (2, 8, 2))
    want = [np.linalg.norm(who.points_px[i, a] - who.points_px[i, b]) for i, a, b in pairs]
    assert np.allclose(who.torso_px[:3], want) and np.isnan(who.torso_px[3])


def test_the_pack_is_read_without_people_that_have_no_torso(tmp_path: Path):
    points = marked(503)
    points[502, [2, 3], 2] = 0
    who = lsp.read(free.pack(tmp_path / "lspet.npz", points))
    assert len(who) == 499 and who.names[0] == "lspet#3" and "; 1 people without" in who.source
    assert np.allclose(who.points_px[0], points[3, :, :2]) and who.photo(0).shape == (32, 32, 3)


@pytest.mark.parametrize("extended", [False, True])
def test_lsp_and_lspet_as_distributed(tmp_path: Path, extended: bool):
    count = int(lspet_validation()[1]) + 1 if extended else 5
    points = marked(count)
    points[..., 2] = 0 if not extended else 1  # LSP's third row says hidden; hidden joints are marked all the same
    (tmp_path / "images").mkdir()
    for i in range(count):
        name = f"im{i + 1:05d}.jpg" if extended else f"im{i + 1:04d}.jpg"
        Image.new("RGB", (16, 16)).save(tmp_path / "images" / name)
    joints = (points + [1, 1, 0]).transpose(1, 2, 0) if extended else (points + [1, 1, 0]).transpose(2, 1, 0)
    savemat(tmp_path / "joints.mat", {"joints": joints})
    who = lsp.read(tmp_path)
    rows = lspet_validation()[:2].tolist() if extended else list(range(5))
    assert np.allclose(who.points_px, points[rows, :, :2])
    assert who.names[1] == (f"im{rows[1] + 1:05d}.jpg" if extended else "im0002.jpg")
    savemat(tmp_path / "joints.mat", {"joints": joints[:, :, 1:]})
    with pytest.raises(DataError, match="photos"):
        lsp.read(tmp_path)
    with pytest.raises(AssetError):
        lsp.read(tmp_path / "images")


def test_the_mean_pose_fills_the_right_box():
    who = people(marked(3))
    places = lsp.mean_places_px(load_model("free"), who).numpy()
    true_size, size = np.ptp(who.points_px, axis=1), np.ptp(places, axis=1)
    assert np.allclose(size.max(1), true_size.max(1))
    middle = [(p.min(1) + p.max(1)) / 2 for p in (places, who.points_px)]
    assert np.allclose(*middle)
    assert (places[:, 13, 1] < places[:, 0, 1]).all() and (places[:, 8, 0] < places[:, 9, 0]).all()
    half = torch.from_numpy(np.where(np.arange(14)[:, None] < 7, who.points_px, np.nan))
    assert torch.isfinite(boxed_px(torch.rand(3, 14, 3), half)).all()


def test_a_body_network_is_scored(tmp_path: Path):
    nets = Networks.load(free.weights(tmp_path / "w.safetensors", "body"))
    who = people(marked(3)).some([2, 0])
    told = []
    scored = lsp.score(nets, who, done=told.append)
    assert told == [2] and scored.outcome.samples == 2 and 0 <= scored.outcome.scores[0].value <= 100
    assert lsp.picture(nets, who, scored, 1).dtype == np.uint8
