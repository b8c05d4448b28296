"""Anatomical hand angles on FreeBody: fingers close towards the palm, sides mirror each other; refusals."""

import pytest
import torch

from openexpose.body import BodyModel, load_model
from openexpose.body.hands import hand_axes, hand_pose, named_hand_poses
from openexpose.errors import ConfigError, ShapeError
from toy_models import toy_mano


@pytest.fixture(scope="module")
def model() -> BodyModel:
    return load_model("free")


def points(model: BodyModel, name: str, side: str) -> dict[str, torch.Tensor]:
    R = torch.eye(3).repeat(model.num_joints, 1, 1)
    first = model.joint_names.index(f"{side}_index_1")
    R[first : first + 15] = hand_pose(model, name, side)
    return dict(zip(model.keypoint_names, model.shape().pose(R).keypoints_m(), strict=True))


def test_flat_is_the_rest_pose(model: BodyModel) -> None:
    torch.testing.assert_close(hand_pose(model, "flat", "left"), torch.eye(3).expand(15, 3, 3))


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_fist_brings_the_tips_to_the_palm(model: BodyModel, side: str) -> None:
    flat, fist = points(model, "flat", side), points(model, "fist", side)
    for finger in ("index", "middle", "ring", "pinky"):
        knuckle = flat[f"{side}_{finger}_1"]
        assert (fist[f"{side}_{finger}"] - knuckle).norm() < 0.045, finger  # metres; a finger is about 0.08
        assert fist[f"{side}_{finger}_3"][1] < knuckle[1], finger  # below: palm down


def test_ok_and_pinch_bring_thumb_and_index_together(model: BodyModel) -> None:
    for name in ("ok", "pinch"):
        p = points(model, name, "right")
        assert (p["right_thumb"] - p["right_index"]).norm() < 0.035, name  # metres between the tip vertices


def test_left_is_the_mirror_of_right(model: BodyModel) -> None:
    mirror = torch.tensor([-1.0, 1.0, 1.0])
    for name in named_hand_poses():
        left, right = points(model, name, "left"), points(model, name, "right")
        for key, value in right.items():
            if key.startswith("right_"):
                other = left["left_" + key.removeprefix("right_")]
                assert (other - value * mirror).norm() < 0.002, (name, key)  # metres


def test_axes_are_unit(model: BodyModel) -> None:
    torch.testing.assert_close(hand_axes(model, "left").norm(dim=-1), torch.ones(15, 3))


def test_refusals(model: BodyModel) -> None:
    with pytest.raises(ConfigError, match="no hand pose 'high_five'"):
        hand_pose(model, "high_five", "left")
    with pytest.raises(ShapeError, match="hand angles must be"):
        hand_pose(model, torch.zeros(14, 3), "left")
    with pytest.raises(ConfigError, match="has no two hands"):
        hand_axes(BodyModel(toy_mano(1)), "left")
