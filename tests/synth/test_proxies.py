"""Bodies as 2D points alone."""

import pytest
import torch

import toy_models
from openexpose.body import BodyModel, load_model
from openexpose.errors import ConfigError
from openexpose.nets.config import BODY_POINTS
from openexpose.synth.proxies import ProxySource


@pytest.fixture(scope="module")
def source() -> ProxySource:
    return ProxySource(load_model("free"), BODY_POINTS)


def test_a_batch_is_a_function_of_seed_and_number(source):
    a, b, c = source.batch(1, 5, 16), source.batch(1, 5, 16), source.batch(1, 6, 16)
    assert torch.equal(a.at_u, b.at_u) and torch.equal(a.R, b.R) and not torch.equal(a.R, c.R)
    assert a.at_u.shape == (16, len(BODY_POINTS), 2) and a.R.shape == (16, 22, 3, 3)


def test_sure_points_lie_at_the_truth_and_unseen_ones_outside(source):
    p = source.batch(0, 0, 256)
    apart = (p.at_u - p.true_u).norm(dim=-1)
    assert apart[p.peak > 0.95].median() < 0.05  # half crop sides
    assert apart[(p.peak > 0) & (p.peak < 0.5)].median() > apart[p.peak > 0.95].median()
    assert (p.true_u[p.peak > 0].abs() < 1.05).all()
    assert 0.02 < float((p.peak == 0).float().mean()) < 0.6  # crops round upper bodies cut legs off


def test_rotations_and_points_belong_together(source):
    p = source.batch(3, 1, 8)
    R = torch.eye(3).repeat(8, source.model.num_joints, 1, 1)
    R[:, :22] = p.R
    posed = source.model.shape(p.betas).pose(R)
    points = torch.cat([posed.keypoints_m(), posed.regressed_m("j14")], 1)[:, source.rows]
    assert (points - p.true_m).abs().max() < 1e-5  # metres
    assert (p.R.mT @ p.R - torch.eye(3)).abs().max() < 1e-5


def test_points_that_are_not_there_are_refused():
    with pytest.raises(ConfigError, match="has no points"):
        ProxySource(load_model("free"), ("left_pocket",))
    with pytest.raises(ConfigError, match="J14"):
        ProxySource(BodyModel(toy_models.toy_mano(3)), ("wrist",))
