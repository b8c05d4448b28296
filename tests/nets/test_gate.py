"""The merge gate: off by default, and the body's own answer where a part's crop shows nothing."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from openexpose.errors import ConfigError
from openexpose.nets import config, gate
from openexpose.nets.attention import Look, Squares
from openexpose.nets.expose import ExPose


def squares(*rows):
    """(x, y, side) in photo pixels."""
    t = torch.tensor(rows)
    return Squares(t[:, :2], t[:, 2])


PHOTO = torch.zeros(100, 200, 3, dtype=torch.uint8)
NAN = float("nan")


@pytest.mark.parametrize(
    ("square", "good"),
    [
        ((50.0, 50.0, 40.0), True),
        ((50.0, 50.0, 15.0), False),
        ((-15.0, 50.0, 40.0), False),
        ((-5.0, 50.0, 40.0), True),
        ((199.5, 99.5, 40.0), False),
        ((900.0, 50.0, 40.0), False),
        ((NAN, 50.0, 40.0), False),
        ((50.0, 50.0, NAN), False),
    ],
)
def test_size_and_share_on_the_photo(square, good):
    assert gate.usable(squares(square), [PHOTO], None, config.GateConfig()).tolist() == [good]


def test_low_confidence_is_not_usable():
    both = squares((50.0, 50.0, 40.0), (50.0, 50.0, 40.0))
    assert gate.usable(both, [PHOTO] * 2, torch.tensor([0.1, 0.9]), config.GateConfig()).tolist() == [False, True]
    with pytest.raises(ConfigError, match="min_seen"):
        config.GateConfig(min_seen=1.5)


def gated(net: ExPose) -> ExPose:
    return ExPose(net.body, net.hand, net.head, body_model=net.body_model, zoom=net.zoom, gate=config.GateConfig())


@pytest.fixture
def look():
    photos = [PHOTO.clone().random_(0, 256, generator=torch.Generator().manual_seed(i)) for i in range(2)]
    T = torch.tensor([[[0.5, 0, 0], [0, 0.5, 0]], [[0.5, 0, 20000.0], [0, 0.5, 0]]])  # the second is far outside
    crops = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(7))
    return Look(crops, photos, T, torch.tensor([128.0, 128.0]))


def test_unusable_parts_keep_the_body(tiny_expose, look):
    with torch.inference_mode():
        free, held = tiny_expose(look), gated(tiny_expose)(look)
    assert free.used_parts.all()
    assert not held.used_parts[1].any()
    for name in held.params.__dataclass_fields__:
        assert_close(getattr(held.params, name)[1], getattr(free.body.params, name)[1])
    assert not torch.equal(free.params.body_pose[1], free.body.params.body_pose[1])


def test_each_side_is_chosen_alone(tiny_expose, look):
    with torch.inference_mode():
        e = tiny_expose(look)
    before, merged = e.body.params, e.params
    yes, no = torch.tensor([True, True]), torch.tensor([False, False])
    out = gate.keep_hands(before, merged, yes, no)
    assert_close(out.right_hand_pose, merged.right_hand_pose)
    assert_close(out.left_hand_pose, before.left_hand_pose)
    assert_close(out.body_pose[:, -1], merged.body_pose[:, -1])
    assert_close(out.body_pose[:, -2], before.body_pose[:, -2])
    head = gate.keep_head(before, merged, torch.tensor([True, False]))
    assert_close(head.jaw_pose, torch.stack([merged.jaw_pose[0], before.jaw_pose[1]]))
    assert_close(head.expression, torch.stack([merged.expression[0], before.expression[1]]))


def test_the_reference_has_no_gate():
    assert config.expose().gate is None
    assert replace(config.expose(), gate=config.GateConfig()).gate is not None
