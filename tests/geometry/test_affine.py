import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openexpose.geometry.affine import canvas_turn, compose, crop_affine, flip_affine, moved, resample
from openexpose.geometry.crop import inverse_affine

NUMBERS = st.floats(-500, 500)


def smooth(height, width, seed=0):
    """Blobs some pixels wide, so that bilinear sampling of it twice costs little."""
    small = np.random.default_rng(seed).integers(0, 256, (height // 16 + 2, width // 16 + 2, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC))


@given(NUMBERS, NUMBERS, st.floats(20, 900), st.floats(-180, 180))
def test_the_centre_lands_in_the_middle_and_sides_shrink_alike(x, y, side, turn):
    T = crop_affine(np.array([x, y]), side, 256, turn)
    np.testing.assert_allclose(moved(T, np.array([[x, y]])), [[128.0, 128.0]], atol=1e-6)  # px
    np.testing.assert_allclose(T[:, :2] @ T[:, :2].T, (256 / side) ** 2 * np.eye(2), atol=1e-6)


def test_a_turn_is_counter_clockwise_in_the_picture():
    T = crop_affine(np.array([50.0, 50.0]), 100.0, 100, 90.0)
    np.testing.assert_allclose(moved(T, np.array([[60.0, 50.0]])), [[50.0, 40.0]], atol=1e-9)  # right goes up


@given(NUMBERS, NUMBERS, st.floats(20, 900), st.floats(-180, 180))
def test_there_and_back(x, y, side, turn):
    T = crop_affine(np.array([x, y]), side, 224, turn)
    points = np.array([[0.0, 0.0], [100.0, 7.0], [-30.0, 250.0]])
    np.testing.assert_allclose(moved(inverse_affine(T), moved(T, points)), points, atol=1e-6)  # px


def test_chains_apply_right_to_left():
    rng = np.random.default_rng(0)
    A, B, C = rng.normal(size=(3, 2, 3))
    points = rng.normal(size=(5, 2))
    np.testing.assert_allclose(moved(compose(A, B, C), points), moved(A, moved(B, moved(C, points))))


def test_flipping_twice_is_nothing():
    np.testing.assert_allclose(compose(flip_affine(301), flip_affine(301)), np.eye(2, 3), atol=1e-12)


@pytest.mark.parametrize("turn", [0.0, 25.3, -51.2, 90.0])
def test_a_turned_canvas_holds_the_photo(turn):
    T, (width, height) = canvas_turn((440, 360), turn)
    corners = moved(T, np.array([[0, 0], [439, 0], [0, 359], [439, 359]], float))
    assert (
        corners.min() > -2 and (corners.max(0) < np.array([width, height]) + 2).all()
    )  # px: sizes are cut to whole ones


def test_crop_to_photo_to_crop_is_the_crop():
    photo = smooth(300, 400)
    T = crop_affine(np.array([200.0, 150.0]), 120.0, 240, 20.0)
    crop = resample(photo, T, (240, 240))
    back = resample(crop, inverse_affine(T), (400, 300))
    again = resample(back, T, (240, 240))
    inner = (slice(12, -12), slice(12, -12))
    assert np.abs(again[inner].astype(int) - crop[inner]).mean() < 1.0  # grey levels lost in two more interpolations


def test_outside_has_the_asked_colour():
    out = resample(
        smooth(50, 50), crop_affine(np.array([500.0, 500.0]), 40.0, 32, 0.0), (32, 32), outside=(124, 116, 104)
    )
    assert (out == (124, 116, 104)).all()


def test_panoramas_beyond_16_bit_columns():
    photo = np.zeros((4, 40_000, 3), np.uint8)
    photo[:, 39_000:39_100] = 200
    out = resample(photo, crop_affine(np.array([39_050.0, 2.0]), 64.0, 64, 0.0), (64, 64))
    assert (out[32] == 200).all()
