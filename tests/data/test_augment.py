import numpy as np
import pytest

from openexpose.data import augment
from openexpose.data.augment import AugmentConfig, Quirks, draw, place, square_around
from openexpose.data.degrade import DegradeConfig
from openexpose.errors import ConfigError, DataError
from openexpose.geometry.affine import moved


def test_the_same_chances_give_the_same_draw():
    cfg = augment.head()
    assert draw(cfg, np.random.default_rng((1, 2, 3))) == draw(cfg, np.random.default_rng((1, 2, 3)))
    assert draw(cfg, np.random.default_rng((1, 2, 3))) != draw(cfg, np.random.default_rng((1, 2, 4)))


def test_nothing_varies_by_default():
    for seed in range(20):
        got = draw(AugmentConfig(), np.random.default_rng(seed))
        assert (got.shift, got.flipped, got.scale, got.turn_deg, got.channel_gain, got.low_res, got.truncated) == (
            (0.0, 0.0), False, 1.0, 0.0, (1.0, 1.0, 1.0), 1.0, None,
        )  # fmt: skip


def test_draws_follow_their_distribution():
    draws = [draw(augment.head(), np.random.default_rng((7, i))) for i in range(4000)]
    assert np.mean([d.flipped for d in draws]) == pytest.approx(0.5, abs=0.04)  # 5 standard errors
    assert np.mean([d.turn_deg != 0 for d in draws]) == pytest.approx(0.6, abs=0.04)
    turned = np.array([d.turn_deg for d in draws if d.turn_deg])
    assert np.abs(turned).max() <= 60 and turned.std() == pytest.approx(28.6, abs=2)  # degrees, 30 cut at 60
    scales = np.array([d.scale for d in draws])
    assert scales.min() >= 0.8 and scales.max() <= 1.2
    shifts = np.array([d.shift for d in draws])
    assert np.abs(shifts).max() <= 0.2 and shifts.std() == pytest.approx(0.4 / np.sqrt(12), abs=0.01)
    gains = np.array([d.channel_gain for d in draws])
    assert gains.min() >= 0.6 and gains.max() <= 1.4
    assert {d.low_res for d in draws} == {1.0, 1.2, 1.5, 2.0, 3.0, 4.0, 8.0}


def test_hands_are_never_flipped():
    assert not any(draw(augment.hand(), np.random.default_rng(i)).flipped for i in range(300))


def test_centres_stay_in_the_photo():
    cfg = AugmentConfig(centre_jitter=0.2)
    for seed in range(50):
        placement = place(cfg, draw(cfg, np.random.default_rng(seed)), np.array([3.0, 97.0]), 300.0, (100, 100))
        assert (placement.centre_work_px >= 0).all() and (placement.centre_work_px <= 100).all()


def test_turning_the_photo_first_sees_the_same_square():
    """The quirk changes pixels a little and the canvas a lot, but not what the crop shows."""
    cfg, first = augment.whole(), augment.whole(Quirks(turn_photo_first=True))
    for seed in range(10):
        chances = draw(cfg, np.random.default_rng(seed))
        a, b = (place(c, chances, np.array([150.0, 120.0]), 140.0, (320, 240)) for c in (cfg, first))
        np.testing.assert_allclose(a.T_crop_photo, b.T_crop_photo, atol=1e-9)  # px
        assert (b.work_px != (320, 240)) == (chances.turn_deg != 0)


def test_truncation_keeps_the_centre_near_and_the_crop_small():
    cfg = AugmentConfig(truncate=1.0)
    for seed in range(20):
        chances = draw(cfg, np.random.default_rng(seed))
        placement = place(cfg, chances, np.array([100.0, 100.0]), 100.0, (200, 200))
        assert placement.side_px < 81
        corners = moved(placement.T_crop_photo, np.array([[50.0, 50.0], [150.0, 150.0]]))
        assert corners.min() < 0 or corners.max() > 256  # something of the person lies outside


def test_squares():
    centre, side = square_around(np.array([10.0, 20.0, 30.0, 60.0]), scale=1.25)
    assert centre.tolist() == [25, 50] and side == 75
    for bad in ([0, 0, 0, 5], [0, 0, np.nan, 5], [0, 0, 4, -1]):
        with pytest.raises(DataError, match="empty or not finite"):
            square_around(np.array(bad, float), scale=1.0)


@pytest.mark.parametrize(
    "wrong",
    [{"flip": 1.5}, {"scale": 1.0}, {"channel_noise": -0.1}, {"low_res": ()}, {"low_res": (500.0,)}, {"crop_px": 2}],
)
def test_settings_outside_their_range_are_refused(wrong):
    with pytest.raises(ConfigError, match="augment"):
        AugmentConfig(**wrong)


def test_degrade_settings_are_probabilities():
    with pytest.raises(ConfigError, match="degrade.blur"):
        DegradeConfig(blur=2.0)
