"""Rotations: laws, hand-computed cases, the reference's stored numbers, refusals."""

import math

import jaxtyping
import numpy as np
import pytest
import torch
from torch.testing import assert_close

from nets import golden
from openexpose.errors import ShapeError
from openexpose.geometry import rotations as rot

REFUSED = (ShapeError, jaxtyping.TypeCheckError)  # the annotation check, when it runs, comes first
BATCHES = [(), (4,), (2, 3), (0,)]


def random_matrices(seed: int, shape: tuple[int, ...], dtype: torch.dtype = torch.float64) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    return rot.sixd_to_matrix(torch.randn(*shape, 6, generator=g, dtype=dtype))


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize(
    ("encode", "decode"),
    [
        (rot.matrix_to_sixd, rot.sixd_to_matrix),
        (rot.matrix_to_axis_angle, rot.axis_angle_to_matrix),
        (rot.matrix_to_quaternion, rot.quaternion_to_matrix),
    ],
)
def test_there_and_back_is_the_identity(encode, decode, batch):
    R = random_matrices(1, batch)
    back = decode(encode(R))
    assert back.shape == (*batch, 3, 3)
    assert_close(back, R, atol=1e-12, rtol=0)  # float64 rounding


def test_sixd_gives_rotations_whatever_goes_in():
    R = random_matrices(2, (50,))
    assert_close(R.mT @ R, torch.eye(3, dtype=R.dtype).expand(50, 3, 3), atol=1e-12, rtol=0)
    assert_close(torch.linalg.det(R), torch.ones(50, dtype=R.dtype), atol=1e-12, rtol=0)


def test_sixd_is_column_wise_and_interleaved():
    """Parity row 3: a quarter turn about z has columns (0,1,0) and (-1,0,0)."""
    quarter = rot.sixd_to_matrix(torch.tensor([0.0, -1.0, 1.0, 0.0, 0.0, 0.0]))
    assert_close(quarter, torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]))
    assert_close(rot.sixd_to_matrix(torch.tensor(rot.SIXD_UPSIDE_DOWN)), torch.diag(torch.tensor([1.0, -1, -1])))
    assert_close(rot.sixd_to_matrix(torch.tensor(rot.SIXD_IDENTITY)), torch.eye(3))


def test_axis_angle_of_a_known_turn():
    R = rot.axis_angle_to_matrix(torch.tensor([math.pi / 2, 0.0, 0.0]))
    assert_close(R, torch.tensor([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]), atol=1e-6, rtol=0)
    assert_close(rot.matrix_to_axis_angle(R), torch.tensor([math.pi / 2, 0.0, 0.0]), atol=1e-6, rtol=0)


def test_quaternions_are_scalar_first_and_not_negative():
    q = rot.matrix_to_quaternion(rot.axis_angle_to_matrix(torch.tensor([0.0, 0.0, math.pi / 2])))
    assert_close(q, torch.tensor([math.sqrt(0.5), 0, 0, math.sqrt(0.5)]), atol=1e-6, rtol=0)
    assert (rot.matrix_to_quaternion(random_matrices(3, (40,)))[:, 0] >= 0).all()
    assert_close(rot.quaternion_to_matrix(2 * q), rot.quaternion_to_matrix(q), atol=1e-6, rtol=0)


def test_mirror_is_conjugation_and_its_own_inverse():
    R = random_matrices(4, (5, 2))
    M = torch.diag(torch.tensor([-1.0, 1, 1], dtype=R.dtype))
    assert_close(rot.mirror(R), M @ R @ M)
    assert_close(rot.mirror(rot.mirror(R)), R)
    assert_close(rot.mirror(R[0] @ R[1]), rot.mirror(R[0]) @ rot.mirror(R[1]))


def test_absolute_is_the_product_down_the_chain():
    R = random_matrices(5, (3, 6))
    assert_close(rot.absolute(R, (0, 2, 5)), R[:, 0] @ R[:, 2] @ R[:, 5])
    assert_close(rot.absolute(R, (4,)), R[:, 4])
    for bad in ((), (0, 6), (-1,)):
        with pytest.raises(ShapeError, match="chain"):
            rot.absolute(R, bad)


@pytest.mark.parametrize(
    ("function", "shape"),
    [
        (rot.sixd_to_matrix, (2, 5)),
        (rot.matrix_to_sixd, (3, 2)),
        (rot.axis_angle_to_matrix, (4,)),
        (rot.matrix_to_axis_angle, (9,)),
        (rot.quaternion_to_matrix, (3,)),
        (rot.matrix_to_quaternion, (4, 4)),
        (rot.mirror, (2, 3)),
    ],
)
def test_other_shapes_are_refused(function, shape):
    with pytest.raises(REFUSED):
        function(torch.zeros(shape))


@pytest.mark.golden
def test_the_reference_decodes_alike():
    z = golden.load("heads")
    got = rot.sixd_to_matrix(torch.from_numpy(z["rot6d.in"]))
    assert np.abs(got.numpy() - z["rot6d.out"]).max() <= 1e-6  # entries of a rotation
    got = rot.axis_angle_to_matrix(torch.from_numpy(z["rodrigues.in"]))
    for key in ("rodrigues.out_smplx", "rodrigues.out_mmhuman3d"):
        assert np.abs(got.numpy() - z[key]).max() <= 2e-6  # entries of a rotation
