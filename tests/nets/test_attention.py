"""Where to look, and the hand-over both ways, against the float64 oracle written from the specification."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

import toy_models
from nets import oracle_attention as oracle
from nets.tiny import tiny_config
from openexpose.body import BodyModel
from openexpose.geometry.crop import Crop, normalise
from openexpose.nets import attention, build, merge
from openexpose.nets.attention import Look, Squares
from openexpose.nets.codec import body_codec, hand_codec, head_codec
from openexpose.nets.means import Means

BODY, HAND = body_codec(num_betas=10, num_expression=10), hand_codec(num_betas=10)
HEAD = head_codec(num_betas=100, num_expression=50)
EXACT = {"atol": 1e-9, "rtol": 0}  # float64 against float64, whatever the unit


def rng(seed):
    return torch.Generator().manual_seed(seed)


def random_vectors(codec, rows, seed):
    return torch.randn(rows, codec.size, generator=rng(seed), dtype=torch.float64)


@pytest.fixture(scope="module")
def double_expose():
    """A tiny whole model in float64."""
    torch.random.default_generator.manual_seed(8)
    net = build.build_expose(tiny_config(), BodyModel(toy_models.toy_smplx(3), dtype=torch.float64), means=Means())
    for part in (net.body, net.hand, net.head):
        torch.nn.init.normal_(part.regressor.output.weight, std=0.02)
    return net.double().eval()


@pytest.fixture(scope="module")
def look():
    """Three persons in photos of different sizes."""
    g = np.random.default_rng(9)
    sizes, centres, sides = (
        [(90, 120), (150, 70), (64, 64)],
        [(60.0, 40.0), (30.0, 90.0), (5.0, 60.0)],
        [70.0, 66.6, 80.0],
    )
    photos = [torch.from_numpy(g.integers(0, 256, (*hw, 3), np.uint8)) for hw in sizes]
    crops = [Crop(c, s, 64) for c, s in zip(centres, sides, strict=True)]
    seen = normalise(torch.stack([torch.from_numpy(c.cut(p.numpy())) for c, p in zip(crops, photos, strict=True)]))
    T = torch.from_numpy(np.stack([c.T_crop_photo for c in crops]))
    return Look(seen.double(), photos, T, torch.tensor(sides, dtype=torch.float64))


@pytest.fixture(scope="module")
def estimate(double_expose, look):
    with torch.inference_mode():
        return double_expose(look)


def test_point_sets_by_name(toy_body):
    names = toy_body.keypoint_names
    for side, points in (("right", attention.RIGHT_HAND_POINTS), ("left", attention.LEFT_HAND_POINTS)):
        fingers = {f"{side}_{f}_{i}" for f in ("index", "middle", "pinky", "ring", "thumb") for i in (1, 2, 3)}
        tips = {f"{side}_{f}" for f in ("index", "middle", "pinky", "ring", "thumb")}
        assert {names[i] for i in points} == fingers | tips | {f"{side}_wrist"}
    head = [names[i] for i in attention.HEAD_POINTS]
    assert len(head) == len(set(head)) == 77
    assert head[:9] == [
        "head",
        "jaw",
        "left_eyeball",
        "right_eyeball",
        "nose",
        "right_eye",
        "left_eye",
        "right_ear",
        "left_ear",
    ]
    assert head[9] == "right_eyebrow_1"
    assert head[-1] == names[143] == "left_contour_1"


def test_projection_uses_the_last_pixel(toy_body):
    """Parity row 7: u = 1 is the centre of the last pixel, 255."""
    points = torch.tensor([[[0.5, -0.5, 3.0], [0.0, 0.0, -9.0]]])
    got = attention.project_px(points, torch.tensor([[2.0, 0.0, 0.0]]), 256)
    assert_close(got, torch.tensor([[[255.0, 0.0], [127.5, 127.5]]]))


def test_squares_of_the_oracle(double_expose, look, estimate):
    for i in range(3):
        joints = double_expose.posed(estimate.body.params).keypoints_m()[i].numpy()
        A, side, camera = look.T_crop_photo[i].numpy(), float(look.side_px[i]), estimate.camera[i].numpy()
        for subset, square in ((oracle.RIGHT, estimate.right_hand_square), (oracle.LEFT, estimate.left_hand_square)):
            centre, size = oracle.box(joints, camera, subset, 3.0, A, side, size=64)
            assert_close(square.centre_px[i].numpy(), centre, **EXACT)
            assert_close(float(square.side_px[i]), size, **EXACT)
        hands = estimate.hands.vector.numpy()
        merged = oracle.merged(estimate.body.vector[i].numpy(), hands[i], hands[3 + i], estimate.head.vector[i].numpy())
        joints = joints_of(double_expose, merged | {"jaw_pose": estimate.body.params.jaw_pose[i].numpy()}, estimate, i)
        centre, size = oracle.box(joints, camera, oracle.HEAD, 2.0, A, side, size=64)
        assert_close(estimate.head_square.centre_px[i].numpy(), centre, **EXACT)
        assert_close(float(estimate.head_square.side_px[i]), size, **EXACT)


def joints_of(net, params, estimate, i):
    """Keypoints of one person of the oracle, with the body's own expression: the head comes after the hands."""
    R = np.stack(
        [params["global_orient"], *params["body_pose"], params["jaw_pose"], np.eye(3), np.eye(3)]
        + [*params["left_hand_pose"], *params["right_hand_pose"]]
    )
    shaped = net.body_model.shape(torch.from_numpy(params["betas"]), estimate.body.params.expression[i])
    return shaped.pose(torch.from_numpy(R)).keypoints_m().numpy()


def test_crops_of_the_oracle(look, estimate):
    squares = estimate.right_hand_square
    got = squares.cut(look.photos, 12)
    for i, photo in enumerate(look.photos):
        want = oracle.crop(photo.numpy(), squares.centre_px[i].numpy(), float(squares.side_px[i]), 12)
        assert_close(got[i].numpy(), want, **EXACT)


def test_first_guesses_of_the_oracle(double_expose, estimate):
    """Parity row 5, also for vectors far from rotations."""
    hand_mean, head_mean = (n.regressor.mean_param for n in (double_expose.hand, double_expose.head))
    for body in (estimate.body, BODY.split(random_vectors(BODY, 4, 1))):
        hands = merge.hand_start(body, BODY, HAND, hand_mean)
        heads = merge.head_start(body, BODY, HEAD, head_mean)
        for i, v in enumerate(body.vector.numpy()):
            right, left = oracle.hand_conditions(v, hand_mean[0].numpy())
            assert_close(hands[i].numpy(), right, **EXACT)
            assert_close(hands[len(body.vector) + i].numpy(), left, **EXACT)
            assert_close(heads[i].numpy(), oracle.head_condition(v, head_mean[0].numpy()), **EXACT)


def test_merging_of_the_oracle(estimate):
    cases = [(estimate.body.vector, estimate.hands.vector, estimate.head.vector)]
    cases += [(random_vectors(BODY, 5, 2), random_vectors(HAND, 10, 3), random_vectors(HEAD, 5, 4))]
    for body, hands, head in cases:
        B = len(body)
        got = merge.merge_hands(BODY.split(body).params, HAND.split(hands).params)
        got = merge.merge_head(got, HEAD.split(head).params)
        for i in range(B):
            want = oracle.merged(body[i].numpy(), hands[i].numpy(), hands[B + i].numpy(), head[i].numpy())
            for name in got.__dataclass_fields__:
                assert_close(getattr(got, name)[i].numpy(), np.array(want[name]), **EXACT)
    assert_close(estimate.params.body_pose, merge.merge_hands(estimate.body.params, estimate.hands.params).body_pose)


def test_a_hand_that_agrees_with_the_body_changes_nothing():
    """Merging is the inverse of the first guess: hand back what was handed over, and the body stays as it was."""
    body = BODY.split(BODY.join(*(lambda e: (e.params, e.camera))(BODY.split(random_vectors(BODY, 6, 5)))))
    start = merge.hand_start(body, BODY, HAND, torch.zeros(1, 109, dtype=torch.float64))
    merged = merge.merge_hands(body.params, HAND.split(start).params)
    for name in merged.__dataclass_fields__:
        assert_close(getattr(merged, name), getattr(body.params, name), **EXACT)


def test_a_mirrored_person_has_mirrored_squares():
    """Points mirrored in the crop give squares mirrored in the photo."""
    points = torch.rand(2, 144, 2, generator=rng(6), dtype=torch.float64) * 63
    T = torch.from_numpy(np.stack([Crop((32.0, 32.0), 64.0, 64).T_crop_photo] * 2))
    look = Look(torch.zeros(2, 3, 64, 64), [], T, torch.full((2,), 64.0, dtype=torch.float64))
    flipped = torch.stack([64 - points[..., 0], points[..., 1]], -1)
    a = attention.squares_around(points, attention.LEFT_HAND_POINTS, 3.0, look)
    b = attention.squares_around(flipped, attention.LEFT_HAND_POINTS, 3.0, look)
    assert_close(b.centre_px[:, 0], 64 - a.centre_px[:, 0])
    assert_close(b.side_px, a.side_px)


def test_corners_and_unit_square():
    square = Squares(torch.tensor([[10.0, 20.0]]), torch.tensor([4.0]))
    assert square.corners_px.tolist() == [[8, 18, 12, 22]]
    corner = square.T_photo_unit @ torch.tensor([[0.0], [1.0], [1.0]])
    assert corner[0, :, 0].tolist() == [8, 22]
