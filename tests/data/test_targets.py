from dataclasses import replace

import numpy as np
import pytest

from openexpose.data.augment import AugmentConfig, Draw, place
from openexpose.data.record import Keypoints, Record
from openexpose.data.sample import body_layout, hand_layout, head_layout
from openexpose.data.targets import misnamed_hand, move_joints, move_points, move_rotations, targets_of, turn_matrix
from openexpose.errors import DataError
from openexpose.skeleton import Skeleton
from tests.data.toys import FOCAL, SMPLX, make_record

CALM = Draw((0.0, 0.0), False, 1.0, 0.0, (1.0, 1.0, 1.0), 1.0, None)
SIZE = (320, 240)
MIDDLE = (np.array(SIZE) - 1) / 2


def placed(**changes):
    return place(AugmentConfig(), replace(CALM, **changes), MIDDLE, 200.0, SIZE)


@pytest.mark.parametrize("turn", [0.0, 33.0, -120.0])
@pytest.mark.parametrize("flipped", [False, True])
def test_projecting_the_moved_joints_gives_the_moved_points(turn, flipped):
    """Flips and turns about the optical axis are rigid motions of what the camera sees."""
    record, placement = make_record(1, SIZE), placed(turn_deg=turn, flipped=flipped)
    joints = move_joints(record.keypoints3d.xyc, SMPLX, placement)
    points = move_points(
        np.column_stack([record.keypoints2d.xyc[:, :2], np.ones(144)]), SMPLX, placement, leave_unseen=False
    )
    k = placement.size_px / placement.side_px
    projected = joints[:, :2] / joints[:, 2:3] * FOCAL * k + placement.size_px / 2
    np.testing.assert_allclose(projected, points[:, :2], atol=1e-9)  # px


@pytest.mark.parametrize("name", ["global_orient", "body_pose", "jaw_pose", "left_hand_pose"])
def test_mirroring_rotations_twice_is_nothing(name):
    rng = np.random.default_rng(0)
    aa = rng.normal(size=({"body_pose": 21, "left_hand_pose": 15}.get(name, 1), 3))
    once = move_rotations(name, aa, placed(flipped=True))
    M = np.diag([-1.0, 1.0, 1.0])
    plain = move_rotations(name, aa, placed())
    if name == "body_pose":
        order = [i - 1 for i in SMPLX.flip_permutation[1:22]]
        once = once[order]
    np.testing.assert_allclose(M @ once @ M, plain, atol=1e-12)


def test_points_flip_twice_to_themselves():
    xyc = make_record(3, SIZE).keypoints2d.xyc
    flipped = replace(placed(flipped=True), T_crop_work=np.eye(2, 3))
    once = move_points(xyc, SMPLX, flipped, leave_unseen=True)
    np.testing.assert_allclose(move_points(once, SMPLX, flipped, leave_unseen=True), xyc, atol=1e-9)  # px


def test_body_and_global_rotation_move_together():
    """Turning the picture turns the root only; joints below follow by the kinematic chain."""
    rng = np.random.default_rng(0)
    root, pose = rng.normal(size=(1, 3)), rng.normal(size=(21, 3))
    turned = placed(turn_deg=40.0)
    np.testing.assert_allclose(
        move_rotations("global_orient", root, turned)[0],
        turn_matrix(40.0) @ move_rotations("global_orient", root, placed())[0],
    )
    np.testing.assert_array_equal(
        move_rotations("body_pose", pose, turned), move_rotations("body_pose", pose, placed())
    )


def test_a_flip_swaps_the_hands_and_forgets_the_expression():
    record = make_record(2, SIZE)
    plain = targets_of(record, body_layout(), placed(), leave_unseen=False)
    flipped = targets_of(record, body_layout(), placed(flipped=True), leave_unseen=False)
    sign = np.array([[1, -1, -1], [-1, 1, 1], [-1, 1, 1]])
    np.testing.assert_allclose(
        flipped["left_hand_pose"].value, plain["right_hand_pose"].value.numpy() * sign, atol=1e-6
    )
    np.testing.assert_array_equal(flipped["betas"].value, plain["betas"].value)
    assert (
        plain["expression"].weight == 1 and flipped["expression"].weight == 0 and not flipped["expression"].value.any()
    )


def test_unknown_targets_weigh_nothing():
    bare = targets_of(Record("a.jpg"), head_layout(), placed(), leave_unseen=False)
    assert {n: tuple(t.value.shape) for n, t in bare.items()} == head_layout().shapes()
    assert all(t.weight == 0 and not t.value.any() for t in bare.values())
    smpl = replace(make_record(0, SIZE), family="smpl")
    assert targets_of(smpl, body_layout(), placed(), leave_unseen=False)["betas"].weight == 0


def test_points_of_another_convention_are_mapped_by_name():
    coco = Skeleton.read("coco")
    points = Keypoints(coco, np.column_stack([np.full((17, 2), 100.0), np.ones(17)]))
    got = targets_of(Record("a", keypoints2d=points), body_layout(), placed(), leave_unseen=False)["keypoints2d"].value
    known = [SMPLX.names[i] for i in np.flatnonzero(got[:, 2])]
    assert set(known) == {n for n in coco.names if not n.endswith("_extra")}


def test_unseen_points_are_zero_unless_the_reference_is_copied():
    record = make_record(5, SIZE)
    unseen = record.keypoints2d.xyc[:, 2] == 0
    ours = targets_of(record, body_layout(), placed(), leave_unseen=False)["keypoints2d"].value.numpy()
    theirs = targets_of(record, body_layout(), placed(), leave_unseen=True)["keypoints2d"].value.numpy()
    assert not ours[unseen].any()
    np.testing.assert_allclose(theirs[unseen, :2], record.keypoints2d.xyc[unseen, :2], atol=1e-4)  # px, float32
    np.testing.assert_array_equal(ours[~unseen], theirs[~unseen])


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"betas": np.ones(4)}, "4 numbers"),
        ({"body_pose": np.ones((23, 3))}, "69 numbers"),
        ({"jaw_pose": np.array([np.nan, 0, 0])}, "jaw_pose"),
    ],
)
def test_params_that_do_not_fit_are_refused(params, message):
    with pytest.raises(DataError, match=message):
        targets_of(Record("a", params=params, family="smplx"), body_layout(), placed(), leave_unseen=False)


def test_freihand_files_of_the_reference_get_their_fingers_back():
    freihand, mano, human = (Skeleton.read(n) for n in ("freihand", "mano", "human_data"))
    true = np.column_stack([np.arange(21.0), np.arange(21.0), np.ones(21)])  # FreiHAND order
    stored = Keypoints(mano, true).as_skeleton(human)  # the converter's mistake
    layout = hand_layout()
    repaired = misnamed_hand(stored)
    assert repaired.skeleton == freihand
    np.testing.assert_array_equal(repaired.xyc, true)
    wrong = stored.as_skeleton(layout.skeleton).xyc
    assert (wrong[1:, 0] != true[1:, 0]).sum() >= 16
