"""Distances between points against their loops, laws, refusals."""

from inspect import unwrap

import numpy as np
import pytest
import torch

from metrics import twins
from openexpose.errors import ConfigError, DataError, ShapeError
from openexpose.metrics import (
    auc3d_01,
    f_score_01,
    mpjpe_mm,
    nme_01,
    pck3d_01,
    pck_01,
    point_errors_mm,
    pve_mm,
    segment_px,
    tr_v2v_mm,
)
from oracles import random_rotations

MICROMETRE = 1e-6  # of a millimetre unit: one nanometre; rounding of float64
ALIGN = ["none", "root", "centroid", "scale", "procrustes"]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def pair(rng: np.random.Generator, n: int, p: int, c: int = 3) -> tuple[np.ndarray, np.ndarray]:
    true = rng.standard_normal((n, p, c))
    return true + 0.2 * rng.standard_normal((n, p, c)), true


def tensors(*arrays: np.ndarray) -> list[torch.Tensor]:
    return [torch.from_numpy(a) for a in arrays]


@pytest.mark.parametrize("align", ALIGN)
def test_mpjpe_as_the_twin(rng: np.random.Generator, align: str) -> None:
    pred, true = pair(rng, 5, 14)
    seen = rng.random((5, 14)) < 0.7
    root = [2, 3] if align == "root" else None
    p, t, s = tensors(pred, true, seen)
    for visible, mask in ((None, None), (s, seen)):
        got = mpjpe_mm(p, t, align=align, root=root, visible=visible)
        np.testing.assert_allclose(got, twins.mean_distance_mm(pred, true, align, [2, 3], mask), atol=MICROMETRE)


def test_pa_does_not_see_a_similarity_and_mpjpe_does(rng: np.random.Generator) -> None:
    pred, true = pair(rng, 6, 20)
    turned = 1.7 * pred @ random_rotations(rng, (), 2.0).T + 3.0
    p, q, t = tensors(pred, turned, true)
    np.testing.assert_allclose(mpjpe_mm(p, t, align="procrustes"), mpjpe_mm(q, t, align="procrustes"), atol=MICROMETRE)
    assert (mpjpe_mm(q, t, align="root", root=0) - mpjpe_mm(p, t, align="root", root=0)).abs().min() > 1


def test_what_is_hidden_can_be_kept_out_of_the_alignment(rng: np.random.Generator) -> None:
    pred, true = pair(rng, 3, 10)
    p, t = tensors(pred, true)
    seen = torch.ones(3, 10, dtype=torch.bool)
    seen[:, 8:] = False
    want = mpjpe_mm(p[:, :8], t[:, :8], align="procrustes")
    p[:, 8:] += 50
    got = mpjpe_mm(p, t, align="procrustes", visible=seen, fit="visible")
    np.testing.assert_allclose(got, want, atol=MICROMETRE)
    assert (mpjpe_mm(p, t, align="procrustes", visible=seen) > 4 * want).all()  # the reference aligns on all


def test_a_person_without_a_visible_point_is_nan(rng: np.random.Generator) -> None:
    p, t = tensors(*pair(rng, 2, 5))
    seen = torch.tensor([[True] * 5, [False] * 5])
    assert mpjpe_mm(p, t, align="none", visible=seen).isnan().tolist() == [False, True]


def test_a_part_is_cut_out_and_aligned_on_its_own(rng: np.random.Generator) -> None:
    pred, true = pair(rng, 2, 30)
    ids = np.array([3, 4, 9, 11, 25])
    p, t, i = tensors(pred, true, ids)
    want = twins.mean_distance_mm(pred[:, ids], true[:, ids], "procrustes", [])
    np.testing.assert_allclose(pve_mm(p, t, align="procrustes", ids=i), want, atol=MICROMETRE)
    np.testing.assert_allclose(
        pve_mm(p, t, align="none"), twins.mean_distance_mm(pred, true, "none", []), atol=MICROMETRE
    )


def test_tr_v2v_is_free_of_translation_only(rng: np.random.Generator) -> None:
    p, t = tensors(*pair(rng, 3, 40))
    a, b = p[:, 0], t[:, 0]
    want = point_errors_mm(p, t, align="root", root=0).mean(1)
    np.testing.assert_allclose(tr_v2v_mm(p + 5, t, pred_root_m=a + 5, true_root_m=b), want, atol=MICROMETRE)


def test_pck3d_and_auc(rng: np.random.Generator) -> None:
    errors = torch.tensor([[0.0, 149.0, 150.0, 151.0], [10.0, 20.0, 400.0, 400.0]]).double()
    assert pck3d_01(errors, at_mm=150.0).tolist() == [0.5, 0.5]  # strictly closer
    seen = torch.tensor([[True, True, False, False], [True, True, True, False]])
    np.testing.assert_allclose(pck3d_01(errors, at_mm=150.0, visible=seen), [1, 2 / 3])
    want = np.mean([(errors.numpy() < t).mean(1) for t in np.linspace(0, 150, 31)], 0)
    np.testing.assert_allclose(auc3d_01(errors), want)


def test_pck_as_the_twin_and_unit_free(rng: np.random.Generator) -> None:
    pred, true = pair(rng, 8, 14, 2)
    seen = rng.random((8, 14)) < 0.8
    p, t, s = tensors(pred, true, seen)
    size = segment_px(t, 9, 2)
    np.testing.assert_allclose(size, np.linalg.norm(true[:, 9] - true[:, 2], axis=1))
    got = pck_01(p, t, size_px=size, at=0.2, visible=s)
    np.testing.assert_allclose(got, twins.share_within(pred, true, size.numpy(), 0.2, seen))
    np.testing.assert_array_equal(got, pck_01(p * 4, t * 4, size_px=size * 4, at=0.2, visible=s))
    assert pck_01(p, t, size_px=torch.zeros(8), at=0.2).isnan().all()
    with pytest.raises(DataError, match="finite and not negative"):
        pck_01(p, t, size_px=-size, at=0.2)


def test_nme_of_a_hand_made_face() -> None:
    true = torch.zeros(1, 68, 2)
    true[0, 36], true[0, 45] = torch.tensor([-50.0, 0]), torch.tensor([50.0, 0])
    pred = true.clone()
    pred[0, :34, 1] += 10  # half of the points are 10 px off; the eyes are 100 px apart
    assert nme_01(pred, true).item() == pytest.approx(0.05)
    assert nme_01(pred * 3, true * 3).item() == pytest.approx(0.05)
    assert nme_01(pred, torch.zeros(1, 68, 2)).isnan().all()
    with pytest.raises(ConfigError, match="segment 36-45"):
        nme_01(pred[:, :20], true[:, :20])


def test_f_score_as_the_twin(rng: np.random.Generator) -> None:
    true = 0.02 * rng.standard_normal((2, 25, 3))
    pred = true[:, :22] + 0.004 * rng.standard_normal((2, 22, 3))
    p, t = tensors(pred, true)
    for at_mm in (5.0, 15.0):
        want = [twins.f_score(a, b, at_mm) for a, b in zip(pred, true, strict=True)]
        np.testing.assert_allclose(f_score_01(p, t, at_mm=at_mm), want, atol=1e-12)
    assert f_score_01(t, t, at_mm=1.0).tolist() == [1.0, 1.0]
    assert f_score_01(t + 9, t, at_mm=1.0).tolist() == [0.0, 0.0]
    assert f_score_01(p[:0], t[:0], at_mm=1.0).shape == (0,)


def test_refusals(rng: np.random.Generator) -> None:
    """`unwrap` takes the shape annotations off, which refuse first under pytest and are not there for users."""
    p, t = tensors(*pair(rng, 2, 6))
    with pytest.raises(ShapeError, match="same points"):
        unwrap(pve_mm)(p, t[:, :5], align="none")
    with pytest.raises(ConfigError, match="do not fit a mesh of 6"):
        pve_mm(p, t, align="none", ids=torch.tensor([6]))
    with pytest.raises(ShapeError, match="same points"):
        unwrap(tr_v2v_mm)(p, t[:, :5], pred_root_m=p[:, 0], true_root_m=p[:, 0])
    with pytest.raises(ShapeError, match="two point sets"):
        unwrap(f_score_01)(p, t[:1], at_mm=5.0)
