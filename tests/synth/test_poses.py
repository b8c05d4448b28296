"""Poses: the bank, recombination, limits, self-contact, hands and faces."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from openexpose.body.free import load_facial_actions
from openexpose.errors import ConfigError, DataError
from openexpose.synth.capsules import goes_through_itself, joint_positions, segment_distance
from openexpose.synth.mannequin import Mannequin
from openexpose.synth.pose_bank import JOINTS, PoseBank, compact, from_arrays, mirrored
from openexpose.synth.poses import (
    FLEX_LIMITS_DEG,
    SLACK_RAD,
    SPREAD_LIMITS_DEG,
    BodyPoses,
    PoseDraws,
    draw_face,
    draw_gaze,
    draw_hands,
    hand_rotations,
)


def poses_of(mannequin: Mannequin, **more: object) -> BodyPoses:
    model = mannequin.bare
    return BodyPoses(PoseBank.shipped(), model.shape().rest_joints_m.numpy(), model.parents, PoseDraws(**more))  # type: ignore[arg-type]


def test_mirroring_twice_is_nothing(rng: np.random.Generator) -> None:
    pose = rng.normal(size=(4, 22, 3))
    assert np.array_equal(mirrored(mirrored(pose)), pose)
    left, right = JOINTS.index("left_elbow"), JOINTS.index("right_elbow")
    assert np.array_equal(mirrored(pose)[:, right], pose[:, left] * [1, -1, -1])


def test_the_shipped_bank_has_thousands_of_poses_of_every_source() -> None:
    bank = PoseBank.shipped()
    assert bank.rotvec_rad.shape == (10855, 22, 3) and set(bank.source.tolist()) == set(range(8))
    assert 400 < bank.held_out.sum() < 1000
    assert np.abs(bank.rotvec_rad[:, 0, 1]).max() < 0.01  # radians of yaw: the bank is free of it
    low, high = bank.limits_rad[:, 0], bank.limits_rad[:, 1]
    assert ((bank.rotvec_rad >= low - 0.21) & (bank.rotvec_rad <= high + 0.21)).all((1, 2)).mean() > 0.99  # 12 degrees


def test_compacting_keeps_one_of_each_pair_to_a_128th_of_the_range(rng: np.random.Generator) -> None:
    one = rng.normal(size=(5, 22, 3)).astype(np.float32)
    both = np.concatenate([one, mirrored(one)])
    names = np.array(list("abcde") * 2)
    bank = {"body_pose": both[:, 1:], "global_orient": both[:, 0], "source": np.zeros(10, np.uint8), "clip": names}
    limits = {n.replace("spine_", "spine"): {"limit_min": [-90.0] * 3, "limit_max": [90.0] * 3} for n in JOINTS[1:]}
    small = from_arrays(compact([bank], limits, 2))
    assert np.abs(small.rotvec_rad - one).max() <= np.abs(one).max() / 127  # half a step, and float16 rounding
    assert small.held_out.tolist() == [True, False, True, False, True]
    with pytest.raises(DataError, match="no mirror image"):
        compact([{**bank, "global_orient": both[:, 0] + np.arange(10)[:, None]}], limits, 2)
    with pytest.raises(DataError, match="no array"):
        from_arrays({})


def test_draws_are_allowed_varied_and_repeatable(mannequin: Mannequin) -> None:
    poses = poses_of(mannequin)
    drawn = np.stack([poses.draw(np.random.default_rng(i)) for i in range(60)])
    again = np.stack([poses.draw(np.random.default_rng(i)) for i in range(60)])
    assert np.array_equal(drawn, again)
    low, high = poses.bank.limits_rad[:, 0] - SLACK_RAD, poses.bank.limits_rad[:, 1] + SLACK_RAD
    assert ((drawn >= low - 1e-5) & (drawn <= high + 1e-5)).all((1, 2)).mean() > 0.95  # fallbacks may leave the limits
    assert drawn.std(0)[JOINTS.index("left_shoulder")].max() > 0.3  # radians
    assert np.mean([poses.allows(p) for p in drawn]) > 0.9


def test_test_poses_and_training_poses_share_no_row(mannequin: Mannequin) -> None:
    train, test = poses_of(mannequin), poses_of(mannequin, held_out=True)
    rows = [set(np.concatenate(list(p._rows.values())).tolist()) for p in (train, test)]
    assert not rows[0] & rows[1] and len(rows[0]) + len(rows[1]) == len(train.bank.source)
    with pytest.raises(ConfigError, match="probabilities"):
        PoseDraws(swap_arm=2.0)


def test_an_arm_through_the_belly_is_found(mannequin: Mannequin) -> None:
    model = mannequin.bare
    rest = model.shape().rest_joints_m.numpy()[:22].astype(np.float64)
    pose = np.zeros((22, 3))
    straight = joint_positions(Rotation.from_rotvec(pose).as_matrix(), rest, model.parents)
    assert not goes_through_itself(*straight)
    pose[JOINTS.index("left_shoulder")] = [0.0, 0.0, -1.2]
    pose[JOINTS.index("left_elbow")] = [0.0, 0.0, -1.6]
    assert goes_through_itself(*joint_positions(Rotation.from_rotvec(pose).as_matrix(), rest, model.parents))


def test_joints_are_where_the_body_model_puts_them(mannequin: Mannequin, rng: np.random.Generator) -> None:
    import torch

    model = mannequin.bare
    R = Rotation.from_rotvec(rng.normal(0, 0.4, (55, 3))).as_matrix()
    want = model.shape().pose(torch.tensor(R, dtype=torch.float32)).joints_m.numpy()[:22]
    got, _ = joint_positions(R[:22], model.shape().rest_joints_m.numpy()[:22], model.parents)
    assert np.abs(got - want).max() < 1e-5  # metres, float32


def test_segment_distance_agrees_with_trying_many_points(rng: np.random.Generator) -> None:
    a, b, c, d = rng.normal(size=(4, 20, 3))
    t = np.linspace(0, 1, 200)
    p = a[:, None] + t[:, None] * (b - a)[:, None]
    q = c[:, None] + t[:, None] * (d - c)[:, None]
    want = np.linalg.norm(p[:, :, None] - q[:, None], axis=-1).min((1, 2))
    assert np.abs(segment_distance(a, b, c, d) - want).max() < 0.02  # the grid's spacing


def test_fingers_stay_inside_their_limits(mannequin: Mannequin) -> None:
    hands = np.stack([draw_hands(np.random.default_rng(i)) for i in range(200)])
    assert hands.shape == (200, 2, 15, 3)
    flexion, spread = hands[:, 0, :, 0], hands[:, 0, :, 1]
    assert (flexion >= FLEX_LIMITS_DEG[:, 0]).all() and (flexion <= FLEX_LIMITS_DEG[:, 1]).all()
    assert (spread >= SPREAD_LIMITS_DEG[:, 0]).all() and (spread <= SPREAD_LIMITS_DEG[:, 1]).all()
    assert flexion[:, 4].std() > 15  # degrees: open hands and fists


def test_hand_rotations_are_those_of_the_body_package(mannequin: Mannequin) -> None:
    import torch

    from openexpose.body.hands import hand_axes, hand_pose

    angles = draw_hands(np.random.default_rng(1))[1]
    want = hand_pose(mannequin.bare, torch.tensor(angles, dtype=torch.float32), "right").numpy()
    got = hand_rotations(angles, hand_axes(mannequin.bare, "right").numpy())
    assert np.abs(got - want).max() < 1e-5  # of a rotation matrix, float32


def test_faces_move_and_stay_in_range() -> None:
    actions = load_facial_actions()
    faces = [draw_face(actions, 50, np.random.default_rng(i)) for i in range(100)]
    expressions = np.stack([f.expression for f in faces])
    assert expressions.shape == (100, 50) and np.abs(expressions).max() <= 4
    assert max(f.jaw_rad[0] for f in faces) > 0.1 and min(f.jaw_rad[0] for f in faces) >= -0.02  # radians
    gaze = np.stack([draw_gaze(np.random.default_rng(i)) for i in range(50)])
    assert np.abs(gaze[:, 0, :2] - gaze[:, 1, :2]).max() < 0.5 and gaze.std() > 0.05  # radians: eyes go together
