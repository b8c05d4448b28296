"""Alignment: closed form against a loop, laws of similarities, refusals."""

from inspect import unwrap

import numpy as np
import pytest
import torch
from torch import Tensor

from metrics import twins
from openexpose.errors import ConfigError, DataError, ShapeError
from openexpose.metrics import aligned, fit_similarity
from oracles import random_rotations

TINY = 1e-9  # metres; rounding of float64 at a few metres


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def points(rng: np.random.Generator, *shape: int) -> Tensor:
    return torch.from_numpy(rng.standard_normal((*shape, 3)))


@pytest.mark.parametrize("align", ["none", "root", "centroid", "scale", "procrustes"])
def test_moves_as_the_twin(rng: np.random.Generator, align: str) -> None:
    pred, true = points(rng, 6, 9), points(rng, 6, 9)
    got = aligned(pred, true, align=align, root=[2, 5] if align == "root" else None)
    want = [twins.moved(x, y, align, [2, 5]) for x, y in zip(pred.numpy(), true.numpy(), strict=True)]
    np.testing.assert_allclose(got.numpy(), np.stack(want), atol=TINY)


def test_any_similarity_is_undone(rng: np.random.Generator) -> None:
    source = points(rng, 7, 12)
    R = torch.from_numpy(random_rotations(rng, (7,), 3.0))
    scale, t = torch.from_numpy(rng.uniform(0.1, 9, 7)), points(rng, 7)
    target = scale[:, None, None] * (source @ R.mT) + t[:, None]
    fit = fit_similarity(source, target)
    torch.testing.assert_close(fit.R, R, atol=TINY, rtol=0)
    torch.testing.assert_close(fit.scale, scale, atol=TINY, rtol=0)
    torch.testing.assert_close(fit(source), target, atol=TINY, rtol=0)


def test_a_mirror_image_is_not_turned_into_the_original(rng: np.random.Generator) -> None:
    source = points(rng, 4, 10)
    fit = fit_similarity(source, source * torch.tensor([-1.0, 1, 1]))
    torch.testing.assert_close(torch.linalg.det(fit.R), torch.ones(4).double(), atol=TINY, rtol=0)
    left = (fit(source) - source * torch.tensor([-1.0, 1, 1])).norm(dim=-1).mean(-1)
    assert (left > 0.1).all()


def test_no_other_similarity_is_closer(rng: np.random.Generator) -> None:
    source, target = points(rng, 8), points(rng, 8)
    fit = fit_similarity(source, target)
    best = (fit(source) - target).square().sum()
    for _ in range(50):
        R = fit.R @ torch.from_numpy(random_rotations(rng, (), 0.05))
        scale, t = fit.scale * (1 + 0.05 * rng.standard_normal()), fit.t + 0.05 * points(rng)
        assert (scale * source @ R.mT + t - target).square().sum() >= best


def test_points_of_weight_zero_do_not_matter(rng: np.random.Generator) -> None:
    source, target = points(rng, 3, 8), points(rng, 3, 8)
    weight = torch.ones(3, 8)
    weight[:, 6:] = 0
    want = fit_similarity(source[:, :6], target[:, :6])
    source[:, 6:] += 100
    got = fit_similarity(source, target, weight=weight)
    torch.testing.assert_close(got.R, want.R, atol=TINY, rtol=0)
    torch.testing.assert_close(got.t, want.t, atol=TINY, rtol=0)


def test_points_that_coincide_move_to_the_centroid(rng: np.random.Generator) -> None:
    target = points(rng, 2, 5)
    fit = fit_similarity(torch.ones(2, 5, 3), target)
    torch.testing.assert_close(
        fit(torch.ones(2, 5, 3)), target.mean(1, keepdim=True).expand(2, 5, 3), atol=TINY, rtol=0
    )


def test_refusals(rng: np.random.Generator) -> None:
    pred, true = points(rng, 3, 4), points(rng, 3, 4)
    with pytest.raises(ShapeError, match="same points of the same people"):
        unwrap(aligned)(pred, true[:, :3], align="none")  # without the shape annotations, as users run it
    with pytest.raises(ConfigError, match="a root belongs to align='root'"):
        aligned(pred, true, align="root")
    with pytest.raises(ConfigError, match="a root belongs to align='root'"):
        aligned(pred, true, align="procrustes", root=0)
    with pytest.raises(ConfigError, match="outside the 4 points"):
        aligned(pred, true, align="root", root=4)
    pred[1, 2, 0] = torch.nan
    with pytest.raises(DataError, match="rows 1 hold NaN"):
        fit_similarity(pred, true)
    with pytest.raises(DataError, match="rows 0, 1 have no point"):
        fit_similarity(true[:2], true[:2], weight=torch.zeros(2, 4))
