"""The kinematic tree and its laws."""

import numpy as np
import pytest
import torch

from openexpose.body.skinning import Tree, forward_kinematics, pose_features
from openexpose.errors import ShapeError
from oracles import random_rotations


def test_tree_by_hand() -> None:
    tree = Tree.of((-1, 0, 0, 1, 3))
    assert tree.levels == (((1, 2), (0, 0)), ((3,), (0,)), ((4,), (0,)))
    assert tree.order == (0, 1, 2, 3, 4)
    assert tree.chain(4) == (0, 1, 3, 4)


def test_an_arm_by_hand() -> None:
    """Two bones along x; the root turns 90 degrees about z, the elbow 90 degrees back."""
    tree = Tree.of((-1, 0, 1))
    turn = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    R = torch.stack([turn, turn.T, torch.eye(3)])[None]
    rest = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [2, 0, 0]]])
    absolute, joints = forward_kinematics(R, rest, tree)
    torch.testing.assert_close(joints[0], torch.tensor([[0.0, 0, 0], [0, 1, 0], [1, 1, 0]]))
    torch.testing.assert_close(absolute[0, 2], torch.eye(3))


def test_bones_keep_their_length() -> None:
    rng = np.random.default_rng(0)
    parents = tuple([-1] + [int(rng.integers(0, k)) for k in range(1, 30)])
    tree = Tree.of(parents)
    R, rest = torch.as_tensor(random_rotations(rng, (3, 30))), torch.as_tensor(rng.standard_normal((3, 30, 3)))
    _, joints = forward_kinematics(R, rest, tree)
    above = torch.tensor(parents[1:])
    before = (rest[:, 1:] - rest[:, above]).norm(dim=-1)
    after = (joints[:, 1:] - joints[:, above]).norm(dim=-1)
    torch.testing.assert_close(after, before, atol=1e-12, rtol=0)  # metres


def test_features_of_rest_are_zero() -> None:
    assert not pose_features(torch.eye(3).expand(2, 4, 3, 3)).any()


@pytest.mark.parametrize("parents", [(), (0, 0), (-1, 1), (-1, -1), (-1, 2, 0)])
def test_what_is_no_tree_is_refused(parents: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match="not one tree"):
        Tree.of(parents)
