"""68-point error of faces: the truth scores 0, a shift scores itself, and only people kept from training count."""

from pathlib import Path

import numpy as np
import pytest
import torch

from evaluate import free
from openexpose.body import load_model
from openexpose.errors import DataError, WeightsError
from openexpose.evaluate import faces
from openexpose.evaluate.networks import Networks
from openexpose.evaluate.variants import MEAN, named


def marked(count: int) -> np.ndarray:
    """(N, 68, 3) FreeHead's landmarks in pixels, all marked."""
    m = load_model("free-head", num_betas=10)
    points = faces.landmarks_m(m.shape().pose(torch.eye(3).expand(1, 5, 3, 3)))[0, :, :2].numpy() * [1, -1]
    points = 4 + 24 * (points - points.min(0)) / np.ptp(points, axis=0).max()
    return np.repeat(np.column_stack([points, np.ones(68)])[None], count, 0)


def some(count: int) -> faces.Faces:
    grey = np.full((32, 32, 3), 90, np.uint8)
    return faces.Faces(tuple(f"f#{i}" for i in range(count)), "made up", marked(count)[..., :2], lambda i: grey)


def test_truth_scores_zero_and_a_shift_itself():
    who = some(2)
    true = torch.from_numpy(who.points_px)
    eyes_px = (true[0, 36] - true[0, 45]).norm()
    moved = true + torch.tensor([0.1 * float(eyes_px), 0.0])
    outcome = faces.nme_outcome(who, {"": true, MEAN: moved})
    assert outcome.score("NME").value == 0
    assert outcome.score(named("NME", MEAN)).value == pytest.approx(10.0)  # per cent
    assert outcome.parts["NME, mean pose [%]"]["mouth"] == pytest.approx(10.0)
    with pytest.raises(DataError, match="finite"):
        faces.nme_outcome(who, {"": true * torch.nan})


def test_the_neutral_head_fits_its_own_points(tmp_path: Path):
    nets = Networks.load(free.weights(tmp_path / "w.safetensors", "head"))
    who = some(2)
    scored = faces.score(nets, who)
    assert scored.outcome.score(named("NME", MEAN)).value < 0.1  # per cent: the very points, boxed
    assert scored.outcome.score("NME").value > 1
    assert faces.picture(nets, who, scored, 1).dtype == np.uint8
    with pytest.raises(WeightsError, match="needs the head's"):
        faces.score(Networks.load(free.weights(tmp_path / "b.safetensors", "body")), who)


def test_only_people_whom_training_never_sees(tmp_path: Path):
    names = np.array([f"set/P_{i // 4:03d}_{i % 4}.jpg" for i in range(240)])
    points = marked(240)
    points[:, 0, 2] = 0
    file = free.pack(tmp_path / "faces.npz", points, source=np.zeros(240, np.uint8), source_file=names)
    who = faces.read(file)
    assert len(who) == 200 and np.isnan(who.points_px[:, 0]).all() and np.isfinite(who.points_px[:, 1:]).all()
    points[:, 36, 2] = 0
    with pytest.raises(DataError, match="eye corners"):
        faces.read(free.pack(tmp_path / "f2.npz", points, source=np.zeros(240, np.uint8), source_file=names))
    with pytest.raises(DataError, match="no source"):
        faces.read(free.pack(tmp_path / "f3.npz", points))
