import numpy as np
import pytest

from openexpose.data.degrade import NO_DAMAGE, DegradeConfig, channel_noise, damaged, draw_damage, lowered

RGB = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
WHERE = {"origin_px": (0.0, 0.0), "side_px": 64.0}


def test_no_damage_is_nothing():
    assert draw_damage(DegradeConfig(), np.random.default_rng(0)).occluder is None
    np.testing.assert_array_equal(damaged(RGB, NO_DAMAGE, **WHERE), RGB)
    np.testing.assert_array_equal(channel_noise(RGB, (1.0, 1.0, 1.0)), RGB)
    np.testing.assert_array_equal(lowered(RGB, 1.0, bilinear=False), RGB)


def test_channel_noise_is_the_rounded_product():
    got = channel_noise(RGB, (0.6, 1.0, 1.4))
    np.testing.assert_array_equal(got, np.clip(np.rint(RGB * np.array([0.6, 1.0, 1.4])), 0, 255).astype(np.uint8))


@pytest.mark.parametrize("kind", ["colour", "blur", "jpeg", "occlude"])
def test_each_damage_happens_and_repeats(kind):
    damage = draw_damage(DegradeConfig(**{kind: 1.0}), np.random.default_rng(3))
    once = damaged(RGB, damage, **WHERE)
    assert once.dtype == np.uint8 and once.shape == RGB.shape and (once != RGB).any()
    np.testing.assert_array_equal(once, damaged(RGB, damage, **WHERE))


def test_switching_one_damage_on_leaves_the_others_as_they_were():
    both = draw_damage(DegradeConfig(blur=1.0, occlude=1.0), np.random.default_rng(5))
    one = draw_damage(DegradeConfig(blur=1.0), np.random.default_rng(5))
    assert both.blur_sigma == one.blur_sigma and both.occluder is not None


def test_a_view_is_damaged_at_the_same_spot():
    """The view shows the crop at twice its size, shifted by (10, 20): so must the occluder be."""
    damage = draw_damage(DegradeConfig(occlude=1.0), np.random.default_rng(8))
    grey = np.full((64, 64, 3), 77, np.uint8)
    crop = (damaged(grey, damage, **WHERE) != 77).any(-1)
    big = np.full((180, 180, 3), 77, np.uint8)
    view = (damaged(big, damage, origin_px=(10.0, 20.0), side_px=128.0) != 77).any(-1)
    assert 0 < crop.sum() < crop.size
    assert (view[20:148:2, 10:138:2] == crop).mean() > 0.97  # all but pixels on the edge


def test_low_resolution_removes_detail_only():
    fine = np.tile(np.array([[0, 255], [255, 0]], np.uint8), (32, 32))[..., None].repeat(3, -1)
    assert np.ptp(lowered(fine, 4.0, bilinear=False)) <= 2  # grey levels: areas average to grey
    flat = np.full((50, 70, 3), 91, np.uint8)
    np.testing.assert_array_equal(lowered(flat, 3.0, bilinear=False), flat)
    assert lowered(flat, 1.2, bilinear=True).shape == flat.shape
