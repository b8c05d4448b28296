"""The four protocols on toy body models: truth as prediction scores zero, switches do what they say, refusals."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor

from metrics import twins
from openexpose.body import BodyModel, ModelArrays, Posed
from openexpose.errors import ConfigError, DataError, ShapeError
from openexpose.evaluate import PUBLISHED, Outcome, Score, ehf, freihand, pw3d, stirling
from openexpose.evaluate.published import published
from openexpose.evaluate.score import summarise
from openexpose.geometry.rotations import axis_angle_to_matrix
from oracles import random_rotations
from toy_models import toy_flame, toy_mano, toy_smpl, toy_smplx

FLOOR = 1e-3  # mm; float32 body models
N = 4


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(11)


def people(model: BodyModel, rng: np.random.Generator, *, spread_rad: float = 0.3) -> Posed:
    betas = torch.from_numpy(rng.standard_normal((N, model.num_betas))).float()
    R = torch.from_numpy(random_rotations(rng, (N, model.num_joints), spread_rad)).float()
    return model.shape(betas, torch.zeros(N, model.num_expression)).pose(R)


def values(outcome: Outcome) -> dict[str, float]:
    return {s.name: s.value for s in outcome.scores}


def test_3dpw_by_hand(rng: np.random.Generator) -> None:
    pred, true = rng.standard_normal((2, N, 14, 3))
    found = pw3d.outcome(torch.from_numpy(pred), torch.from_numpy(true), protocol="mmhuman3d", truth="neutral")
    want = twins.mean_distance_mm(pred, true, "root", [2, 3])
    np.testing.assert_allclose(found.score("MPJPE").each, want)
    np.testing.assert_allclose(found.score("PA-MPJPE").each, twins.mean_distance_mm(pred, true, "procrustes", []))
    assert np.mean(list(found.parts["MPJPE per joint"].values())) == pytest.approx(want.mean())
    assert any("neutral SMPL" in line for line in found.said) and any("not jointPositions" in s for s in found.said)


def test_3dpw_truth_is_the_body_of_each_gender(rng: np.random.Generator) -> None:
    models = {g: BodyModel(toy_smpl(k)) for k, g in enumerate(("neutral", "male", "female"))}
    betas = torch.from_numpy(rng.standard_normal((N, 10))).float()
    R = torch.from_numpy(random_rotations(rng, (N, 24))).float()
    genders = ["m", "f", "f", "m"]
    found = pw3d.true_joints_m(models, betas, R, truth="gendered", genders=genders)
    order = [6, 5, 4, 1, 2, 3, 16, 15, 14, 11, 12, 13, 8, 10]  # spec section 8
    for i, g in enumerate(genders):
        model = models["male" if g == "m" else "female"]
        want = model.shape(betas[i]).pose(R[i]).regressed_m("h36m")[order]
        torch.testing.assert_close(found[i], want, atol=1e-6, rtol=0)
    quirk = pw3d.true_joints_m(models, betas, R, truth="neutral", genders=genders)
    torch.testing.assert_close(
        quirk, models["neutral"].shape(betas).pose(R).regressed_m("h36m")[:, order], atol=1e-6, rtol=0
    )
    with pytest.raises(ConfigError, match="needs the female SMPL"):
        pw3d.true_joints_m({"male": models["male"]}, betas, R, truth="gendered", genders=genders)
    with pytest.raises(DataError, match="only 'm' and 'f'"):
        pw3d.true_joints_m(models, betas, R, truth="gendered", genders=["m", "f", "x", "f"])
    with pytest.raises(DataError, match="4 people but 3 genders"):
        pw3d.true_joints_m(models, betas, R, truth="gendered", genders=["m", "f", "f"])


def test_3dpw_floor_of_its_own_truth(rng: np.random.Generator) -> None:
    joints = pw3d.predicted_joints_m(people(BodyModel(toy_smplx(1)), rng))
    floor = pw3d.outcome(joints + 2.0, joints, protocol="mmhuman3d", truth="gendered")  # root-relative: no place
    assert max(values(floor).values()) < FLOOR


@pytest.fixture(scope="module")
def smplx() -> ModelArrays:
    return toy_smplx(2, V=400)


def test_ehf_joints_are_regressed_from_posed_vertices(smplx: ModelArrays, rng: np.random.Generator) -> None:
    anatomy = ehf.Anatomy.of(smplx)
    v = torch.from_numpy(rng.standard_normal((2, 400, 3)))
    joints = anatomy.joints_m(v)
    assert joints.shape == (2, 76, 3) and len(anatomy.names) == 76
    np.testing.assert_allclose(joints[:, :55], np.einsum("jv,nvc->njc", smplx.J_regressor, v.numpy()), atol=1e-12)
    assert smplx.extra_vertices is not None
    np.testing.assert_array_equal(joints[:, 55:], v[:, smplx.extra_vertices])
    rows = anatomy.joint_rows
    assert sorted(rows["BODY"].tolist()) == [*range(15), *range(16, 22), *range(60, 66)]
    assert rows["RIGHT_HAND"].tolist() == [*range(40, 55), *range(71, 76), 21]
    assert rows["LEFT_HAND"].tolist() == [*range(25, 40), *range(66, 71), 20]
    together = torch.cat([anatomy.vertex_rows[k] for k in ("BODY", "FACE", "LEFT_HAND", "RIGHT_HAND")])
    assert sorted(together.tolist()) == list(range(400))


def test_ehf_floor_and_published_names(smplx: ModelArrays, rng: np.random.Generator) -> None:
    anatomy = ehf.Anatomy.of(smplx)
    true = people(BodyModel(smplx), rng).skin().vertices_m
    R = torch.from_numpy(random_rotations(rng, (), 2.0)).float()
    turned = 1.1 * true @ R.mT + 0.5
    for protocol in ("mmhuman3d", "paper"):
        scans = [v[smplx.faces].mean(1).numpy() for v in true]
        floor = ehf.outcome(anatomy, true, true, protocol=protocol, scans_m=scans)
        assert max(values(floor).values()) < FLOOR
        found = values(ehf.outcome(anatomy, turned, true, protocol=protocol, scans_m=scans))
        blind = {k: v for k, v in found.items() if "PA-" in k or "P2S" in k}
        assert max(blind.values()) < FLOOR  # PA hides place, rotation and scale
        assert min(v for k, v in found.items() if k not in blind) > 10  # and what is printed beside it does not
        printed = {p.name for p in PUBLISHED if (p.benchmark, p.protocol) == ("ehf", protocol)}
        assert printed <= set(found)


def test_ehf_against_the_twin(smplx: ModelArrays, rng: np.random.Generator) -> None:
    anatomy = ehf.Anatomy.of(smplx)
    pred, true = (people(BodyModel(smplx), rng).skin().vertices_m.double() for _ in range(2))
    found = ehf.outcome(anatomy, pred, true, protocol="mmhuman3d")
    ids = smplx.regions["head"]
    want = twins.mean_distance_mm(pred[:, ids].numpy(), true[:, ids].numpy(), "procrustes", [])
    np.testing.assert_allclose(found.score("FACE PA-PVE").each, want, atol=FLOOR)
    j, k = (anatomy.joints_m(x).numpy() for x in (pred, true))
    rows = [*range(15), *range(16, 22), *range(60, 66)]
    want = twins.mean_distance_mm(j[:, rows], k[:, rows], "procrustes", [])
    np.testing.assert_allclose(found.score("BODY PA-MPJPE").each, want, atol=FLOOR)
    paper = ehf.outcome(anatomy, pred, true, protocol="paper")
    want = twins.mean_distance_mm(pred.numpy() - j[:, :1], true.numpy() - k[:, :1], "none", [])
    np.testing.assert_allclose(paper.score("TR-V2V").each, want, atol=FLOOR)


def test_ehf_refusals(smplx: ModelArrays, rng: np.random.Generator) -> None:
    anatomy = ehf.Anatomy.of(smplx)
    v = torch.zeros(2, 399, 3)
    with pytest.raises(ShapeError, match="a mesh of 399 vertices is not toy smplx"):
        ehf.outcome(anatomy, v, v, protocol="mmhuman3d")
    with pytest.raises(ConfigError, match="cannot score EHF"):
        ehf.Anatomy.of(toy_smpl(0))
    with pytest.raises(ConfigError, match="missing: head"):
        ehf.Anatomy.of(dataclasses.replace(smplx, regions={k: v for k, v in smplx.regions.items() if k != "head"}))
    true = people(BodyModel(smplx), rng).skin().vertices_m
    with pytest.raises(ShapeError, match="4 meshes but 1 scans"):
        ehf.outcome(anatomy, true, true, protocol="paper", scans_m=[true[0].numpy()])


def hand_truth(model: BodyModel, rng: np.random.Generator) -> tuple[Posed, Tensor]:
    """The same hands as a prediction, and as the stored axis-angle makes them."""
    betas, aa = rng.standard_normal((N, 10)), 0.3 * rng.standard_normal((N, 16, 3))
    b, a = torch.from_numpy(betas).float(), torch.from_numpy(aa).float()
    posed = model.shape(b).pose(axis_angle_to_matrix(a))
    return posed, freihand.true_vertices_m(model, b, a[:, 0], a[:, 1:])


def test_freihand_floor_and_f_scores(rng: np.random.Generator) -> None:
    model = BodyModel(toy_mano(3))
    posed, vertices = hand_truth(model, rng)
    for protocol in ("mmhuman3d", "paper"):
        floor = values(freihand.outcome(posed, posed.keypoints_m() + 0.7, vertices, protocol=protocol))
        assert {k for k, v in floor.items() if v > FLOOR} == ({"F@5", "F@15"} if protocol == "paper" else set())
        assert floor.get("F@5", 1.0) == floor.get("F@15", 1.0) == 1.0
        printed = {p.name for p in PUBLISHED if (p.benchmark, p.protocol) == ("freihand", protocol)}
        assert printed <= set(floor)


def test_freihand_against_the_twin(rng: np.random.Generator) -> None:
    model = BodyModel(toy_mano(3))
    (pred, _), (true, vertices) = hand_truth(model, rng), hand_truth(model, rng)
    found = freihand.outcome(pred, true.keypoints_m(), vertices, protocol="mmhuman3d")
    j, k = pred.keypoints_m().double().numpy(), true.keypoints_m().double().numpy()
    np.testing.assert_allclose(found.score("MPJPE").each, twins.mean_distance_mm(j, k, "root", [0]), atol=FLOOR)
    np.testing.assert_allclose(found.score("PA-MPJPE").each, twins.mean_distance_mm(j, k, "procrustes", []), atol=FLOOR)


def test_freihand_refusals(rng: np.random.Generator) -> None:
    body, hand = BodyModel(toy_smplx(1)), BodyModel(toy_mano(3))
    with pytest.raises(ConfigError, match="scored with a hand model"):
        freihand.outcome(people(body, rng), torch.zeros(N, 21, 3), torch.zeros(N, 80, 3), protocol="paper")
    with pytest.raises(ShapeError, match="differ in their mesh"):
        freihand.outcome(people(hand, rng), torch.zeros(N, 21, 3), torch.zeros(N, 778, 3), protocol="paper")


def test_stirling_floor_on_scans_of_the_prediction(rng: np.random.Generator) -> None:
    model = BodyModel(toy_flame(4, V=400))
    posed = people(model, rng, spread_rad=0.1)
    rows = [24, 27, 30, 33, 21, 36, 42]  # of the 73 FLAME keypoints, golden/README
    marks = posed.keypoints_m()[:, rows].double().numpy() * 1000
    vertices = posed.skin().vertices_m.double().numpy() * 1000
    share = rng.dirichlet([1.0, 1, 1], 3000)
    faces = model.faces.numpy()[rng.integers(0, len(model.faces), 3000)]
    scans = []
    for v, m in zip(vertices, marks, strict=True):
        R = random_rotations(rng, (), 2.0)
        scans.append(stirling.Scan(1.3 * np.einsum("sc,scx->sx", share, v[faces]) @ R.T + 9, 1.3 * m @ R.T + 9))
    for protocol in ("mmhuman3d", "paper"):
        floor = stirling.outcome(posed, scans, protocol=protocol, quality="HQ")
        assert max(values(floor).values()) < FLOOR
        assert any("mean distance" in line for line in floor.said)
    moved = [stirling.Scan(s.points_mm + [0, 0, 3.0], s.landmarks_mm) for s in scans]
    mean = stirling.outcome(posed, moved, protocol="mmhuman3d", quality="HQ").score("3DRMSE")
    pooled = stirling.outcome(posed, moved, protocol="paper", quality="LQ")
    assert 0.1 < mean.value <= 3.0 + FLOOR
    np.testing.assert_allclose(pooled.score("LQ mean").each, mean.each)
    points = pooled.score("LQ median").points
    assert points is not None and pooled.score("LQ median").value == np.median(points)
    assert pooled.score("LQ std").value == summarise(points, "std")
    with pytest.raises(DataError, match="4 predicted heads but 1 scans"):
        stirling.outcome(posed, scans[:1], protocol="paper", quality="HQ")
    with pytest.raises(ConfigError, match="scored with a head model"):
        stirling.outcome(people(BodyModel(toy_mano(1)), rng), scans, protocol="paper", quality="HQ")


def test_scores_refuse_what_is_not_a_number() -> None:
    with pytest.raises(DataError, match=r"samples \[1\] have no finite value"):
        Score.of("PVE", torch.tensor([1.0, torch.nan]))
    with pytest.raises(DataError, match="0 samples"):
        Score.of("PVE", torch.zeros(0))
    with pytest.raises(DataError, match="at least one point"):
        Score.pooled("P2S", [np.ones(3), np.ones(0)], "mean")
    outcome = Outcome("ehf", "paper", (Score.of("PVE", torch.arange(9.0)),))
    assert outcome.worst_and_median("PVE", 3) == ([8, 7, 6], [3, 4, 5])
    assert outcome.worst_and_median("PVE", 30)[1] == list(range(9))
    with pytest.raises(ConfigError, match="no figure 'PA'"):
        outcome.score("PA")


def test_published_rows() -> None:
    row = published("3dpw", "mmhuman3d", "PA-MPJPE")
    assert row is not None and row.value == 60.43 and row.certainty == "read"
    assert published("3dpw", "mmhuman3d", "PCK") is None
    keys = [(p.benchmark, p.protocol, p.name) for p in PUBLISHED]
    assert len(set(keys)) == len(keys)
