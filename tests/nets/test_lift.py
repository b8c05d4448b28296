"""From 2D points to first guesses."""

import pytest
import torch

from openexpose.nets.build import build_codec, build_lifter
from openexpose.nets.config import lite
from openexpose.nets.lift import LEAST_PEAK, Lifter


def test_a_new_lifter_gives_the_mean_where_it_is_told_nothing_and_the_start_elsewhere():
    net = Lifter(num_points=3, columns=(0, 1, 4), told=(1,), width=8)
    torch.nn.init.zeros_(net.leave.weight)
    mean = torch.arange(6.0)[None]
    start = torch.full((2, 6), 9.0)
    out = net(torch.zeros(2, 3, 2), torch.ones(2, 3), mean, start)
    assert out.tolist() == [[0, 9, 9, 9, 4, 9]] * 2
    assert torch.equal(net(torch.zeros(2, 3, 2), torch.ones(2, 3), mean), mean.expand(2, -1))


def test_doubtful_points_do_not_matter_and_hints_do():
    torch.manual_seed(0)
    net = Lifter(num_points=3, columns=(0, 1), told=(1,), width=8)
    torch.nn.init.normal_(net.leave.weight)
    mean, at, peak = torch.zeros(1, 4), torch.rand(1, 3, 2), torch.tensor([[0.9, 0.8, LEAST_PEAK / 2]])
    moved = at.clone()
    moved[0, 2] += 1
    assert torch.equal(net(at, peak, mean), net(moved, peak, mean))
    moved[0, 0] += 1
    assert not torch.equal(net(at, peak, mean), net(moved, peak, mean))
    hinted, deaf = torch.tensor([[0.0, 1.0, 0.0, 0.0]]), torch.tensor([[1.0, 0.0, 0.0, 0.0]])
    assert not torch.equal(net(at, peak, mean, hinted)[0, 0], net(at, peak, mean)[0, 0])
    assert torch.equal(net(at, peak, mean, deaf), net(at, peak, mean))


@pytest.mark.parametrize("part", ["body", "hand", "head"])
def test_every_part_of_lite_has_one(part):
    config = lite().part(part)
    codec = build_codec(part, config)
    net = build_lifter(part, config, codec)
    assert set(net.told.tolist()) <= set(net.columns.tolist())
    kept = set(range(codec.size)) - set(net.columns.tolist())
    names = {n for n, a, b in codec.table() if set(range(a, b)) & kept}
    assert names == {"body": {"left_hand_pose", "right_hand_pose", "jaw_pose", "expression"}}.get(part, set())
