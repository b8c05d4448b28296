"""Which terms are computed from which labels; batches with different labels; refusals."""

import numpy as np
import pytest
import torch

from openexpose.errors import ConfigError, DataError
from openexpose.geometry.rotations import axis_angle_to_matrix
from openexpose.losses.network import NetworkLoss, PartCrop, Target
from openexpose.nets.params import BodyParams
from openexpose.skeleton import Skeleton

NAMES = Skeleton.read("smplx").names
B, K = 4, len(NAMES)
JOINTS = {"global_orient": 1, "body_pose": 21, "jaw_pose": 1, "left_hand_pose": 15, "right_hand_pose": 15}
ALL = ("keypoints2d", "keypoints3d", *JOINTS, "betas", "expression", "betas_prior", "hand_crops", "head_crop")


def random_rotations(rng: np.random.Generator, joints: int) -> torch.Tensor:
    R = axis_angle_to_matrix(torch.from_numpy(rng.standard_normal((B, joints, 3)).astype(np.float32)))
    return R[:, 0] if joints == 1 else R


@pytest.fixture
def case():
    """Random estimates and labels for four people."""
    rng = np.random.default_rng(3)

    def numbers(*shape: int) -> torch.Tensor:
        return torch.from_numpy(rng.standard_normal(shape).astype(np.float32))

    params = {name: random_rotations(rng, n) for name, n in JOINTS.items()} | {
        "betas": 4 * numbers(B, 10),
        "expression": numbers(B, 10),
    }
    values = {name: random_rotations(rng, n) for name, n in JOINTS.items()} | {
        "betas": numbers(B, 10),
        "expression": numbers(B, 10),
        "keypoints2d": torch.cat([128 + 30 * numbers(B, K, 2), numbers(B, K, 1).abs().clamp(max=1)], -1),
        "keypoints3d": torch.cat([numbers(B, K, 3), torch.ones(B, K, 1)], -1),
    }
    turn = torch.eye(3).expand(B, 3, 3) * 2
    parts = {p: PartCrop(turn, torch.full((B,), 40.0)) for p in ("left_hand", "right_hand", "head")}
    return params, numbers(B, K, 3), numbers(B, K, 2), values, parts


def compute(case, weights, rows=slice(None)):
    params, points_m, points_u, values, parts = case
    targets = {k: Target(v[rows], weights[k][rows]) for k, v in values.items()}
    part_crops = {k: PartCrop(c.T_photo_crop[rows], c.side_px[rows]) for k, c in parts.items()}
    estimate = BodyParams(**{k: v[rows] for k, v in params.items()})
    return NetworkLoss(NAMES, ALL, crop_px=256)(estimate, points_m[rows], points_u[rows], targets, part_crops)


def test_a_mixed_batch_gives_the_sums_of_its_people(case):
    rng = np.random.default_rng(8)
    weights = {k: torch.from_numpy(rng.integers(0, 2, B).astype(np.float32)) for k in case[3]}
    together = compute(case, weights)
    alone = [compute(case, weights, slice(i, i + 1)) for i in range(B)]
    assert set(together) == set(ALL)
    for name, term in together.items():
        for field in ("summed", "over"):
            want = sum(getattr(one[name], field).item() for one in alone)
            assert getattr(term, field).item() == pytest.approx(want, rel=1e-5), name  # float32 sums


def test_without_labels_only_the_prior_speaks(case):
    terms = compute(case, {k: torch.zeros(B) for k in case[3]})
    assert {name for name, term in terms.items() if term.value.item() != 0} == {"betas_prior"}


def test_hands_nobody_saw_do_not_count(case):
    case[3]["keypoints2d"][:, 20:76, 2] = 0
    terms = compute(case, {k: torch.ones(B) for k in case[3]})
    assert terms["left_hand_pose"].over.item() == 0 and terms["hand_crops"].summed.item() == 0
    assert terms["jaw_pose"].over.item() == B


def test_what_is_missing_is_named(case):
    params, points_m, points_u, values, _ = case
    estimate = BodyParams(**params)
    targets = {k: Target(v, torch.ones(B)) for k, v in values.items()}
    loss_of = NetworkLoss(NAMES, ("keypoints2d", "head_crop"), crop_px=256)
    with pytest.raises(DataError, match="crop of the head"):
        loss_of(estimate, points_m, points_u, targets)
    with pytest.raises(DataError, match="keypoints2d"):
        loss_of(estimate, points_m, points_u, {})
    with pytest.raises(ConfigError, match="hips"):
        NetworkLoss(Skeleton.read("flame").names, ("keypoints3d",), crop_px=256)
    with pytest.raises(ConfigError, match="left_hand"):
        NetworkLoss(Skeleton.read("flame").names, ("left_hand_pose",), crop_px=256)
