import numpy as np
import pytest

from openexpose.data import augment
from openexpose.data.dataset import Samples
from openexpose.data.look import LookConfig, contact_sheet, fitted_camera
from openexpose.data.sample import body_layout
from openexpose.errors import DataError
from openexpose.geometry.camera import WeakCamera


def test_a_sheet_has_a_line_for_each_row(toy):
    samples = Samples(toy, body_layout(), augment.body(), seed=0, box_scale=1.2, on_error="raise")
    cfg = LookConfig(versions=2, cell_px=96)
    one, two = (contact_sheet(samples, rows, cfg).picture for rows in ([1], [1, 3]))
    assert one.dtype == np.uint8 and one.shape[1] == two.shape[1] == 4 * (96 + 8) + 8
    assert two.shape[0] > 1.5 * one.shape[0]


def test_the_fitted_camera_is_the_one_that_was_used():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(20, 3))
    camera = WeakCamera.in_crop(0.7, 0.1, -0.3, side_px=256)
    xyc = np.column_stack([camera.project(points), np.ones(20)])
    xyc[3] = [9999, 9999, 0]  # unknown points have no say
    got = fitted_camera(points, xyc, 256)
    np.testing.assert_allclose([got.scale, got.tx_m, got.ty_m], [0.7, 0.1, -0.3], atol=1e-9)


def test_too_few_points_fit_no_camera():
    with pytest.raises(DataError, match="needs three"):
        fitted_camera(np.ones((4, 3)), np.zeros((4, 3)), 256)
    mirrored = np.column_stack([-np.eye(4)[:, :2] * 100 + 128, np.ones(4)])
    with pytest.raises(DataError, match="contradict"):
        fitted_camera(np.eye(4)[:, :3], mirrored, 256)
