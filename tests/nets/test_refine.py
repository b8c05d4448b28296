"""Pulling the body's guess onto its heatmaps."""

from dataclasses import replace

import pytest
import torch

import toy_models
from openexpose.body import BodyModel, load_model
from openexpose.errors import ConfigError
from openexpose.geometry.camera import weak_project
from openexpose.geometry.rotations import axis_angle_to_matrix
from openexpose.nets.config import BODY_POINTS, RefineConfig
from openexpose.nets.params import BodyParams
from openexpose.nets.points import Points
from openexpose.nets.refine import TURNING, _jacobian, _layout, _points, _turned, refined

CONFIG = RefineConfig()


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
    at = weak_project(_points(posed, model, _layout(BODY_POINTS, model)), camera)
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
    same, still = refined(truth, camera, seen, BODY_POINTS, model=model, config=CONFIG)
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


def test_the_closed_form_derivative_agrees_with_finite_differences(model):
    params, camera = people(1, 0.3, 2), torch.tensor([[0.8, 0.1, 0.2]])
    layout = _layout(BODY_POINTS, model)

    def projected(p: BodyParams) -> torch.Tensor:
        return weak_project(_points(model.shape(p.betas, p.expression).pose(p.R_parent_child()), model, layout), camera)

    posed = model.shape(params.betas, params.expression).pose(params.R_parent_child())
    turned = lambda turn: _turned(params, posed.R_model_joint[:, :TURNING], model.parents, turn)  # noqa: E731
    J = _jacobian(_points(posed, model, layout), posed.joints_m[:, :TURNING], camera, layout.moves)
    for joint, axis in ((0, 1), (1, 0), (16, 2), (18, 1), (12, 0)):
        turn = torch.zeros(1, TURNING, 3)
        turn[0, joint, axis] = 1e-3
        change = (projected(turned(turn)) - projected(turned(-turn))) / 2e-3
        # skin near a turning joint moves less than rigidly, and correctives answer the pose: 0.1 m of arm at most
        assert (change[0] - J[0, :, :, 3 * joint + axis]).abs().max() < 0.1


def test_rows_are_independent_and_unseen_points_do_not_pull(model):
    truth, camera = people(3, 0.3, 3), torch.tensor([[0.9, 0.0, 0.3]]).expand(3, 3)
    seen, start = seen_of(model, truth, camera), people(3, 0.1, 4)
    together, _ = refined(start, camera, seen, BODY_POINTS, model=model, config=CONFIG)
    one = replace(start, **{n: getattr(start, n)[1:2] for n in BodyParams.__dataclass_fields__})
    alone, _ = refined(one, camera[:1], Points(seen.logits[1:2], seen.at_u[1:2], seen.peak[1:2]), BODY_POINTS,
                       model=model, config=CONFIG)  # fmt: skip
    assert (together.body_pose[1] - alone.body_pose[0]).abs().max() < 1e-4  # float32 solves
    blind = seen_of(model, truth, camera, peak=0.05)
    stayed, still = refined(start, camera, blind, BODY_POINTS, model=model, config=CONFIG)
    assert torch.allclose(stayed.body_pose, start.body_pose, atol=1e-4) and torch.equal(still, camera)


def test_what_cannot_be_followed_is_refused(model):
    with pytest.raises(ConfigError, match="cannot be followed"):
        _layout(("left_pocket",), model)
    with pytest.raises(ConfigError, match="cannot be followed"):
        _layout(BODY_POINTS, BodyModel(toy_models.toy_mano(3)))
    with pytest.raises(ConfigError, match="steps >= 1"):
        RefineConfig(steps=0)
