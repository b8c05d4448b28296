"""The single losses against slow twins in numpy, laws, refusals, and the reference's own numbers."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from openexpose.errors import ConfigError
from openexpose.losses import Term, terms, total

B, K, S = 5, 7, 10
GOLDEN = Path(os.environ.get("OPENEXPOSE_GOLDEN", Path(__file__).parents[3] / "shared/golden/set_public"))


def rotation_matrices(rng: np.random.Generator, *batch: int) -> np.ndarray:
    """Uniform random rotations (*batch, 3, 3), float64."""
    q, r = np.linalg.qr(rng.standard_normal((*batch, 3, 3)))
    q = q * np.sign(np.diagonal(r, axis1=-2, axis2=-1))[..., None, :]
    return q * np.linalg.det(q)[..., None, None]


def f32(x: np.ndarray) -> Tensor:
    return torch.from_numpy(np.asarray(x, np.float32))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


@pytest.fixture
def weight() -> np.ndarray:
    return np.array([1.0, 0.0, 1.0, 1.0, 0.0])


def agree(term: Term, want: float) -> None:
    assert term.value.item() == pytest.approx(want, rel=2e-6)  # float32 rounding of some hundred summands


def test_2d_keypoints_equal_the_loop(rng, weight):
    points, target = rng.uniform(-1, 1, (B, K, 2)), rng.uniform(0, 255, (B, K, 3))
    target[..., 2] = rng.uniform(0, 1, (B, K)).round(1)
    want = 0.0
    for b in range(B):
        for k in range(K):
            for axis in range(2):
                wanted = 2 * target[b, k, axis] / 255 - 1
                want += weight[b] * target[b, k, 2] * abs(points[b, k, axis] - wanted)
    agree(terms.keypoints2d(f32(points), f32(target), f32(weight), crop_px=256), want / weight.sum())


def test_3d_keypoints_equal_the_loop_and_ignore_where_the_person_stands(rng, weight):
    points, target = rng.standard_normal((B, K, 3)), rng.standard_normal((B, K, 4))
    target[..., 3] = rng.uniform(0, 1, (B, K))
    want = 0.0
    for b in range(B):
        root, true_root = (points[b, 1] + points[b, 2]) / 2, (target[b, 1, :3] + target[b, 2, :3]) / 2
        for k in range(K):
            off = np.abs((points[b, k] - root) - (target[b, k, :3] - true_root)).sum()
            want += weight[b] * target[b, k, 3] * off
    args = f32(target), f32(weight)
    agree(terms.keypoints3d(f32(points), *args, root=(1, 2)), want / weight.sum())
    moved = points + rng.standard_normal((B, 1, 3))
    agree(terms.keypoints3d(f32(moved), *args, root=(1, 2)), want / weight.sum())


def test_depths_are_told_from_the_mean_in_crop_units_and_doubt_costs(rng, weight):
    depth, doubt, points = rng.standard_normal((B, K)), rng.uniform(0.05, 0.5, (B, K)), rng.standard_normal((B, K, 4))
    points[..., 3] = rng.integers(0, 2, (B, K))
    scale = rng.uniform(0.5, 2, B)
    want = 0.0
    for b in range(B):
        known = points[b, :, 3] > 0
        for k in np.flatnonzero(known):
            true = scale[b] * (points[b, k, 2] - points[b, known, 2].mean())
            want += weight[b] * (abs(depth[b, k] - true) / doubt[b, k] + np.log(2 * doubt[b, k]))
    args = f32(points), f32(scale), f32(weight)
    agree(terms.depths(f32(depth), f32(doubt), *args), want / weight.sum())
    moved = points + np.array([0.0, 0.0, 3.0, 0.0])
    got = terms.depths(f32(depth), f32(doubt), f32(moved), f32(scale), f32(weight)).value.item()
    assert got == pytest.approx(want / weight.sum(), rel=1e-4)  # where the person stands does not matter


def test_the_scale_of_weak_perspective_is_found_from_labels(rng):
    points, scale = rng.standard_normal((B, K, 4)), rng.uniform(20, 60, B)
    points[..., 3] = 1
    px = np.concatenate([scale[:, None, None] * points[..., :2] + 100, np.ones((B, K, 1))], -1)
    px[0, 3] = [np.pi, -5, 0]  # not labelled
    got = terms.half_sides_per_metre(f32(points), f32(px), crop_px=161)
    np.testing.assert_allclose(got, scale * 2 / 160, rtol=1e-4)
    assert terms.half_sides_per_metre(f32(points), f32(px * 0), crop_px=161).abs().max() == 0  # nothing is known


def test_the_surface_is_measured_in_millimetres(rng, weight):
    vertices, target = rng.standard_normal((B, K, 3)), rng.standard_normal((B, K, 3))
    want = sum(weight[b] * 1000 * np.linalg.norm(vertices[b] - target[b], axis=1).mean() for b in range(B))
    agree(terms.surface(f32(vertices), f32(target), f32(weight)), want / weight.sum())
    same = f32(target).requires_grad_()
    term = terms.surface(same, f32(target), f32(weight)).value
    (gradient,) = torch.autograd.grad(term, same)
    assert term.item() < 1e-3 and bool(torch.isfinite(gradient).all())  # millimetres; no slope is infinite


def test_rotation_angles_equal_the_trace_formula_and_the_known_angle(rng, weight):
    R, target = rotation_matrices(rng, B, 4), rotation_matrices(rng, B, 4)
    trust = rng.uniform(0, 1, (B, 4)).round(1) * weight[:, None]
    angle = np.array([[np.arccos((np.trace(R[b, j].T @ target[b, j]) - 1) / 2) for j in range(4)] for b in range(B)])
    agree(terms.rotations(f32(R), f32(target), f32(weight)), (weight[:, None] * angle).sum() / weight.sum())
    agree(terms.trusted_rotations(f32(R), f32(target), f32(trust)), (trust * angle).sum() / (trust > 0).sum())
    turn = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    assert terms.angle_rad(turn, torch.eye(3)).item() == pytest.approx(np.pi / 2, abs=1e-6)  # radians


def test_a_perfect_rotation_has_a_finite_gradient_of_zero():
    R = torch.eye(3).expand(1, 2, 3, 3).clone().requires_grad_()
    terms.rotations(R, torch.eye(3).expand(1, 2, 3, 3), torch.ones(1)).value.backward()
    assert R.grad is not None and not R.grad.any()


def test_shape_and_expression_equal_the_loop(rng, weight):
    a, b, seen = rng.standard_normal((B, S)) * 4, rng.standard_normal((B, S)), rng.uniform(0, 1, B)
    agree(terms.betas(f32(a), f32(b), f32(weight)), sum(weight[i] * ((a[i] - b[i]) ** 2).sum() for i in range(B)) / 3)
    want = sum(weight[i] * seen[i] * ((a[i] - b[i]) ** 2).sum() for i in range(B)) / 3
    agree(terms.expression(f32(a), f32(b), f32(weight), f32(seen)), want)
    outside = [x for x in a.ravel() if abs(x) > 3]
    agree(terms.betas_prior(f32(a)), sum(x * x for x in outside) / len(outside))
    agree(terms.betas_prior(f32(a), norm="l1"), sum(abs(x) for x in outside) / len(outside))
    assert terms.betas_prior(torch.full((2, 10), 2.9)).value.item() == 0


def test_points_in_a_part_crop_equal_the_full_chain_of_affines(rng, weight):
    points, target = rng.uniform(-1, 1, (B, K, 2)), rng.uniform(0, 223, (B, K, 3))
    T_photo_crop = np.tile(np.eye(3), (B, 1, 1))
    T_photo_crop[:, :2] = rng.standard_normal((B, 2, 3))
    side, corner = rng.uniform(30, 90, B), rng.uniform(0, 500, (B, 2))
    want = 0.0
    for b in range(B):
        T_part_photo = np.linalg.inv(np.array([[side[b], 0, corner[b, 0]], [0, side[b], corner[b, 1]], [0, 0, 1]]))
        for k in range(K):
            crop_px = np.array([*((points[b, k] * 0.5 + 0.5) * 223), 1])
            apart = T_part_photo @ T_photo_crop[b] @ (crop_px - np.array([*target[b, k, :2], 1]))
            want += weight[b] * target[b, k, 2] * np.abs(apart[:2]).sum()
    term = terms.keypoints_in_part_crop(
        f32(points), f32(target), f32(weight), crop_px=224, T_photo_crop=f32(T_photo_crop), side_px=f32(side)
    )
    agree(term, want / weight.sum())


def test_mean_confidence_is_the_mean_over_the_part(rng):
    target = rng.uniform(0, 1, (B, K, 3))
    joints = np.array([1, 0, 0, 1, 1, 0, 0.0])
    got = terms.mean_confidence(f32(target), f32(joints))
    np.testing.assert_allclose(got.numpy(), target[:, [0, 3, 4], 2].mean(1), rtol=1e-6)  # float32


def test_unknown_targets_weigh_nothing_and_get_no_gradient(rng, weight):
    points = f32(rng.uniform(-1, 1, (B, K, 2))).requires_grad_()
    target = f32(rng.uniform(0, 255, (B, K, 3)))
    term = terms.keypoints2d(points, target, f32(weight), crop_px=256)
    term.value.backward()
    known = weight > 0
    alone = terms.keypoints2d(points[known], target[known], torch.ones(3), crop_px=256)
    assert term.value.item() == pytest.approx(alone.value.item(), rel=1e-6)  # float32
    assert points.grad is not None and not points.grad[~known].any() and points.grad[known].any()
    assert terms.keypoints2d(points, target, torch.zeros(B), crop_px=256).value.item() == 0


def test_total_shares_the_counts_so_that_two_halves_make_the_whole(rng):
    points, target = f32(rng.uniform(-1, 1, (6, K, 2))), f32(rng.uniform(0, 255, (6, K, 3)))
    weight = torch.tensor([1.0, 1, 1, 0, 0, 1])
    whole = terms.keypoints2d(points, target, weight, crop_px=256)
    halves = [terms.keypoints2d(points[h], target[h], weight[h], crop_px=256) for h in (slice(3), slice(3, 6))]
    mean_over = torch.stack([torch.stack([t.over]) for t in halves]).mean(0)
    losses = [total({"a": t}, {"a": 0.5}, share=lambda _: mean_over)[0] for t in halves]
    assert torch.stack(losses).mean().item() == pytest.approx(0.5 * whole.value.item(), rel=1e-6)  # float32


def test_total_refuses_a_loss_without_a_weight():
    one = Term(torch.tensor(1.0), torch.tensor(1.0))
    with pytest.raises(ConfigError, match="jaw"):
        total({"jaw": one, "hands": one}, {"hands": 1.0})


@pytest.mark.golden
@pytest.mark.skipif(not (GOLDEN / "loss_units.npz").is_file(), reason="the golden set is not there")
def test_the_reference_gives_the_same_numbers():
    with np.load(GOLDEN / "loss_units.npz") as golden:
        unit = {key: golden[key] for key in golden.files}
    R, target = torch.from_numpy(unit["rot.in.pred"]), torch.from_numpy(unit["rot.in.target"])
    weight = torch.from_numpy(unit["rot.in.weight"])[..., 0, 0]
    relative = 1e-5  # float32 sums in another order
    assert terms.rotations(R, target, torch.ones(len(R))).value.item() == pytest.approx(
        unit["rot.unweighted"].item(), rel=relative
    )
    assert terms.trusted_rotations(R, target, weight).value.item() == pytest.approx(
        unit["rot.weighted"].item(), rel=relative
    )
    betas = torch.from_numpy(unit["shape_prior.in"])
    for norm in ("l1", "l2"):
        value = terms.betas_prior(betas, norm=norm).value.item()
        assert value == pytest.approx(unit[f"shape_prior.margin3_{norm}"].item(), rel=relative)
    inside = terms.betas_prior(betas.clamp(-2.9, 2.9)).value.item()
    assert inside == unit["shape_prior.all_inside"].item()


def test_heatmaps_are_best_where_the_label_is_and_flat_outside() -> None:
    target = torch.tensor([[[19.5, 11.5, 1.0], [90.0, 5.0, 1.0], [3.0, 3.0, 0.0]]])  # inside, outside, unknown
    apart = torch.stack(torch.meshgrid(torch.arange(8.0) - 2.5, torch.arange(8.0) - 4.5, indexing="ij")).square().sum(0)
    best = torch.stack([-apart / 2, torch.zeros(8, 8), torch.randn(8, 8)])[None]
    one = torch.ones(1)
    least = terms.heatmaps(best, target, one, crop_px=32, sigma_crop=1 / 8)
    p = best[0, 0].flatten().softmax(0)
    by_hand = -(p * p.log()).sum() + terms.OUTSIDE * torch.log(torch.tensor(64.0))
    assert float(least.over) == 1 and abs(float(least.summed - by_hand)) < 1e-4  # nats
    for other in (best.roll(1, -1), best + torch.randn(1, 3, 8, 8)):
        assert float(terms.heatmaps(other, target, one, crop_px=32, sigma_crop=1 / 8).summed) > float(least.summed)
    assert float(terms.heatmaps(best, target, torch.zeros(1), crop_px=32).summed) == 0


def test_points_of_heatmaps_count_inside_the_crop_only() -> None:
    target = torch.tensor([[[10.0, 20.0, 1.0], [40.0, 20.0, 1.0]]])
    at_u = torch.tensor([[[2 * 13 / 31 - 1, 2 * 20 / 31 - 1], [0.0, 0.0]]])
    got = terms.visible_points(at_u, target, torch.ones(1), crop_px=32)
    assert abs(float(got.summed) - 2 * 3 / 31) < 1e-6  # three pixels of a half crop of 15.5
    assert float(terms.keypoints2d(at_u, target, torch.ones(1), crop_px=32).summed) > float(got.summed)
