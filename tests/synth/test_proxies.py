"""Bodies, hands and heads as 2D points alone."""

import numpy as np
import pytest
import torch

import toy_models
from openexpose.body import BodyModel, load_model
from openexpose.errors import ConfigError
from openexpose.nets.config import BODY_POINTS, lite
from openexpose.synth.proxies import BodyProxies, ProxySource, turns
from openexpose.synth.proxy_parts import HandProxies, HeadProxies


@pytest.fixture(scope="module")
def sources() -> dict[str, ProxySource]:
    config = lite()
    return {
        "body": BodyProxies(load_model("free"), BODY_POINTS),
        "hand": HandProxies(load_model("free-hand"), config.part("hand").points),
        "head": HeadProxies(load_model("free-head", num_betas=100, num_expression=50), config.part("head").points),
    }


PARTS = pytest.mark.parametrize("part", ["body", "hand", "head"])


@PARTS
def test_a_batch_is_a_function_of_seed_and_number(sources, part):
    source = sources[part]
    a, b, c = source.batch(1, 5, 16), source.batch(1, 5, 16), source.batch(1, 6, 16)
    assert torch.equal(a.at_u, b.at_u) and all(torch.equal(a.params[n], b.params[n]) for n in a.params)
    assert not torch.equal(a.params["global_orient"], c.params["global_orient"])
    assert a.at_u.shape == (16, len(lite().part(part).points), 2)


@pytest.mark.parametrize("part, near_u, least_cut", [("body", 0.05, 0.02), ("hand", 0.06, 0.01), ("head", 0.03, 0.001)])
def test_sure_points_lie_at_the_truth_and_unseen_ones_outside(sources, part, near_u, least_cut):
    p = sources[part].batch(0, 0, 256)
    apart = (p.at_u - p.true_u).norm(dim=-1)
    assert apart[p.peak > 0.95].median() < near_u  # half crop sides
    assert apart[(p.peak > 0) & (p.peak < 0.5)].median() > 1.5 * apart[p.peak > 0.95].median()
    assert (p.true_u[p.peak > 0].abs() < 1.05).all()
    assert least_cut < float((p.peak == 0).float().mean()) < 0.6  # crops cut some people off


@PARTS
def test_parameters_and_points_belong_together(sources, part):
    source = sources[part]
    p = source.batch(3, 1, 8)
    assert (source.points_m(source.posed(p.params)) - p.true_m).abs().max() < 1e-6  # metres
    for name, value in p.params.items():
        if value.shape[-1] == 3 and value.ndim > 2:
            assert (value.mT @ value - torch.eye(3)).abs().max() < 1e-5, name


def test_left_stays_left_in_the_picture(sources):
    """Most people face the camera: their left is to the right of their right (x grows to the right)."""
    for part, left, right in (("body", "left_shoulder", "right_shoulder"), ("head", "left_eye_4", "right_eye_1")):
        names = lite().part(part).points
        u = sources[part].batch(0, 2, 400).true_u
        ahead = u[:, names.index(left), 0] > u[:, names.index(right), 0]
        assert float(ahead.float().mean()) > 0.6


def test_turns_are_rotations_and_mostly_upright():
    R = turns(np.random.default_rng(0), 500, frontal=0.5, spread=(0.5, 0.2, 0.3))
    assert np.abs(R.swapaxes(1, 2) @ R - np.eye(3)).max() < 1e-12 and np.allclose(np.linalg.det(R), 1)
    up = R[:, :, 1]  # of a person, in camera axes: y points down there
    assert (up[:, 1] < -0.7).mean() > 0.7


def test_points_that_are_not_there_are_refused():
    with pytest.raises(ConfigError, match="has no points"):
        BodyProxies(load_model("free"), ("left_pocket",))
    with pytest.raises(ConfigError, match="has no points"):
        HandProxies(BodyModel(toy_models.toy_mano(3)), ("headtop",))
