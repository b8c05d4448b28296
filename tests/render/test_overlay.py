"""Compositing, keypoints, bones and contact sheets."""

import numpy as np
import pytest
import trimesh

from openexpose.errors import DataError
from openexpose.geometry.camera import WeakCamera
from openexpose.render.overlay import composite, draw_bones, draw_keypoints
from openexpose.render.raycast import Rendered, render
from openexpose.render.sheet import sheet


@pytest.fixture
def photo() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (60, 60, 3), dtype=np.uint8)


@pytest.fixture
def rendered() -> Rendered:
    ball = trimesh.creation.icosphere(3, radius=0.5)
    return render(np.asarray(ball.vertices), np.asarray(ball.faces), WeakCamera.in_crop(1.0, 0.0, 0.0, side_px=60))


def test_composite_keeps_the_photo_around_and_the_mesh_inside(photo: np.ndarray, rendered: Rendered) -> None:
    got = composite(photo, rendered)
    np.testing.assert_array_equal(got[rendered.alpha == 0], photo[rendered.alpha == 0])
    np.testing.assert_array_equal(got[rendered.alpha == 1], rendered.rgb[rendered.alpha == 1])
    np.testing.assert_array_equal(composite(photo, rendered, opacity=0.0), photo)
    half = composite(photo, rendered, opacity=0.5).astype(float)
    inside = rendered.alpha == 1
    want = 0.5 * photo.astype(float) + 0.5 * rendered.rgb
    np.testing.assert_allclose(half[inside], want[inside], atol=1.0)  # grey levels


def test_dots_are_centred_on_their_points() -> None:
    white = np.full((50, 70, 3), 255, dtype=np.uint8)
    got = draw_keypoints(white, np.array([[40.0, 20.0], [np.nan, 3.0]]), radius_px=5.0)
    dark = 255.0 - got[..., 1]
    rows, columns = np.mgrid[:50, :70]
    centre = [np.average(columns, weights=dark), np.average(rows, weights=dark)]
    np.testing.assert_allclose(centre, [40, 20], atol=0.1)  # pixels
    assert white.min() == 255  # the input is left alone


def test_bones_join_their_points_and_skip_missing_ones() -> None:
    black = np.zeros((50, 70, 3), dtype=np.uint8)
    points = np.array([[5.0, 25.0], [65.0, 25.0], [np.nan, np.nan]])
    got = draw_bones(black, points, [(0, 1), (1, 2)], colours=[(255, 255, 255)])
    assert (got[25, 5:66] > 200).all()
    assert got[:20].max() == 0


def test_labels_appear_beside_their_points_and_apart() -> None:
    grey = np.full((120, 200, 3), 90, dtype=np.uint8)
    points = np.array([[60.0, 60.0], [64.0, 62.0], [300.0, -50.0]])
    got = draw_keypoints(grey, points, labels=["left eye", "right eye", "outside"])
    plain = draw_keypoints(grey, points)
    changed = np.abs(got.astype(int) - plain).sum(axis=2) > 0
    assert changed.sum() > 600  # pixels: boxes with text
    assert changed[30:90, 10:150].sum() > 0.5 * changed.sum()


def test_sheet_holds_every_image_unchanged() -> None:
    images = [np.full((20, 30, 3), k * 40, dtype=np.uint8) for k in range(5)]
    got = sheet(images, columns=2, captions=list("abcde"), title="Five", gap_px=4)
    for k in range(5):
        assert (got == k * 40).all(axis=2).sum() >= 600
    assert got.shape[1] == 2 * 34 + 4
    assert sheet(images[:1], columns=3, gap_px=4).shape == (28, 38, 3)


def test_refusals(photo: np.ndarray, rendered: Rendered) -> None:
    with pytest.raises(DataError, match="WeakCamera.moved"):
        composite(photo[:50], rendered)
    with pytest.raises(DataError, match="opacity"):
        composite(photo, rendered, opacity=2.0)
    with pytest.raises(DataError, match="bone 0"):
        draw_bones(photo, np.zeros((2, 2)), [(0, 2)])
    with pytest.raises(DataError, match="1 labels"):
        draw_keypoints(photo, np.zeros((2, 2)), labels=["a"])
    with pytest.raises(DataError, match="captions"):
        sheet([photo], columns=1, captions=["a", "b"])
    with pytest.raises(DataError, match="at least one"):
        sheet([], columns=1)
