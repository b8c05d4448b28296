"""Synthetic test sets: rendered once, read back; truth fed as prediction scores nothing but rounding."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from evaluate import free
from openexpose.body import BodyModel, Posed, load_model
from openexpose.errors import AssetError, ConfigError, DataError, WeightsError
from openexpose.evaluate import synth
from openexpose.evaluate.networks import Networks, mean_body, pose_of, square_of_points
from openexpose.evaluate.report import Provenance, write_report
from openexpose.evaluate.synth_cache import RenderedSet, Truth, render
from openexpose.evaluate.variants import MEAN, OWN, Aim, gain_name, named, side_by_side, variants_table
from openexpose.metrics import mpjpe_mm
from openexpose.skeleton import Skeleton


@pytest.fixture(scope="module")
def figure() -> synth.Figure:
    return synth.Figure.free()


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> RenderedSet:
    folder = tmp_path_factory.mktemp("sets")
    assert list(render(folder, free.tiny_set(), 2)) == [1, 2]
    return RenderedSet(folder, free.tiny_set(), 2)


@pytest.fixture(scope="module")
def truths(people: RenderedSet) -> list[Truth]:
    return [people.truth(i) for i in range(2)]


def turned(posed: Posed) -> Posed:
    """The same bodies, seen from elsewhere."""
    R = posed.R.clone()
    R[:, 0] = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]) @ R[:, 0]
    return posed.shaped.pose(R)


def test_truth_is_kept_to_the_last_bit_and_nothing_is_rendered_twice(people, truths, figure):
    assert list(render(people.folder.parent, people.test_set, 2)) == [] and people.missing() == []
    keypoints = figure.posed(truths).keypoints_m() + torch.from_numpy(np.stack([t.transl_m for t in truths]))[:, None]
    off_m = (keypoints - torch.from_numpy(np.stack([t.keypoints_m for t in truths]))).abs().max()
    assert off_m < 1e-5  # metres: the cached parameters are the rendered body's
    assert people.photo(1).shape == (48, 48, 3) and people.photo(1).std() > 5
    (people.folder / "000001.npz").unlink()
    assert people.missing() == [1] and list(render(people.folder.parent, people.test_set, 2)) == [2]
    again = people.truth(1)
    assert all(np.array_equal(getattr(again, f), getattr(truths[1], f)) for f in Truth.__dataclass_fields__)


def test_sets_of_another_recipe_and_wrong_counts_are_refused(people):
    other = RenderedSet(people.folder.parent, replace(people.test_set, seed=900_000_078), 1)
    with pytest.raises(DataError, match="another version"):
        other.truth(0)
    with pytest.raises(ConfigError, match="ask for 1 to 2"):
        RenderedSet(people.folder.parent, people.test_set, 3)
    with pytest.raises(AssetError):
        RenderedSet(people.folder / "nowhere", people.test_set, 1).truth(0)


def test_truth_as_prediction_scores_nothing(truths, figure):
    true = figure.posed(truths)
    errors = synth.body_errors_mm(turned(true), true, figure.regions)
    for name, values in errors.items():
        assert (values.max() < 1e-2) == (name != "MPJPE"), (
            name
        )  # mm; float32 bodies. A turn is no error after Procrustes
    parts = synth.body_errors_mm(true, true, figure.regions)
    assert max(float(v.max()) for v in parts.values()) < 1e-2


def test_errors_are_the_metrics_of_the_named_points(truths, figure):
    true = figure.posed(truths)
    mean = pose_of(load_model("free"), mean_body(load_model("free"), 2))
    errors = synth.body_errors_mm(mean, true, figure.regions)
    want = mpjpe_mm(mean.regressed_m("j14"), true.regressed_m("j14"), align="procrustes")
    assert torch.allclose(errors["PA-MPJPE"], want) and errors["PA-MPJPE"].min() > 20
    assert torch.equal(errors["HANDS PA-PVE"], (errors["RIGHT_HAND PA-PVE"] + errors["LEFT_HAND PA-PVE"]) / 2)


@pytest.mark.parametrize(("part", "source", "chain"), [("hand", "free-hand", 21), ("head", "free-head", 15)])
def test_parts_in_the_bodys_own_parameters_score_little(part, source, chain):
    """A neutral person: FreeHand and FreeHead at rest are cut from the very surface that FreeBody has there."""
    body, model = BodyModel(synth.free_with_whole_face()), load_model(source, num_betas=10)
    errors = synth.part_errors_mm(model.shape().pose(torch.eye(3).expand(1, model.num_joints, 3, 3)),
                                  body.shape(torch.zeros(1, 10)).pose(), part)  # fmt: skip
    assert errors["PA-PVE"].max() < 0.5 and errors["PA-MPJPE"].max() < 1.5  # mm
    assert len(Skeleton.read("smplx").names) > chain


def test_weights_are_scored_on_what_they_hold(people, tmp_path):
    nets = Networks.load(free.weights(tmp_path / "w.safetensors"))
    told = []
    scored = synth.score_bodies(nets, people, done=told.append)
    main = scored.outcomes[0]
    assert told == [2] and main.benchmark == "synth-body" and main.samples == 2
    own, mean = (main.score(named("PA-MPJPE", v)).value for v in (OWN, MEAN))
    assert 20 < own < 1000 and 20 < mean < 1000
    gain = main.derived[gain_name("HANDS PA-PVE")]
    hands = [main.score(named("HANDS PA-PVE", v)).value for v in ("", OWN)]
    assert gain == pytest.approx(100 * (1 - hands[0] / hands[1]))
    drawn = synth.picture(nets, people, scored, 1)
    assert drawn.shape[1] == 2 * drawn.shape[0]
    where = write_report(tmp_path, scored.outcomes, samples=scored.names, provenance=Provenance.now(["x"], []))
    assert "attention gain" in where.read_text()
    table = variants_table(main, full=2000)
    assert "NOT THE WHOLE SET" in str(table.title) and table.row_count == 7
    alone = Networks.load(free.weights(tmp_path / "h.safetensors", "hand"))
    with pytest.raises(WeightsError, match="needs the body's"):
        synth.score_bodies(alone, people)


def test_people_who_are_seen_are_scored_on_their_own(people, tmp_path, monkeypatch):
    nets = Networks.load(free.weights(tmp_path / "w.safetensors"))
    names = Skeleton.read("smplx").names
    joints = [names.index(f"{s}_{j}") for s in ("left", "right")
              for j in ("hip", "knee", "ankle", "shoulder", "elbow", "wrist")]  # fmt: skip
    joints += [names.index("neck"), names.index("head")]
    truth = people.truth

    def shown(i):
        visible = np.zeros(144, bool)
        visible[joints[: 12 - i]] = True  # one person has 12 of 14, the other 11
        visible[60:] = True
        return replace(truth(i), visible=visible)

    monkeypatch.setattr(RenderedSet, "truth", lambda self, i: shown(i))
    scored = synth.score_bodies(nets, people)
    every, few = (next(o for o in scored.outcomes if o.benchmark == b) for b in ("synth-body", "synth-body-seen"))
    assert few.samples == 1 and scored.names["synth-body-seen"] == (people.name(0),)
    for name in ("PA-MPJPE", "MPJPE", "PA-PVE", named("PA-PVE", OWN)):
        assert few.score(name).each[0] == pytest.approx(every.score(name).each[0], rel=1e-6)
    monkeypatch.setattr(RenderedSet, "truth", lambda self, i: replace(truth(i), visible=np.zeros(144, bool)))
    assert [o.benchmark for o in synth.score_bodies(nets, people).outcomes] == ["synth-body"]


def test_hands_and_heads_alone(people, tmp_path):
    nets = Networks.load(free.weights(tmp_path / "w.safetensors"))
    for part in ("hand", "head"):
        scored = synth.score_parts(nets, people, part)
        assert {s.name for s in scored.outcomes[0].scores} >= {"PA-PVE", "PA-PVE, mean pose", "PA-MPJPE"}


def test_squares_hold_the_points():
    points = np.array([[[10.0, 20.0], [30.0, 25.0], [np.nan, np.nan]]])
    square = square_of_points(points, 2.0)
    assert square.centre_px.tolist() == [[20.0, 22.5]] and square.side_px.tolist() == [40.0]


def test_aims_and_gains():
    assert Aim(8.0).met(8.0) and not Aim(8.0).met(8.1)
    assert str(Aim(55.0, smaller_is_better=False)) == ">= 55" and Aim(55.0, smaller_is_better=False).met(60.0)
    columns = {"": {"X": torch.tensor([1.0, 3.0])}, OWN: {"X": torch.tensor([4.0, 4.0])}}
    assert side_by_side("synth-body", columns, unit="mm", said=[], gains=["X"]).derived == {gain_name("X"): 50.0}
    with pytest.raises(DataError, match="finite"):
        side_by_side("x", {"": {"X": torch.tensor([float("nan")])}}, unit="mm", said=[])
