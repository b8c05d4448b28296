"""Named pose blocks: joining and splitting are inverse, absent blocks rest, wrong ones are refused."""

import numpy as np
import pytest
import torch

from openexpose.body.params import POSE_BLOCKS, add_hand_mean, hand_pose_from_pca, join_pose, split_pose
from openexpose.errors import ConfigError, ShapeError
from oracles import random_rotations
from toy_models import toy_smplx


@pytest.mark.parametrize("family", list(POSE_BLOCKS))
def test_join_undoes_split(family: str) -> None:
    count = sum(n for _, n in POSE_BLOCKS[family])
    R = torch.as_tensor(random_rotations(np.random.default_rng(0), (2, 3, count)))
    blocks = split_pose(family, R)
    assert [b.shape[-3] for b in blocks.values()] == [n for _, n in POSE_BLOCKS[family]]
    assert torch.equal(join_pose(family, blocks), R)


def test_absent_blocks_rest() -> None:
    jaw = torch.as_tensor(random_rotations(np.random.default_rng(1), (4, 1)))
    R = join_pose("smplx", {"jaw_pose": jaw})
    assert torch.equal(R[:, 22], jaw[:, 0])
    R[:, 22] = torch.eye(3, dtype=R.dtype)
    assert torch.equal(R, torch.eye(3, dtype=R.dtype).expand(4, 55, 3, 3))


def test_hand_pca_by_hand() -> None:
    means = {"left_hand_mean": torch.full((45,), 0.5), "left_hand_components": torch.eye(45) * 2}
    want = torch.full((45,), 0.5)
    want[:2] += torch.tensor([2.0, 4.0])
    got = hand_pose_from_pca(means, torch.tensor([1.0, 2.0]), "left", add_mean=True)
    torch.testing.assert_close(got, want)
    relative = hand_pose_from_pca(means, torch.tensor([1.0, 2.0]), "left", add_mean=False)
    torch.testing.assert_close(add_hand_mean(means, relative, "left"), want)


def test_refusals() -> None:
    eye = torch.eye(3).expand(1, 1, 3, 3)
    with pytest.raises(ShapeError, match="no pose block 'tail'"):
        join_pose("smplx", {"tail": eye})
    with pytest.raises(ShapeError, match="body_pose must be"):
        join_pose("smplx", {"body_pose": eye})
    with pytest.raises(ShapeError, match="no pose block given"):
        join_pose("mano", {})
    with pytest.raises(ShapeError, match="has 16 joints"):
        split_pose("mano", torch.eye(3).expand(15, 3, 3))
    with pytest.raises(ConfigError, match="no left_hand_mean"):
        add_hand_mean({}, torch.zeros(45), "left")
    assert toy_smplx(1).family == "smplx"
