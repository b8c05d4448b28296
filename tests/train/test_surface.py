"""Hands and heads judged by their vertices."""

import pytest
import torch

from openexpose.body import load_model
from openexpose.errors import ConfigError
from openexpose.geometry.rotations import axis_angle_to_matrix
from openexpose.losses.network import Target
from openexpose.nets.config import lite
from openexpose.nets.params import HandParams, HeadParams
from openexpose.train.config import DisturbConfig
from openexpose.train.side import OwnSurface, PartSide


def known(value: torch.Tensor) -> Target:
    return Target(value, torch.ones(len(value)))


def targets(**values: torch.Tensor) -> dict[str, Target]:
    rows = len(next(iter(values.values())))
    seen = torch.ones(rows, 3, 3)
    seen[-1, :, 2] = 0.0  # the last one is hidden
    return {name: known(value) for name, value in values.items()} | {"keypoints2d": known(seen)}


def test_fingers_count_and_the_wrist_does_not() -> None:
    surface = OwnSurface(load_model("free-hand", num_betas=10))
    g = torch.Generator().manual_seed(0)
    fingers, betas = axis_angle_to_matrix(0.3 * torch.randn(3, 15, 3, generator=g)), torch.zeros(3, 10)
    wrist = axis_angle_to_matrix(torch.randn(3, 3, generator=g))
    wanted = targets(betas=betas, right_hand_pose=fingers)
    assert surface.apart(HandParams(wrist, fingers, betas), wanted).value < 1e-3  # millimetres, turned anyhow
    flat = torch.eye(3).expand(3, 15, 3, 3)
    apart = surface.apart(HandParams(wrist, flat, betas), wanted)
    vertices = [surface.vertices_m({"betas": betas, "right_hand_pose": f}) for f in (fingers, flat)]
    each_mm = 1000 * (vertices[0] - vertices[1]).norm(dim=-1).mean(1)
    assert apart.value.item() == pytest.approx(each_mm[:2].mean().item(), rel=1e-4)  # the hidden one counts nothing


def test_a_head_is_judged_as_it_is_and_as_bodies_take_it_over() -> None:
    surface = OwnSurface(load_model("free-head", num_betas=100, num_expression=50))
    betas, expression, jaw = torch.zeros(2, 100), torch.zeros(2, 50), torch.eye(3).expand(2, 3, 3)
    wanted = targets(betas=betas, expression=expression, jaw_pose=jaw)
    one = torch.eye(3).expand(2, 3, 3)
    shaped, late = betas.clone(), expression.clone()
    shaped[0, 0] = late[0, 40] = 1.0
    assert surface.apart(HeadParams(one, jaw, betas, expression), wanted).value < 1e-3
    by_shape = surface.apart(HeadParams(one, jaw, shaped, expression), wanted).summed
    by_late = surface.apart(HeadParams(one, jaw, betas, late), wanted).summed
    v = lambda b, e: surface.vertices_m({"betas": b, "expression": e, "jaw_pose": jaw})  # noqa: E731
    mean_mm = lambda a: 1000 * (a - v(betas, expression)).norm(dim=-1).mean(1)[0].item()  # noqa: E731
    assert by_shape.item() == pytest.approx(mean_mm(v(shaped, expression)), abs=1e-3)  # once: bodies keep theirs
    assert by_late.item() == pytest.approx(mean_mm(v(betas, late)), abs=1e-3)  # once: bodies take ten coefficients


def test_bodies_are_refused() -> None:
    config = lite().part("body")
    with pytest.raises(ConfigError, match="for hands and heads"):
        PartSide("body", config, load_model("free", num_betas=10, num_expression=10), ("surface",),
                 disturb=DisturbConfig())  # fmt: skip
