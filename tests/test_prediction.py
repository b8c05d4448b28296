"""Cameras of a prediction: one projection in four conventions, and the translation that agrees with the weak camera."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from openexpose.body import load_model
from openexpose.errors import ConfigError
from openexpose.geometry.crop import Crop
from openexpose.geometry.rotations import axis_angle_to_matrix
from openexpose.nets.params import BodyParams
from openexpose.prediction import (
    ModelInfo,
    Prediction,
    default_focal_px,
    fit_translation,
    photo_camera,
    weak_to_photo_px,
)

CROP = Crop((300.0, 260.0), 400.0, 256)
WEAK = np.array([0.9, 0.05, 0.1], np.float32)
INFO = ModelInfo("FreeBody", "", "smplx", "neutral", "test")


@pytest.fixture(scope="module")
def person() -> Prediction:
    """Somebody upright in camera axes with all joints a little turned."""
    model = load_model("free")
    rng = torch.Generator().manual_seed(4)

    def turned(count: int) -> torch.Tensor:
        return axis_angle_to_matrix(torch.randn(count, 3, generator=rng) * 0.2)

    upright = torch.diag(torch.tensor([1.0, -1, -1]))
    hands = turned(15), turned(15)
    params = BodyParams(upright @ turned(1)[0], turned(21), *hands, turned(1)[0], torch.ones(10), torch.ones(10) * 0.3)
    posed = model.shape(params.betas, params.expression).pose(params.R_parent_child())
    keypoints = posed.keypoints_m().numpy()
    camera = photo_camera(640, 480, default_focal_px(640, 480))
    transl = fit_translation(keypoints, WEAK, CROP, camera).astype(np.float32)
    return Prediction(
        photo="a.jpg",
        photo_size_px=(640, 480),
        person=0,
        box_px=np.array([140, 100, 460, 420], np.float32),
        score=0.9,
        params=params,
        weak_camera=WEAK,
        crop=CROP,
        camera=camera,
        focal_from="default",
        transl_m=transl,
        joints_m=posed.joints_m.numpy() + transl,
        joint_names=model.joint_names,
        keypoints_m=keypoints + transl,
        keypoint_names=model.keypoint_names,
        keypoints_px=camera.project((keypoints + transl).astype(np.float64)).astype(np.float32),
        parts={},
        model=INFO,
        body_model=model,
    )


def test_weak_camera_by_hand():
    """u = -1 and +1 are the centres of the crop's first and last pixel: 255 crop pixels, 255 / 256 of its side."""
    weak = np.array([1.0, 0.0, 0.0])
    ends = weak_to_photo_px(np.array([[-1.0, -1, 5], [1, 1, -5]]), weak, CROP)
    np.testing.assert_allclose(ends[1] - ends[0], 400 * 255 / 256, atol=1e-9)  # pixels
    np.testing.assert_allclose(ends[0], [300 - 200, 260 - 200], atol=1e-9)


@pytest.mark.parametrize("focal_px", [300.0, 800.0, 20_000.0])
def test_flat_points_are_seen_in_the_same_place_by_both_cameras(focal_px):
    points = np.random.default_rng(0).uniform(-0.9, 0.9, (40, 3)) * [1, 1, 0]
    camera = photo_camera(640, 480, focal_px)
    t = fit_translation(points, WEAK, CROP, camera)
    np.testing.assert_allclose(
        camera.project(points + t), weak_to_photo_px(points, WEAK, CROP), atol=1e-6 * focal_px
    )  # pixels
    assert t[2] == pytest.approx(2 * focal_px / (0.9 * 400 * 255 / 256), rel=1e-5)  # metres


def test_no_other_translation_agrees_better(person):
    X = person.keypoints_m.astype(np.float64) - person.transl_m
    seen = person.weak_keypoints_px()

    def off(t: np.ndarray) -> float:
        return float(((person.camera.project(X + t) - seen) ** 2).sum())

    best = fit_translation(X, WEAK, CROP, person.camera)
    for step in np.concatenate([np.eye(3), -np.eye(3)]) * [0.002, 0.002, 0.01]:
        assert off(best) < off(best + step)
    error_px = np.linalg.norm(person.camera.project(X + best) - seen, axis=1)
    assert error_px.mean() < 10  # pixels of a person about 300 tall, seen from 5 m instead of from far away


def test_a_long_lens_agrees_with_the_weak_camera(person):
    X = person.keypoints_m.astype(np.float64) - person.transl_m
    camera = photo_camera(640, 480, 1e6)
    t = fit_translation(X, WEAK, CROP, camera)
    np.testing.assert_allclose(camera.project(X + t), weak_to_photo_px(X, WEAK, CROP), atol=0.1)  # pixels


def test_people_stay_in_front_of_the_shortest_lens():
    points = np.random.default_rng(1).normal(0, 0.5, (60, 3))
    t = fit_translation(points, np.array([1.0, 0.3, -0.2]), CROP, photo_camera(640, 480, 40.0))
    assert (points[:, 2] + t[2] > 0).all()


def test_the_check_rebuilds_from_axis_angle(person):
    person.check()
    assert person.reprojection_px() < 0.01
    moved = replace(person, transl_m=person.transl_m + np.array([0.02, 0, 0], np.float32))
    with pytest.raises(ConfigError, match=r"a.jpg, person 0: .* px off"):
        moved.check()


def test_four_conventions_see_the_same_pixels(person):
    points, want = person.keypoints_m.astype(np.float64), person.keypoints_px
    one = np.c_[points, np.ones(len(points))]
    cv = person.camera_matrices()
    seen = (one @ cv["T_camera_world"].T)[:, :3] @ cv["K"].T
    np.testing.assert_allclose(seen[:, :2] / seen[:, 2:], want, atol=1e-3)  # pixels

    gl = person.camera_matrices("opengl")
    clip = one @ (gl["projection"] @ gl["view"]).T
    ndc = clip[:, :3] / clip[:, 3:]
    assert (np.abs(ndc[:, 2]) < 1).all()  # between the clip planes
    window = (ndc[:, :2] * [1, -1] + 1) / 2 * [640, 480] - 0.5
    np.testing.assert_allclose(window, want, atol=1e-3)  # pixels

    p3d = person.camera_matrices("pytorch3d")
    view = points @ p3d["R"][0] + p3d["T"][0]
    screen = p3d["principal_point"][0] - view[:, :2] / view[:, 2:] * p3d["focal_length"][0] - 0.5
    np.testing.assert_allclose(screen, want, atol=1e-3)

    blender = person.camera_matrices("blender")
    assert blender["lens"] == pytest.approx(36 * 800 / 640)  # mm
    np.testing.assert_allclose(blender["matrix_world"][:3, 3], 0, atol=1e-12)
    with pytest.raises(ConfigError, match="opencv, opengl"):
        person.camera_matrices("maya")


def test_points_by_name(person):
    i = person.keypoint_names.index("nose")
    np.testing.assert_array_equal(person.keypoint_m("nose"), person.keypoints_m[i])
    np.testing.assert_array_equal(person.keypoint_px("nose"), person.keypoints_px[i])
    np.testing.assert_array_equal(person.joint_m("pelvis"), person.joints_m[0])
    with pytest.raises(ConfigError, match="left_wrist"):
        person.joint_m("wrist")


@pytest.mark.parametrize("focal_px", [0.0, -1.0, float("nan"), float("inf")])
def test_focal_lengths_out_of_range(focal_px):
    with pytest.raises(ConfigError, match="focal"):
        photo_camera(640, 480, focal_px)
