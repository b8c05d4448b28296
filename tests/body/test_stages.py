"""The staged body model against a loop-by-loop float64 oracle, and its laws. No model file is needed."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from openexpose.body import BodyModel
from openexpose.body.arrays import ModelArrays
from openexpose.errors import AssetError, ConfigError, ShapeError
from oracles import keypoints, random_rotations, vertices_and_joints
from toy_models import toy_flame, toy_mano, toy_smpl, toy_smplx

TOYS = {"smplx": toy_smplx, "smpl": toy_smpl, "mano": toy_mano, "flame": toy_flame}
NANOMETRE = 1e-9


@pytest.fixture(params=list(TOYS))
def arrays(request: pytest.FixtureRequest) -> ModelArrays:
    return TOYS[request.param](5)


def random_inputs(rng: np.random.Generator, model: BodyModel, lead: tuple[int, ...]) -> tuple[torch.Tensor, ...]:
    betas = rng.standard_normal((*lead, model.num_betas))
    expression = rng.standard_normal((*lead, model.num_expression))
    R = random_rotations(rng, (*lead, model.num_joints))
    root = rng.standard_normal((*lead, 3))
    return tuple(torch.as_tensor(x) for x in (betas, expression, R, root))


@pytest.mark.parametrize("lead", [(), (0,), (3,), (2, 2), (9,)])
def test_agrees_with_the_oracle_in_float64(arrays: ModelArrays, lead: tuple[int, ...]) -> None:
    model = BodyModel(arrays, dtype=torch.float64)
    betas, expression, R, root = random_inputs(np.random.default_rng(1), model, lead)
    posed = model.shape(betas, expression).pose(R, root)
    vertices, joints, points = posed.skin().vertices_m, posed.joints_m, posed.keypoints_m()
    assert vertices.shape == (*lead, model.num_vertices, 3)
    for i in np.ndindex(lead):
        want_v, want_j = vertices_and_joints(arrays, *(x[i].numpy() for x in (betas, expression, R, root)))
        want_k = keypoints(arrays, want_v, want_j, R[i].numpy())
        np.testing.assert_allclose(vertices[i].numpy(), want_v, atol=NANOMETRE, rtol=0)
        np.testing.assert_allclose(joints[i].numpy(), want_j, atol=NANOMETRE, rtol=0)
        np.testing.assert_allclose(points[i].numpy(), want_k, atol=NANOMETRE, rtol=0)


def test_float32_is_float64_to_ten_micrometres(arrays: ModelArrays) -> None:
    fine, coarse = BodyModel(arrays, dtype=torch.float64), BodyModel(arrays)
    inputs = random_inputs(np.random.default_rng(2), fine, (4,))
    exact = fine.shape(*inputs[:2]).pose(*inputs[2:])
    quick = coarse.shape(*(x.float() for x in inputs[:2])).pose(*(x.float() for x in inputs[2:]))
    assert quick.skin().vertices_m.dtype == torch.float32
    torch.testing.assert_close(quick.skin().vertices_m.double(), exact.skin().vertices_m, atol=1e-5, rtol=0)  # metres
    torch.testing.assert_close(quick.keypoints_m().double(), exact.keypoints_m(), atol=1e-5, rtol=0)  # metres


def test_rest_pose_is_the_shaped_body(arrays: ModelArrays) -> None:
    model = BodyModel(arrays, dtype=torch.float64)
    shaped = model.shape(torch.randn(2, model.num_betas, dtype=torch.float64))
    torch.testing.assert_close(shaped.pose().skin().vertices_m, shaped.rest_vertices_m, atol=NANOMETRE, rtol=0)
    torch.testing.assert_close(shaped.pose().joints_m, shaped.rest_joints_m, atol=NANOMETRE, rtol=0)
    want = arrays.J_regressor @ shaped.rest_vertices_m.numpy()
    np.testing.assert_allclose(shaped.rest_joints_m.numpy(), want, atol=NANOMETRE, rtol=0)


def test_turning_the_root_turns_everything(arrays: ModelArrays) -> None:
    model = BodyModel(arrays, dtype=torch.float64)
    rng = np.random.default_rng(3)
    betas, expression, R, root = random_inputs(rng, model, (2,))
    Q = torch.as_tensor(random_rotations(rng, (2,)))
    turned = R.clone()
    turned[:, 0] = Q @ R[:, 0]
    shaped = model.shape(betas, expression)
    pelvis = shaped.rest_joints_m[:, :1]
    a, b = shaped.pose(R).skin().vertices_m - pelvis, shaped.pose(turned).skin().vertices_m - pelvis
    torch.testing.assert_close(b, a @ Q.mT, atol=NANOMETRE, rtol=0)
    moved = shaped.pose(R, root).skin().vertices_m - pelvis
    torch.testing.assert_close(moved, a + root[:, None], atol=NANOMETRE, rtol=0)


def test_one_shape_in_many_poses_equals_row_by_row(arrays: ModelArrays) -> None:
    model = BodyModel(arrays, dtype=torch.float64)
    betas, expression, R, root = random_inputs(np.random.default_rng(4), model, (5,))
    once = model.shape(betas[0], expression[0]).pose(R, root)
    for i in range(5):
        alone = model.shape(betas[0], expression[0]).pose(R[i], root[i])
        torch.testing.assert_close(once.skin().vertices_m[i], alone.skin().vertices_m, atol=NANOMETRE, rtol=0)
        torch.testing.assert_close(once.keypoints_m()[i], alone.keypoints_m(), atol=NANOMETRE, rtol=0)
    wide = model.shape(betas[:, None], expression[:, None]).pose(R[None], root[None])
    assert wide.joints_m.shape == (5, 5, model.num_joints, 3)
    torch.testing.assert_close(wide.joints_m[0], once.joints_m, atol=NANOMETRE, rtol=0)


def test_a_body_does_not_notice_its_batch(arrays: ModelArrays) -> None:
    model = BodyModel(arrays)
    inputs = [x.float() for x in random_inputs(np.random.default_rng(5), model, (17,))]
    together = model.shape(*inputs[:2]).pose(*inputs[2:]).skin().vertices_m
    for i in (0, 8, 16):
        one = [x[i : i + 1] for x in inputs]
        alone = model.shape(*one[:2]).pose(*one[2:]).skin().vertices_m[0]
        torch.testing.assert_close(alone, together[i], atol=2e-6, rtol=0)  # metres


def test_regressed_joints_are_the_matrix_times_the_mesh() -> None:
    arrays = toy_smplx(6)
    model = BodyModel(arrays, dtype=torch.float64)
    inputs = random_inputs(np.random.default_rng(6), model, (3,))
    posed = model.shape(*inputs[:2]).pose(*inputs[2:])
    for name, matrix in arrays.regressors.items():
        want = matrix @ posed.skin().vertices_m.numpy()
        np.testing.assert_allclose(posed.regressed_m(name).numpy(), want, atol=NANOMETRE, rtol=0)


def test_keypoints_never_build_the_mesh(monkeypatch: pytest.MonkeyPatch) -> None:
    model = BodyModel(toy_smplx(7))
    posed = model.shape().pose()

    def refuse(*_: object) -> None:
        raise AssertionError("the whole surface was evaluated")

    monkeypatch.setattr(model.surface, "shape", refuse)
    monkeypatch.setattr(model.surface, "skin", refuse)
    assert posed.keypoints_m().shape == (144, 3)
    assert posed.regressed_m("j14").shape == (14, 3)


def test_gradients_agree_with_finite_differences_along_random_directions(arrays: ModelArrays) -> None:
    """Directions, not coordinates: one number tests them all at once."""
    model = BodyModel(arrays, dtype=torch.float64)
    inputs = random_inputs(np.random.default_rng(8), model, (2,))
    g = torch.Generator().manual_seed(8)
    look = torch.randn(2, model.num_vertices, 3, generator=g, dtype=torch.float64)

    def value(*x: torch.Tensor) -> torch.Tensor:
        posed = model.shape(x[0], x[1]).pose(x[2], x[3])
        return (posed.skin().vertices_m * look).sum() + posed.joints_m.square().sum() + posed.keypoints_m().sin().sum()

    leaves = [x.clone().requires_grad_() for x in inputs]
    value(*leaves).backward()
    ways = [torch.randn(x.shape, generator=g, dtype=torch.float64) for x in inputs]
    h = 1e-6
    ahead = value(*(x + h * d for x, d in zip(inputs, ways, strict=True)))
    behind = value(*(x - h * d for x, d in zip(inputs, ways, strict=True)))
    slope = sum((x.grad * d).sum() for x, d in zip(leaves, ways, strict=True))
    torch.testing.assert_close(slope, (ahead - behind) / (2 * h), rtol=1e-6, atol=1e-6)  # metres per unit step


def test_no_buffer_enters_a_state_dict(arrays: ModelArrays) -> None:
    model = BodyModel(arrays)
    assert not model.state_dict() and not list(model.parameters())
    assert model.double().shape().pose().skin().vertices_m.dtype == torch.float64


COMPILE = """
import torch
from toy_models import toy_mano
from openexpose.body import BodyModel
class Vertices(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.body = BodyModel(toy_mano(9))
    def forward(self, betas, R):
        posed = self.body.shape(betas).pose(R)
        return posed.skin().vertices_m, posed.keypoints_m()
torch.manual_seed(9)
model, betas, R = Vertices(), torch.randn(2, 10), torch.linalg.qr(torch.randn(2, 16, 3, 3))[0]
want = model(betas, R)
exported = torch.export.export(model, (betas, R)).module()
for other in (exported, torch.compile(model, backend="aot_eager", fullgraph=True)):
    for got, expected in zip(other(betas, R), want, strict=True):
        torch.testing.assert_close(got, expected, atol=1e-6, rtol=0)  # metres
"""


def test_compiles_and_exports() -> None:
    """In a process of its own, because the shape checks of this test run cannot be traced."""
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", COMPILE], env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_wrong_inputs_are_refused_by_name(arrays: ModelArrays) -> None:
    model = BodyModel(arrays)
    with pytest.raises(ShapeError, match="betas has 3 numbers"):
        model.shape(torch.zeros(3))
    with pytest.raises(ShapeError, match="takes rotations of shape"):
        model.shape().pose(torch.eye(3).expand(7, 3, 3))
    with pytest.raises(ConfigError, match="no joint regressor 'j99'"):
        model.shape().pose().regressed_m("j99")
    with pytest.raises(ConfigError, match="betas columns"):
        BodyModel(arrays, num_betas=arrays.shapedirs.shape[2] + 1)


def test_keypoint_counts_that_fit_no_family_are_refused() -> None:
    arrays = toy_smplx(10)
    with pytest.raises(AssetError, match="Are the landmark files beside"):
        BodyModel(dataclasses.replace(arrays, extra_vertices=arrays.extra_vertices[:3]))
    with pytest.raises(AssetError, match="the mano family has 16"):
        BodyModel(dataclasses.replace(arrays, family="mano"))
    bare = dataclasses.replace(
        arrays, extra_vertices=None, static_faces=None, static_bary=None, dynamic_faces=None, dynamic_bary=None
    )
    assert BodyModel(bare).shape().pose().keypoints_m().shape == (55, 3)


@pytest.mark.gpu
def test_cuda_equals_cpu(arrays: ModelArrays) -> None:
    model = BodyModel(arrays)
    inputs = [x.float() for x in random_inputs(np.random.default_rng(11), model, (12,))]
    want = model.shape(*inputs[:2]).pose(*inputs[2:])
    v, k = want.skin().vertices_m, want.keypoints_m()
    model.cuda()
    got = model.shape(*(x.cuda() for x in inputs[:2])).pose(*(x.cuda() for x in inputs[2:]))
    torch.testing.assert_close(got.skin().vertices_m.cpu(), v, atol=1e-5, rtol=0)  # metres
    torch.testing.assert_close(got.keypoints_m().cpu(), k, atol=1e-5, rtol=0)  # metres
