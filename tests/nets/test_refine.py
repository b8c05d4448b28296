"""Pulling the body's guess onto its heatmaps."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import toy_models
from openexpose.body import BodyModel, load_model
from openexpose.errors import ConfigError
from openexpose.geometry.camera import weak_project
from openexpose.geometry.rotations import axis_angle_to_matrix, matrix_to_axis_angle
from openexpose.losses.terms import angle_rad
from openexpose.metrics import pve_mm
from openexpose.nets import priors
from openexpose.nets.attention import Look, Squares
from openexpose.nets.codec import Estimate
from openexpose.nets.config import BODY_POINTS, RefineConfig, lite
from openexpose.nets.params import BodyParams, HandParams, HeadParams
from openexpose.nets.points import Points, leg_rows
from openexpose.nets.refine import (
    BODY,
    HALF_SURE,
    HAND_M,
    HEAD,
    RIGHT_HAND,
    Refiner,
    _belief,
    _layout,
    _points,
    refined,
    refined_face,
    refined_hands,
)

CONFIG = RefineConfig()
NO_PRIOR = replace(CONFIG, prior_share=0.0)
LITE = lite()
HAND, FACE = LITE.refine_hand, LITE.refine_head
assert HAND is not None and FACE is not None
HAND_POINTS, FACE_POINTS = LITE.part("hand").points, LITE.part("head").points


@pytest.fixture(scope="module")
def model() -> BodyModel:
    return load_model("free")


def people(rows: int, spread_rad: float, seed: int) -> BodyParams:
    g = torch.Generator().manual_seed(seed)
    upright = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    turn = lambda *n: axis_angle_to_matrix(spread_rad * torch.randn(rows, *n, 3, generator=g))  # noqa: E731
    eye = torch.eye(3)
    return BodyParams(
        global_orient=turn() @ upright,
        body_pose=turn(21),
        left_hand_pose=eye.expand(rows, 15, 3, 3),
        right_hand_pose=eye.expand(rows, 15, 3, 3),
        jaw_pose=eye.expand(rows, 3, 3),
        betas=torch.zeros(rows, 10),
        expression=torch.zeros(rows, 10),
    )


def seen_of(model: BodyModel, params: BodyParams, camera: torch.Tensor, peak: float = 1.0) -> Points:
    posed = model.shape(params.betas, params.expression).pose(params.R_parent_child())
    at = weak_project(_points(posed, model, _layout(BODY_POINTS, model, BODY)), camera)
    return Points(torch.zeros(len(at), len(BODY_POINTS), 2, 2), at, torch.full(at.shape[:2], peak))


def apart(a: Points, b: Points) -> float:
    return float((a.at_u - b.at_u).norm(dim=-1).mean())


def test_a_wrong_guess_comes_nearer_and_a_right_one_stays(model):
    truth, camera = people(4, 0.25, 0), torch.tensor([[0.9, 0.02, 0.3]]).expand(4, 3)
    seen = seen_of(model, truth, camera)
    turned = axis_angle_to_matrix(0.25 * torch.randn(4, 21, 3, generator=torch.Generator().manual_seed(1)))
    wrong = replace(truth, body_pose=turned @ truth.body_pose)
    off = camera + torch.tensor([0.05, 0.05, -0.05])
    better, moved = refined(wrong, off, seen, BODY_POINTS, model=model, config=CONFIG)
    before, after = apart(seen_of(model, wrong, off), seen), apart(seen_of(model, better, moved), seen)
    assert after < 0.25 * before  # mean distance in half crop sides
    same, still = refined(truth, camera, seen, BODY_POINTS, model=model, config=NO_PRIOR)
    assert (same.body_pose - truth.body_pose).abs().max() < 1e-4 and (still - camera).abs().max() < 1e-4


def test_limbs_that_lie_flat_in_the_picture_do_not_thrash(model):
    truth, camera = people(6, 0.0, 5), torch.tensor([[0.9, 0.0, 0.3]]).expand(6, 3)
    arms = torch.eye(3).repeat(6, 21, 1, 1)
    bend = torch.linspace(0.3, 1.3, 6)[:, None] * torch.tensor([0.0, 1.0, 0.0])
    arms[:, 15], arms[:, 16] = axis_angle_to_matrix(bend), axis_angle_to_matrix(-bend)  # both arms towards the camera
    seen = seen_of(model, replace(truth, body_pose=arms), camera)
    before = apart(seen_of(model, truth, camera), seen)
    better, moved = refined(truth, camera, seen, BODY_POINTS, model=model, config=CONFIG)
    after = apart(seen_of(model, better, moved), seen)
    print(before, after)
    assert after < 0.25 * before  # mean distance in half crop sides


def test_depths_turn_limbs_that_the_picture_leaves_open(model):
    config = replace(NO_PRIOR, spread_u=0.03)  # tight points make a narrow valley: more steps than 16
    truth, camera = people(6, 0.0, 7), torch.tensor([[0.9, 0.0, 0.3]]).expand(6, 3)
    bend = torch.linspace(0.6, 1.0, 6)[:, None] * torch.tensor([0.0, 1.0, 0.0])
    ahead, behind = (torch.eye(3).repeat(6, 21, 1, 1) for _ in range(2))
    ahead[:, 15], behind[:, 15] = axis_angle_to_matrix(bend), axis_angle_to_matrix(-bend)  # the left upper arm
    flat = seen_of(model, replace(truth, body_pose=ahead), camera)
    start = replace(truth, body_pose=behind)
    posed = model.shape(truth.betas, truth.expression).pose(replace(truth, body_pose=ahead).R_parent_child())
    z = _points(posed, model, _layout(BODY_POINTS, model, BODY))[..., 2]
    told = replace(flat, depth_u=0.9 * (z - z.mean(1, keepdim=True)), doubt_u=torch.full_like(z, 0.05))
    elbow = lambda p: model.shape(p.betas, p.expression).pose(p.R_parent_child()).joints_m[:, 18]  # noqa: E731
    without, _ = refined(start, camera, flat, BODY_POINTS, model=model, config=config)
    better, _ = refined(start, camera, told, BODY_POINTS, model=model, config=config)
    wanted = posed.joints_m[:, 18]
    far_m = (elbow(without) - wanted).norm(dim=-1).min()
    near_m = (elbow(better) - wanted).norm(dim=-1).max()
    assert near_m < 0.05 < 0.25 < far_m  # metres
    sceptic, _ = refined(start, camera, replace(told, doubt_u=told.doubt_u * torch.inf), BODY_POINTS, model=model,
                         config=config)  # fmt: skip
    assert (sceptic.body_pose - without.body_pose).abs().max() < 1e-3  # entries of rotation matrices


def test_after_a_first_fit_erring_points_move_limbs_across_not_in_depth(model):
    truth, camera = people(4, 0.2, 11), torch.tensor([[0.9, 0.0, 0.3]]).expand(4, 3)
    seen = seen_of(model, truth, camera)
    noise = 0.08 * torch.randn(seen.at_u.shape, generator=torch.Generator().manual_seed(12))  # half crop sides
    noisy = replace(seen, at_u=seen.at_u + noise)
    twice = replace(CONFIG, first_steps=10)
    off_m, off_u = [], []
    for config in (CONFIG, twice):
        found, moved = refined(truth, camera, noisy, BODY_POINTS, model=model, config=config)
        posed = model.shape(truth.betas, truth.expression)
        joints = [posed.pose(p.R_parent_child()).joints_m[:, :22, 2] for p in (found, truth)]
        off_m.append(float((joints[0] - joints[1]).abs().mean()))
        off_u.append(float((seen_of(model, found, moved).at_u - noisy.at_u)[:, :14].norm(dim=-1).mean()))  # LSP's
    assert off_m[1] < 0.85 * off_m[0]  # metres towards or away from us
    assert off_u[1] < 0.7 * float(noise[:, :14].norm(dim=-1).mean())  # half crop sides; still the points are followed


def test_who_shows_no_legs_stands(model):
    truth, camera = people(2, 0.0, 13), torch.tensor([[0.9, 0.0, 0.3]]).expand(2, 3)
    kneeling = torch.eye(3).repeat(2, 21, 1, 1)
    kneeling[:, 3], kneeling[:, 4] = (axis_angle_to_matrix(torch.tensor([1.4, 0.0, 0.0])) for _ in range(2))  # knees
    start, seen = replace(truth, body_pose=kneeling), seen_of(model, truth, camera)
    legs = list(leg_rows(BODY_POINTS))
    one_hidden = seen.peak.clone()
    one_hidden[0, legs] = 0.0
    one_hidden[1, legs[1:]] = 0.0  # one point of a leg is enough to believe in the guess
    found, _ = refined(start, camera, replace(seen, peak=one_hidden), BODY_POINTS, model=model, config=CONFIG)
    bent = matrix_to_axis_angle(found.body_pose[:, 3:5]).norm(dim=-1).amax(1)
    assert bent[0] < 0.6 < 0.9 < bent[1]  # radians; the prior's mean bends knees a little


def test_rows_are_independent_and_unseen_points_do_not_pull(model):
    truth, camera = people(3, 0.3, 3), torch.tensor([[0.9, 0.0, 0.3]]).expand(3, 3)
    seen, start = seen_of(model, truth, camera), people(3, 0.1, 4)
    together, _ = refined(start, camera, seen, BODY_POINTS, model=model, config=CONFIG)
    one = replace(start, **{n: getattr(start, n)[1:2] for n in BodyParams.__dataclass_fields__})
    alone, _ = refined(one, camera[:1], Points(seen.logits[1:2], seen.at_u[1:2], seen.peak[1:2]), BODY_POINTS,
                       model=model, config=CONFIG)  # fmt: skip
    assert (together.body_pose[1] - alone.body_pose[0]).abs().max() < 1e-4  # float32 solves
    blind = seen_of(model, truth, camera, peak=0.05)
    stayed, still = refined(start, camera, blind, BODY_POINTS, model=model, config=NO_PRIOR)
    assert torch.allclose(stayed.body_pose, start.body_pose, atol=1e-4) and torch.equal(still, camera)
    usual, _ = refined(start, camera, blind, BODY_POINTS, model=model, config=replace(CONFIG, own_share=0.0))
    mean = axis_angle_to_matrix(priors.shipped("body").mean[0].float().view(21, 3))
    assert (usual.body_pose - mean).abs().max() < 1e-3  # entries of rotation matrices


def test_fingers_are_found_from_their_points(model):
    prior, rows = priors.shipped("hand"), 6
    g = torch.Generator().manual_seed(8)
    kind = torch.multinomial(prior.weight, rows, replacement=True, generator=g)
    scale = torch.linalg.cholesky(torch.linalg.inv(prior.precision))[kind]
    noise = torch.randn(rows, 45, generator=g, dtype=torch.float64)
    fingers = (prior.mean[kind] + (scale @ noise[..., None])[..., 0]).float()
    wrist = axis_angle_to_matrix(torch.randn(rows, 3, generator=g))
    R = torch.eye(3).repeat(rows, 55, 1, 1)
    R[:, 0], R[:, 40:] = wrist, axis_angle_to_matrix(fingers.view(rows, 15, 3))  # nothing above the wrist is turned
    layout = _layout(HAND_POINTS, model, RIGHT_HAND)
    posed = model.shape().pose(R)
    at = weak_project(_points(posed, model, layout), torch.tensor([[4.0, 0.6, -0.3]]).expand(rows, 3))
    seen = Points(torch.zeros(rows, 21, 2, 2), at, torch.ones(rows, 21))
    off = axis_angle_to_matrix(0.2 * torch.randn(rows, 3, generator=g)) @ wrist
    start = HandParams(off, torch.eye(3).expand(rows, 15, 3, 3), torch.zeros(rows, 10))
    config = replace(HAND, spread_u=0.02)
    better = refined_hands(start, seen, HAND_POINTS, model=model, config=config)
    usual = axis_angle_to_matrix((prior.weight @ prior.mean).float().view(15, 3)).expand(rows, 15, 3, 3)
    found, before = (angle_rad(a, R[:, 40:]).mean() for a in (better.right_hand_pose, usual))
    assert found < 0.6 * before  # radians
    assert angle_rad(better.global_orient, wrist).mean() < angle_rad(off, wrist).mean()


def test_nobody_has_no_hands(model):
    none = HandParams(torch.zeros(0, 3, 3), torch.zeros(0, 15, 3, 3), torch.zeros(0, 10))
    seen = Points(torch.zeros(0, 21, 2, 2), torch.zeros(0, 21, 2), torch.zeros(0, 21))
    assert refined_hands(none, seen, HAND_POINTS, model=model, config=HAND).right_hand_pose.shape == (0, 15, 3, 3)


def test_fingers_that_are_not_seen_take_after_the_other_hand():
    g = torch.Generator().manual_seed(11)
    fingers = axis_angle_to_matrix(0.3 * torch.randn(6, 15, 3, generator=g))
    cells = torch.zeros(6, 21, 8, 8)
    cells[[0, 4, 2, 5], :, 3, 3] = 40.0  # seen: the first's right, the second's left, the third's both
    points = Points(cells, torch.zeros(6, 21, 2), torch.zeros(6, 21))
    params = HandParams(torch.eye(3).repeat(6, 1, 1), fingers, torch.zeros(6, 10))
    hands = Estimate(torch.zeros(6, 1), params, torch.ones(6, 3), None, points)
    refiner = Refiner(CONFIG, replace(HAND, alike=0.7), FACE, BODY_POINTS)
    got = matrix_to_axis_angle(refiner.pair(hands).params.right_hand_pose)
    own = matrix_to_axis_angle(fingers)
    assert torch.allclose(got[[0, 4]], own[[0, 4]], atol=1e-5)  # radians; the other is not seen
    share = 0.7 / (1 + HALF_SURE)
    for hidden, other in ((3, 0), (1, 4)):
        assert torch.allclose(got[hidden], own[hidden] + share * (own[other] - own[hidden]), atol=1e-5)
    little = 0.7 / (2 + HALF_SURE) * HALF_SURE / (1 + HALF_SURE)
    assert torch.allclose(got[2], own[2] + little * (own[5] - own[2]), atol=1e-5)
    assert replace(refiner, hand=replace(HAND, alike=0.0)).pair(hands) is hands  # unless a config asks for it


def test_jaw_expression_and_shape_are_found_from_landmarks(model):
    rows, g = 6, torch.Generator().manual_seed(9)
    prior = priors.shipped("face")
    scale = torch.linalg.cholesky(torch.linalg.inv(prior.precision[0]))
    face = (prior.mean[0] + torch.randn(rows, 13, generator=g, dtype=torch.float64) @ scale.T).float()
    betas = torch.randn(rows, 10, generator=g)
    upright = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    turn = axis_angle_to_matrix(0.2 * torch.randn(rows, 3, generator=g)) @ upright
    R = torch.eye(3).repeat(rows, 55, 1, 1)
    R[:, 0], R[:, 22] = turn, axis_angle_to_matrix(face[:, :3])
    posed = model.shape(betas, face[:, 3:]).pose(R)
    camera = torch.tensor([[6.0, 0.0, 0.1]]).expand(rows, 3)
    at = weak_project(_points(posed, model, _layout(FACE_POINTS, model, (HEAD,))), camera)
    seen = Points(torch.zeros(rows, 68, 2, 2), at, torch.ones(rows, 68))
    off = axis_angle_to_matrix(0.1 * torch.randn(rows, 3, generator=g)) @ turn
    start = HeadParams(off, torch.eye(3).expand(rows, 3, 3), torch.zeros(rows, 100), torch.zeros(rows, 50))
    config = replace(FACE, spread_u=0.01, betas_spread=1.0)
    better, shape = refined_face(start, torch.zeros(rows, 10), seen, FACE_POINTS, model=model, config=config)
    own = torch.eye(3).repeat(rows, 55, 1, 1)
    own[:, 22] = R[:, 22]
    wanted = model.shape(betas, face[:, 3:]).pose(own).skin().vertices_m
    own[:, 22] = better.jaw_pose
    got = model.shape(shape, better.expression[:, :10]).pose(own).skin().vertices_m
    neutral = model.shape(torch.zeros(rows, 10)).pose(torch.eye(3).expand(rows, 55, 3, 3)).skin().vertices_m
    ids = model.regions["head"]
    found, before = (pve_mm(v, wanted, align="procrustes", ids=ids).mean() for v in (got, neutral))
    assert found < 0.6 * before  # millimetres
    assert torch.equal(better.expression[:, 10:], start.expression[:, 10:])


def test_hands_are_looked_for_where_their_knuckles_are_seen():
    refiner = Refiner(CONFIG, HAND, FACE, BODY_POINTS)
    k = BODY_POINTS.index("left_middle_1")
    logits = torch.zeros(2, len(BODY_POINTS), 16, 16)
    logits[0, k, 4, 12] = 30.0  # the first person's is seen at (0.5625, -0.4375) half sides from the middle
    points = Points(logits, torch.zeros(2, len(BODY_POINTS), 2), torch.zeros(2, len(BODY_POINTS)))
    params = people(2, 0.0, 0)
    body = Estimate(torch.zeros(2, 1), params, torch.tensor([[0.9, 0.0, 0.0]] * 2), None, points)
    T = torch.tensor([[0.5, 0.0, -10.0], [0.0, 0.5, -20.0]]).expand(2, 2, 3)  # photo to crop: half the size
    look = Look(torch.zeros(2, 3, 160, 160), [torch.zeros(400, 400, 3)] * 2, T, torch.full((2,), 320.0))
    square = Squares(torch.full((2, 2), 50.0), torch.full((2,), 40.0))
    aimed = refiner.aim(square, body, "left", 2.0, look)
    seen_px = (torch.tensor([0.5625, -0.4375]) + 1) / 2 * 159
    assert torch.allclose(aimed.centre_px[0], (seen_px + torch.tensor([10.0, 20.0])) / 0.5, atol=0.5)  # pixels
    assert torch.equal(aimed.centre_px[1], square.centre_px[1])  # nothing is seen: where the body has it
    assert torch.allclose(aimed.side_px, torch.full((2,), (40.0 * 0.45 * 320 * HAND_M * 2) ** 0.5))


def test_guess_and_mixture_make_one_gaussian_each_and_a_cost():
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(3, 4, 4))
    covariance, mean, weight = (
        factors @ factors.transpose(0, 2, 1) + np.eye(4),
        rng.normal(size=(3, 4)),
        [0.2, 0.3, 0.5],
    )
    precision = np.linalg.inv(covariance)
    prior = priors.Prior(torch.tensor(mean), torch.tensor(precision), torch.tensor(weight, dtype=torch.float64))
    config, off, guess = (
        replace(CONFIG, prior_share=2.0, own_share=0.7),
        rng.uniform(0.3, 1.0, 4),
        rng.normal(size=(2, 4)),
    )
    told = _belief(prior, torch.tensor(guess), torch.tensor(off), config)
    assert told.cost is not None and told.mean.shape == (6, 4)
    x = rng.normal(size=4)
    for m in range(3):
        for b in range(2):
            row = 2 * m + b
            d, g = x - mean[m], (x - guess[b]) / off
            want = (
                2.0 * d @ precision[m] @ d + 0.7 * g @ g + np.linalg.slogdet(covariance[m])[1] - 2 * np.log(weight[m])
            )
            e = x - told.mean[row].numpy()
            got = e @ told.precision[row].numpy() @ e + float(told.cost[row])
            assert abs(got - want) < 1e-4


def test_what_cannot_be_followed_is_refused(model):
    with pytest.raises(ConfigError, match="cannot be followed"):
        _layout(("left_pocket",), model, BODY)
    with pytest.raises(ConfigError, match="could be followed"):
        _layout(BODY_POINTS, BodyModel(toy_models.toy_mano(3)), BODY)
    with pytest.raises(ConfigError, match="steps >= 1"):
        RefineConfig(steps=0)
    with pytest.raises(ConfigError, match="spreads must be positive"):
        RefineConfig(keep_depth_u=0.0)
    with pytest.raises(ConfigError, match="share of one"):
        RefineConfig(alike=1.5)
    with pytest.raises(ConfigError, match="not both 0"):
        RefineConfig(prior_share=0.0, own_share=0.0)
