"""The fit: derivatives against finite differences, recovery of known states, rows that do not mind each other."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from openexpose.body.skinning import Tree, forward_kinematics
from openexpose.geometry.rotations import axis_angle_to_matrix
from openexpose.nets.fit import Belief, Chain, Goal, Relief, State, cross_matrix, exponential, fitted

ARM = Tree.of((-1, 0, 1))


def arm(rows: int = 1) -> Chain:
    """Three joints in a row, half a metre apart, a point on each and one at the end."""
    rest = torch.tensor([[0.0, 0, 0], [0.5, 0, 0], [1.0, 0, 0]]).expand(rows, 3, 3)
    on = torch.tensor([[0.0, 0, 0], [0, 0, 0], [0, 0, 0], [0.4, 0.1, 0.2]]).expand(rows, 4, 3)
    moves = torch.tensor([[0, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 1]], dtype=torch.bool)
    return Chain(ARM, rest, (0, 1, 2, 2), on, moves)


def test_cross_matrix_and_exponential_are_what_they_say():
    g = torch.Generator().manual_seed(0)
    v, w = torch.randn(5, 3, generator=g), torch.randn(5, 3, generator=g)
    assert torch.allclose((cross_matrix(v) @ w[..., None])[..., 0], torch.linalg.cross(v, w), atol=1e-6)
    for length in (1e-6, 0.01, 0.5, 2.8):  # radians; series and closed form
        r = length * torch.nn.functional.normalize(v.double(), dim=1)
        d = 1e-5 * w.double()
        moved = Rotation.from_rotvec((r + d).numpy()) * Rotation.from_rotvec(r.numpy()).inv()
        told = (exponential(r)[1] @ d[..., None])[..., 0].numpy()
        np.testing.assert_allclose(told, moved.as_rotvec(), atol=1e-8)  # radians


@pytest.mark.parametrize("parents", [(-1, 0), (-1, 0, 1, 2, 3, 4, 5, 6, 7), (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8)])
def test_a_chain_places_its_joints_as_the_body_model_does(parents):
    g, J = torch.Generator().manual_seed(3), len(parents)
    tree, rest = Tree.of(parents), torch.randn(1, J, 3, generator=g)
    root, x = axis_angle_to_matrix(torch.randn(2, 3, generator=g)), torch.randn(2, 3 * (J - 1), generator=g)
    chain = Chain(tree, rest, (J - 1,), torch.zeros(1, 1, 3), torch.ones(1, J, dtype=torch.bool))
    R = torch.cat([root[:, None], axis_angle_to_matrix(x.unflatten(1, (J - 1, 3)))], 1)
    axes, joints = forward_kinematics(R, rest.expand(2, -1, 3), tree)
    placed = chain.place(root, x)
    assert torch.allclose(placed.axes, axes, atol=1e-5) and torch.allclose(placed.joints_m, joints, atol=1e-5)


def test_slopes_of_chain_and_relief_agree_with_finite_differences():
    g = torch.Generator().manual_seed(1)
    root, x = axis_angle_to_matrix(torch.randn(2, 3, generator=g)), torch.randn(2, 6, generator=g)
    basis = torch.randn(2, 4, 3, 6, generator=g)
    solids = (arm(2), Relief(torch.randn(2, 4, 3, generator=g), basis, torch.zeros(2, 6)))
    for solid in solids:
        slopes = solid.place(root, x).slopes()
        for k in range(9):
            step = 1e-3 * torch.eye(9)[k]

            def at(sign: float, solid=solid, step=step) -> torch.Tensor:
                turned = axis_angle_to_matrix(sign * step[:3]) @ root
                return solid.place(turned, x + sign * step[3:]).points_m

            told, seen = slopes[:, k].mT, (at(1) - at(-1)) / 2e-3
            assert (told - seen).abs().max() < 2e-3  # metres a radian, float32 differences


def known(rows: int, seed: int) -> tuple[State, Goal]:
    g = torch.Generator().manual_seed(seed)
    root, x = axis_angle_to_matrix(0.3 * torch.randn(rows, 3, generator=g)), 0.4 * torch.randn(rows, 6, generator=g)
    truth = State(root, x, torch.tensor([[0.8, 0.1, -0.1]]).repeat(rows, 1))
    points = arm(rows).place(truth.root, truth.x).points_m
    at = truth.camera[:, None, :1] * (points[..., :2] + truth.camera[:, None, 1:])
    depth = truth.camera[:, :1] * (points[..., 2] - points[..., 2].mean(1, keepdim=True))
    sure = torch.full((rows, 4), 1e4)
    return truth, Goal(at, sure, 1.0, depth, sure)


def belief(rows: int) -> Belief:
    return Belief(torch.zeros(rows, 6), torch.eye(6).double()[None] * 4, 0.5, (0.3, 0.3, 0.3))


def start(rows: int) -> State:
    return State(torch.eye(3).expand(rows, 3, 3), torch.zeros(rows, 6), torch.tensor([[0.7, 0.0, 0.0]]).repeat(rows, 1))


def test_a_known_state_is_found_again_and_without_sight_nothing_moves():
    truth, goal = known(5, 2)
    found = fitted(lambda root, x: arm(5), start(5), goal, belief(5), steps=30)
    points, wanted = (arm(5).place(s.root, s.x).points_m for s in (found, truth))
    at = found.camera[:, None, :1] * (points[..., :2] + found.camera[:, None, 1:])
    assert (at - goal.at_u).abs().max() < 0.01  # half crop sides
    shape, true = (p - p.mean(1, keepdim=True) for p in (points, wanted))
    assert (shape - true).norm(dim=-1).mean() < 0.08  # metres; the prior and the scale leave some freedom
    blind = goal._replace(trust=torch.zeros(5, 4), depth_trust=torch.zeros(5, 4))
    stayed = fitted(lambda root, x: arm(5), start(5), blind, belief(5), steps=5)
    assert torch.allclose(stayed.root, start(5).root, atol=1e-6) and torch.allclose(stayed.x, start(5).x, atol=1e-6)


def test_the_prior_answers_what_is_not_seen():
    _, goal = known(1, 3)
    unseen = goal._replace(trust=goal.trust * torch.tensor([1.0, 1, 0, 0]), depth_trust=torch.zeros(1, 4))
    wish = belief(1)._replace(mean=torch.tensor([[0.0, 0, 0, 0.7, -0.2, 0.1]]))
    found = fitted(lambda root, x: arm(), start(1), unseen, wish, steps=20)
    assert torch.allclose(found.x[:, 3:], wish.mean[:, 3:], atol=1e-3)  # radians, of a joint with nothing seen below it


def test_rows_do_not_mind_each_other():
    _, goal = known(4, 4)
    together = fitted(lambda root, x: arm(4), start(4), goal, belief(4), steps=12)
    one = Goal(goal.at_u[2:3], goal.trust[2:3], 1.0, goal.depth_u[2:3], goal.depth_trust[2:3])
    alone = fitted(lambda root, x: arm(), start(1), one, belief(1), steps=12)
    for a, b in zip(together, alone, strict=True):
        assert (a[2] - b[0]).abs().max() < 1e-4


def test_of_several_beliefs_the_likelier_one_counts():
    truth, goal = known(3, 5)
    wrong, right = (belief(3)._replace(mean=m) for m in (-truth.x, truth.x))
    means = torch.cat([wrong.mean, right.mean])
    both = Belief(means, wrong.precision, 0.5, (0.3, 0.3, 0.3), torch.zeros(6))
    twice = goal.rows(torch.arange(3).repeat(2))
    assert torch.equal(twice.at_u[3:], goal.at_u) and twice.edge_u == goal.edge_u
    alone, lost = (fitted(lambda root, x: arm(3), start(3), goal, b, steps=12) for b in (right, wrong))
    for rounds in (3, 12, 99):
        found = fitted(lambda root, x: arm(), start(6), twice, both, steps=12, kinds=2, rounds=rounds)
        assert (found.x - alone.x).abs().max() < 1e-4  # radians
    dear = both._replace(cost=torch.tensor([0.0, 0, 0, 1e6, 1e6, 1e6]))  # the right ones are as good as excluded
    other = fitted(lambda root, x: arm(), start(6), twice, dear, steps=12, kinds=2, rounds=3)
    assert (other.x - lost.x).abs().max() < 1e-4
