"""A posed body model written to .glb and skinned from the file is the body model's own surface."""

import numpy as np
import pytest
import torch

from openexpose.body import BodyModel, ModelArrays
from openexpose.errors import DataError
from openexpose.export.bodies import skinned_mesh
from openexpose.export.gltf import glb
from oracles import random_rotations
from toy_models import toy_mano, toy_smplx

from .test_gltf import parse, skin, skinned_positions


@pytest.mark.parametrize("arrays", [toy_smplx(3), toy_mano(4)], ids=["smplx", "mano"])
def test_the_file_shows_the_models_surface(arrays: ModelArrays) -> None:
    rng = np.random.default_rng(0)
    model = BodyModel(arrays, dtype=torch.float64)
    expression = torch.from_numpy(rng.normal(size=(2, model.num_expression))) if model.num_expression else None
    shaped = model.shape(torch.from_numpy(rng.normal(size=(2, 10))), expression)
    R = torch.from_numpy(random_rotations(rng, (2, model.num_joints)))
    posed = shaped.pose(R, torch.from_numpy(rng.normal(size=(2, 3))))
    people = [skinned_mesh(posed, name=f"body {k}", row=k) for k in range(2)]
    data, report = glb(people, influences=8)
    tree, buffer = parse(data)
    want = posed.skin().vertices_m.numpy()
    assert report.dropped_weight_max < 1e-9
    for k in range(2):
        np.testing.assert_allclose(skinned_positions(tree, buffer, k), want[k], atol=1e-5)  # metres
    names = {n["name"] for n in tree["nodes"]}
    assert set(model.joint_names) <= names


def test_one_shape_in_many_poses() -> None:
    rng = np.random.default_rng(1)
    model = BodyModel(toy_smplx(5), dtype=torch.float64)
    posed = model.shape().pose(torch.from_numpy(random_rotations(rng, (3, 55))))
    want = posed.skin().vertices_m.numpy()
    turn = np.diag([1.0, -1, -1, 1])  # from a camera's axes to a y-up world
    for row in range(3):
        person = skinned_mesh(posed, name="a", row=row, T_world_model=turn)
        np.testing.assert_allclose(skin(person), want[row] * [1, -1, -1], atol=1e-9)  # metres, float64


def test_refuses_a_row_that_is_not_there() -> None:
    posed = BodyModel(toy_mano(1)).shape().pose()
    with pytest.raises(DataError, match="row 1 of 1"):
        skinned_mesh(posed, name="a", row=1)
