import numpy as np
import pytest

from openexpose.body import load_model
from openexpose.data import augment
from openexpose.data.convert.common import Options
from openexpose.data.convert.run import convert
from openexpose.data.dataset import HumanDataStore, Samples
from openexpose.data.humandata import HumanData
from openexpose.data.look import LookConfig, boxed_panel, contact_sheet, fitted_camera, vertices_panel
from openexpose.data.sample import body_layout
from openexpose.errors import DataError
from openexpose.geometry.camera import WeakCamera
from tests.raw_trees.every import TREES


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


def difference(before, after):
    """Box x0, y0, x1, y1 of the pixels that changed."""
    y, x = np.nonzero(np.abs(before.astype(int) - after).max(-1) > 8)
    return np.array([x.min(), y.min(), x.max(), y.max()])


@pytest.mark.parametrize("name", ["ehf", "pw3d"])
def test_bodies_without_keypoint_targets_lie_where_the_person_is(name, tmp_path):
    """EHF's vertices where its camera sees them, 3DPW's params in the box: the drawn mesh covers the drawn person."""
    root = TREES[name](tmp_path, 3, True)
    (outcome,) = convert(name, Options(root), tmp_path)
    store, model = HumanDataStore(HumanData.open(outcome.path), root), load_model("free")
    samples = Samples(store, body_layout(), augment.AugmentConfig(), seed=0, box_scale=1.2, on_error="raise")
    sample, record = samples.sample(0, epoch=0, index=0), store.data.row(0, extras=True)
    panel = vertices_panel if name == "ehf" else boxed_panel
    drawn = panel(sample, record, model, 256)
    photo = sample.crop.numpy().astype(int)
    y, x = np.nonzero(photo.min(-1) > 125)  # people are pale, the ground is dark
    person = np.array([x.min(), y.min(), x.max(), y.max()])
    np.testing.assert_allclose(difference(photo, drawn), person, atol=4 if name == "ehf" else 30)  # pixels of 256
    assert len(contact_sheet(samples, [0], LookConfig(0, 96), model).picture.shape) == 3


def test_vertices_are_dots_without_their_model(tmp_path):
    root = TREES["ehf"](tmp_path, 1, False)
    (outcome,) = convert("ehf", Options(root), tmp_path)
    store = HumanDataStore(HumanData.open(outcome.path), root)
    samples = Samples(store, body_layout(), augment.AugmentConfig(), seed=0, box_scale=1.2, on_error="raise")
    sample, record = samples.sample(0, epoch=0, index=0), store.data.row(0, extras=True)
    low_x, low_y, high_x, high_y = difference(sample.crop.numpy(), vertices_panel(sample, record, None, 256))
    assert 20 < low_x < high_x < 236 and 20 < low_y < high_y < 236
