"""The params of an augmented sample, posed by a body model, lie on the sample's own 2D keypoints."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from openexpose.body import load_model
from openexpose.body.params import join_pose
from openexpose.data import augment
from openexpose.data.augment import draw, place
from openexpose.data.look import fitted_camera, mesh_panel
from openexpose.data.record import Keypoints, Record
from openexpose.data.sample import Sample, body_layout
from openexpose.data.targets import targets_of, turn_matrix
from openexpose.geometry.camera import WeakCamera
from openexpose.geometry.rotations import axis_angle_to_matrix
from openexpose.skeleton import Skeleton
from tests.data.toys import SMPLX

SIZE = (640, 480)


@pytest.fixture(scope="module")
def model():
    return load_model("free", num_betas=10, num_expression=10)


def keypoints_of(model, rotations, betas, expression):
    blocks = {n: R if R.ndim == 4 else R[:, None] for n, R in rotations.items()}
    return model.shape(betas, expression).pose(join_pose("smplx", blocks), torch.zeros(1, 3)).keypoints_m()[0].numpy()


def row(model, seed):
    """A posed body seen by a weak camera: its params and where its keypoints appear."""
    rng = np.random.default_rng(seed)
    sizes = {"global_orient": 1, "body_pose": 21, "jaw_pose": 1, "left_hand_pose": 15, "right_hand_pose": 15}
    params = {n: rng.normal(0, 0.25, (j, 3)).astype(np.float32) for n, j in sizes.items()}
    params["global_orient"] = np.array(
        [[np.pi - 0.2, 0.1, 0.3]], np.float32
    )  # upright for a camera whose y points down
    betas = torch.from_numpy(rng.normal(size=(1, 10)).astype(np.float32))
    rotations = {n: axis_angle_to_matrix(torch.from_numpy(v))[None] for n, v in params.items()}
    points_m = keypoints_of(model, rotations, betas, torch.zeros(1, 10)).astype(np.float64)
    camera = WeakCamera.in_crop(0.9, 0.05, 0.3, side_px=480)
    xyc = np.column_stack([camera.project(points_m), np.ones(144)])
    shape = {"betas": betas[0].numpy(), "expression": np.zeros(10, np.float32)}
    return Record("x", None, Keypoints(SMPLX, xyc), None, {**params, **shape}, "smplx")


@pytest.mark.parametrize("flipped", [False, True])
def test_moved_params_explain_moved_keypoints(model, flipped):
    cfg = augment.body()
    worst = []
    for seed in range(4):
        record = row(model, seed)
        chances = replace(draw(cfg, np.random.default_rng(seed)), flipped=flipped)
        placement = place(cfg, chances, np.array([240.0, 240.0]), 400.0, SIZE)
        got = targets_of(record, body_layout(), placement, leave_unseen=False)
        rotations = {n: got[n].value[None] for n in body_layout().rotations}
        points_m = keypoints_of(model, rotations, got["betas"].value[None], torch.zeros(1, 10)).astype(np.float64)
        target = got["keypoints2d"].value.numpy().astype(np.float64)
        camera = fitted_camera(points_m, target, 256)
        assert camera.scale == pytest.approx(0.9 * 480 / placement.side_px, rel=0.01)
        worst.append(np.abs(camera.project(points_m) - target[:, :2])[:127].max())
    # Pixels of a 256-pixel crop. Mirrored, the body itself is another one: its two sides are not quite alike, and the
    # 17 points of the jaw's contour (left out here) jump between fixed places when the head is turned.
    assert max(worst) < (1.0 if flipped else 0.02), worst


def test_turning_matrix_is_a_rotation_about_the_viewing_axis():
    R = turn_matrix(37.0)
    np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(R[2], [0, 0, 1])


def test_a_body_is_drawn_over_its_crop_and_left_out_when_unknown(model):
    record = row(model, 0)
    placement = place(augment.AugmentConfig(), draw(augment.AugmentConfig(), np.random.default_rng(0)),
                      np.array([240.0, 240.0]), 480.0, SIZE)  # fmt: skip
    grey = torch.full((256, 256, 3), 90, dtype=torch.uint8)

    usual = body_layout()
    own = replace(usual, skeleton=Skeleton.read("human_data"))

    def sample(r, layout=usual):
        targets = targets_of(r, layout, placement, leave_unseen=False)
        return Sample(grey, targets, None, torch.eye(2, 3), "x", 0)

    shown = usual.skeleton
    drawn = mesh_panel(sample(record), shown, model, 64)
    assert 0.03 < (drawn != 90).any(-1).mean() < 0.6
    # The file's own 190 points hold the same 144 by name, so the same camera fits.
    assert (mesh_panel(sample(record, own), own.skeleton, model, 64) == drawn).all()
    for unknown in (replace(record, params={}), replace(record, keypoints2d=None)):
        assert (mesh_panel(sample(unknown), shown, model, 64) == 90).all()
