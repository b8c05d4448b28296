"""Vectors and names: there and back, layouts, cameras, refusals."""

import jaxtyping
import pytest
import torch
from torch.testing import assert_close

from openexpose.errors import ShapeError
from openexpose.nets.codec import body_codec, hand_codec, head_codec

REFUSED = (ShapeError, jaxtyping.TypeCheckError)
CODECS = {
    "body": body_codec(num_betas=10, num_expression=10),
    "hand": hand_codec(num_betas=10),
    "head": head_codec(num_betas=100, num_expression=50),
    "lite head": head_codec(num_betas=7, num_expression=3, confidence=True),
}


def random_vector(codec, batch=(4,)):
    return torch.randn(*batch, codec.size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_sizes_are_those_of_the_released_networks():
    assert [CODECS[p].size for p in ("body", "hand", "head")] == [341, 109, 165]
    assert CODECS["lite head"].size == 12 + 7 + 3 + 3 + 1
    assert CODECS["body"].table()[0] == ("global_orient", 0, 6)
    assert CODECS["body"].table()[-1] == ("camera", 338, 341)


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("batch", [(), (4,), (2, 3), (0,)])
def test_joining_what_was_split_gives_the_same_person(name, batch):
    codec = CODECS[name]
    first = codec.split(random_vector(codec, batch))
    again = codec.split(codec.join(first.params, first.camera, first.confidence))
    for field in first.params.__dataclass_fields__:
        assert_close(getattr(again.params, field), getattr(first.params, field), atol=1e-9, rtol=0)
    assert_close(again.camera, first.camera, atol=1e-9, rtol=0)
    assert (first.confidence is None) == (name != "lite head")


def test_the_camera_is_positive_and_its_shift_untouched():
    """Parity row 4: scale through softplus."""
    vector = torch.zeros(341)
    vector[338:] = torch.tensor([0.37816456, 0.5, -0.25])
    assert_close(CODECS["body"].split(vector).camera, torch.tensor([0.9, 0.5, -0.25]), atol=1e-6, rtol=0)
    assert (CODECS["body"].split(random_vector(CODECS["body"], (200,))).camera[:, 0] > 0).all()


def test_blocks_land_under_their_names():
    vector = torch.zeros(109)
    vector[96:106] = torch.arange(10.0)
    vector[6:12] = torch.tensor([0.0, -1, 1, 0, 0, 0])  # a quarter turn about z, column-wise
    params = CODECS["hand"].split(vector).params
    assert params.betas.tolist() == list(range(10))
    assert_close(params.right_hand_pose[0], torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]))
    assert_close(CODECS["hand"].raw(vector, "right_hand_pose")[:6], vector[6:12])


def test_joints_come_in_the_order_of_the_body_models():
    codec = CODECS["body"]
    params = codec.split(random_vector(codec, ())).params
    R = params.R_parent_child()
    assert R.shape == (55, 3, 3)
    eye = torch.eye(3, dtype=R.dtype)
    assert_close(R[0], params.global_orient)
    assert_close(R[1:22], params.body_pose)
    assert_close(R[22], params.jaw_pose)
    assert_close(R[23:25], eye.expand(2, 3, 3))
    assert_close(R[25:40], params.left_hand_pose)
    assert_close(R[40:], params.right_hand_pose)
    head = CODECS["head"].split(random_vector(CODECS["head"])).params.R_parent_child()
    assert head.shape == (4, 5, 3, 3)
    assert_close(head[:, [1, 3, 4]], eye.expand(4, 3, 3, 3))
    assert CODECS["hand"].split(random_vector(CODECS["hand"])).params.R_parent_child().shape == (4, 16, 3, 3)


def test_other_lengths_are_refused():
    codec = CODECS["body"]
    with pytest.raises(REFUSED, match="341"):
        codec.split(torch.zeros(2, 340))
    params = codec.split(torch.zeros(341)).params
    with pytest.raises(ShapeError, match="betas"):
        body_codec(num_betas=11, num_expression=10).join(params, torch.ones(3))
    with pytest.raises(ShapeError, match="confidence"):
        codec.join(params, torch.ones(3), torch.tensor(0.5))
