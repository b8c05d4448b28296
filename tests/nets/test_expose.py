"""The whole model on a toy body: batches, empty batches, shared photos, bad input, gradients, other body models."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from nets.tiny import tiny_config
from openexpose.body import load_model
from openexpose.errors import DataError
from openexpose.geometry.crop import Crop
from openexpose.nets import build, inputs
from openexpose.nets.fast import speed_up
from openexpose.nets.means import Means


def photo(seed, height=120, width=90):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def three(crop_px=64):
    photos = [photo(1), photo(2, 70, 150), photo(3, 64, 64)]
    boxes = [(10.0, 10.0, 60.0, 110.0), (40.0, 5.0, 90.0, 66.0), (-20.0, 8.0, 30.0, 60.0)]
    return photos, [inputs.crop_of_box(b, crop_px) for b in boxes]


def test_a_person_does_not_depend_on_the_others(tiny_expose):
    photos, crops = three()
    with torch.inference_mode():
        together = tiny_expose(inputs.look_at(photos, crops))
        for i in range(3):
            alone = tiny_expose(inputs.look_at(photos[i : i + 1], crops[i : i + 1]))
            for name in alone.params.__dataclass_fields__:
                a, b = getattr(alone.params, name)[0], getattr(together.params, name)[i]
                assert_close(a, b, atol=1e-4, rtol=0)  # rotation entries; crops may move by 1e-4 px


def test_persons_may_share_a_photo(tiny_expose):
    picture, crops = photo(4), three()[1][:2]
    look = inputs.look_at([picture, picture], crops)
    assert look.photos[0].data_ptr() == look.photos[1].data_ptr() == picture.ctypes.data
    with torch.inference_mode():
        assert tiny_expose(look).params.betas.shape == (2, 10)


def test_nobody_gives_an_empty_result(tiny_expose):
    for net in (tiny_expose, speed_up(tiny_expose)):
        with torch.inference_mode():
            empty = net(inputs.look_at([], []))
            vertices_m = net.posed(empty.params).skin().vertices_m
        assert empty.params.body_pose.shape == (0, 21, 3, 3)
        assert empty.hands.vector.shape == (0, 109)
        assert empty.used_parts.shape == (0, 3)
        assert vertices_m.shape == (0, 160, 3)


def test_all_parameters_learn(tiny_expose):
    """Gradients reach every network; through the squares the parts' pixels pull on the body."""
    net = build.build_expose(tiny_config(), tiny_expose.body_model, means=Means()).eval()
    estimate = net(inputs.look_at(*three()))
    vertices_m = net.posed(estimate.params).skin().vertices_m
    (
        vertices_m.square().sum() + estimate.head.vector.sum() + estimate.hands.vector.sum() + estimate.camera.sum()
    ).backward()
    assert not [n for n, p in net.named_parameters() if p.grad is None]


def test_the_free_body_works_alike(tiny_expose):
    net = build.build_expose(tiny_config(), load_model("free"), means=Means()).eval()
    net.load_state_dict(tiny_expose.state_dict())
    with torch.inference_mode():
        estimate = net(inputs.look_at(*three()))
        vertices_m = net.posed(estimate.params).skin().vertices_m
    assert vertices_m.shape == (3, net.body_model.num_vertices, 3)
    assert vertices_m.isfinite().all()


def test_what_is_wrong_is_said_with_the_persons_number():
    photos, crops = three()
    outside = Crop((900.0, 20.0), 30.0, 64)
    with pytest.raises(DataError, match="person 1: .*outside"):
        inputs.look_at(photos, [crops[0], outside, crops[2]])
    for bad in (photo(1)[..., 0], photo(1).astype(np.uint16), np.dstack([photo(1), photo(1)[..., :1]])):
        with pytest.raises(DataError, match="photo of person 2"):
            inputs.look_at([photos[0], photos[1], bad], crops)
    with pytest.raises(DataError, match="photo of person 0 is torch.float32"):
        inputs.look_at([photos[0].astype(np.float32)], crops[:1])
    with pytest.raises(DataError, match="2 photos for 3 crops"):
        inputs.look_at(photos[:2], crops)
    with pytest.raises(DataError, match="person 1: crop of 32"):
        inputs.look_at(photos[:2], [crops[0], Crop((30.0, 30.0), 30.0, 32)])
    with pytest.raises(DataError, match="box"):
        inputs.crop_of_box((0.0, float("nan"), 3.0, 4.0), 64)
