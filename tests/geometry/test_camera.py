"""Cameras: projection against hand-computed pixels, other packages' conventions against their own formulas."""

import numpy as np
import pytest
import torch

from openexpose.errors import ConfigError
from openexpose.geometry.camera import PerspectiveCamera, WeakCamera, look_at, orbit, weak_project

PX = 1e-9  # pixels, float64


def random_camera(seed: int = 0) -> PerspectiveCamera:
    rng = np.random.default_rng(seed)
    T = look_at(rng.normal(size=3) + [0, 0, 4], rng.normal(size=3) * 0.1, np.array([0.0, 1.0, 0.0]))
    K = np.array([[510.0, 0, 300.2], [0, 510.0, 211.7], [0, 0, 1]])
    return PerspectiveCamera(K=K, T_camera_world=T, width_px=640, height_px=400)


def test_perspective_pixels_by_hand() -> None:
    K = np.array([[100.0, 0, 31.5], [0, 100, 23.5], [0, 0, 1]])
    camera = PerspectiveCamera(K=K, T_camera_world=np.eye(4), width_px=64, height_px=48)
    got = camera.project(np.array([[0, 0, 2.0], [0.2, -0.1, 2.0], [0, 0, -1.0]]))
    np.testing.assert_allclose(got[:2], [[31.5, 23.5], [41.5, 18.5]], atol=PX)
    assert np.isnan(got[2]).all()  # behind the camera


def test_world_camera_is_the_inverse() -> None:
    camera = random_camera()
    np.testing.assert_allclose(camera.T_world_camera @ camera.T_camera_world, np.eye(4), atol=1e-12)


def test_opengl_lands_on_the_same_pixel() -> None:
    camera = random_camera(1)
    points = np.random.default_rng(2).normal(size=(20, 3)) * 0.3
    projection, view = camera.to_opengl(0.1, 50.0)
    clip = np.c_[points, np.ones(20)] @ (projection @ view).T
    ndc = clip[:, :3] / clip[:, 3:]
    window = np.stack([(ndc[:, 0] + 1) / 2 * 640 - 0.5, (1 - ndc[:, 1]) / 2 * 400 - 0.5], axis=-1)
    np.testing.assert_allclose(window, camera.project(points), atol=1e-9)
    assert (np.abs(ndc[:, 2]) < 1).all()


def test_pytorch3d_lands_on_the_same_pixel() -> None:
    camera = random_camera(3)
    points = np.random.default_rng(4).normal(size=(20, 3)) * 0.3
    p3d = camera.to_pytorch3d()
    view = points @ p3d["R"][0] + p3d["T"][0]  # x left, y up
    screen = p3d["principal_point"][0] - p3d["focal_length"][0] * view[:, :2] / view[:, 2:]
    np.testing.assert_allclose(screen - 0.5, camera.project(points), atol=PX)  # its pixel centres are at halves


def test_blender_lands_on_the_same_pixel() -> None:
    camera = random_camera(5)
    points = np.random.default_rng(6).normal(size=(20, 3)) * 0.3
    blender = camera.to_blender()
    local = (np.c_[points, np.ones(20)] @ np.linalg.inv(blender["matrix_world"]).T)[:, :3]
    focal = blender["lens"] / blender["sensor_width"] * 640
    plane = focal * local[:, :2] / -local[:, 2:]  # y up, pixels from the optical axis
    column = 640 / 2 + plane[:, 0] - blender["shift_x"] * 640 - 0.5
    row = 400 / 2 - plane[:, 1] + blender["shift_y"] * 640 - 0.5
    np.testing.assert_allclose(np.stack([column, row], -1), camera.project(points), atol=PX)


def test_weak_camera_is_the_formula_of_the_spec() -> None:
    camera = WeakCamera.in_crop(0.9, 0.1, -0.2, side_px=256)
    points = np.random.default_rng(0).normal(size=(5, 3))
    u = 0.9 * (points[:, :2] + [0.1, -0.2])
    np.testing.assert_allclose(camera.project_u(points), u, atol=1e-12)
    np.testing.assert_allclose(camera.project(points), (u * 0.5 + 0.5) * 255, atol=PX)
    torch_u = weak_project(torch.from_numpy(points), torch.tensor([0.9, 0.1, -0.2], dtype=torch.float64))
    np.testing.assert_allclose(torch_u.numpy(), u, atol=1e-12)


def test_weak_camera_moves_with_its_crop() -> None:
    camera = WeakCamera.in_crop(1.1, 0.0, 0.1, side_px=224)
    c, s = 2.0 * np.cos(0.3), 2.0 * np.sin(0.3)
    T_photo_crop = np.array([[c, -s, 40.0], [s, c, -7.0], [0, 0, 1]])
    points = np.random.default_rng(1).normal(size=(5, 3))
    crop_px = camera.project(points)
    photo_px = camera.moved(T_photo_crop, width_px=900, height_px=700).project(points)
    np.testing.assert_allclose(photo_px, crop_px @ T_photo_crop[:2, :2].T + T_photo_crop[:2, 2], atol=PX)


@pytest.mark.parametrize("principal_px", [None, (449.5, 349.5)])
def test_perspective_twin_of_the_weak_camera(principal_px: tuple[float, float] | None) -> None:
    T_photo_crop = np.array([[2.0, 0, 310.0], [0, 2.0, 80.0], [0, 0, 1]])
    weak = WeakCamera.in_crop(0.8, 0.05, 0.2, side_px=224).moved(T_photo_crop, width_px=900, height_px=700)
    twin = weak.to_perspective(5000.0, principal_px)
    flat = np.c_[np.random.default_rng(1).normal(size=(5, 2)), np.zeros(5)]
    np.testing.assert_allclose(twin.project(flat), weak.project(flat), atol=1e-7)  # pixels
    np.testing.assert_allclose(twin.T_camera_world[2, 3], 2 * 5000 / (2 * 223 * 0.8), rtol=1e-12)  # tz = 2 f / (b s)


def test_look_at_puts_the_target_in_the_middle_and_up_upwards() -> None:
    T = look_at(np.array([3.0, 2.0, 1.0]), np.array([0.5, 0.0, 0.0]), np.array([0.0, 1.0, 0.0]))
    target = T @ [0.5, 0, 0, 1]
    np.testing.assert_allclose(target[:2], 0, atol=1e-12)
    assert target[2] > 0
    assert (T @ [0.5, 1, 0, 1])[1] < 0  # y points down in the picture


def test_orbit_frames_every_point_tightly_from_the_named_side() -> None:
    points = np.random.default_rng(0).normal(size=(300, 3)) * [0.3, 0.9, 0.2]
    for azimuth in (0.0, 0.7, np.pi / 2, 4.0):
        camera = orbit(points, azimuth_rad=azimuth, elevation_rad=0.2, width_px=300, height_px=500, margin=1.0)
        px = camera.project(points)
        assert px.min() > -0.5 - 1e-6
        assert (px.max(axis=0) < [299.5 + 1e-6, 499.5 + 1e-6]).all()
        span = np.ptp(px, axis=0) / [300, 500]
        assert span.max() > 0.999  # touches two borders
    left = orbit(points, azimuth_rad=np.pi / 2).T_world_camera[:3, 3]
    assert left[0] > 1  # the body's left is +x
    assert orbit(points, azimuth_rad=0.0).T_world_camera[2, 3] > 1  # the face looks along +z


def test_refusals() -> None:
    eye = np.zeros(3)
    with pytest.raises(ConfigError, match="no direction"):
        look_at(eye, eye, np.array([0.0, 1.0, 0.0]))
    with pytest.raises(ConfigError, match="rigid"):
        PerspectiveCamera(K=np.eye(3), T_camera_world=np.diag([2.0, 1, 1, 1]), width_px=4, height_px=4)
    with pytest.raises(ConfigError, match="focal"):
        PerspectiveCamera(K=np.diag([-1.0, 1, 1]), T_camera_world=np.eye(4), width_px=4, height_px=4)
    with pytest.raises(ConfigError, match="at least 1"):
        WeakCamera.in_crop(1.0, 0.0, 0.0, side_px=2).moved(np.eye(3), width_px=0, height_px=5)
    with pytest.raises(ConfigError, match="s > 0"):
        WeakCamera.in_crop(-1.0, 0.0, 0.0, side_px=224)
    turned = WeakCamera.in_crop(1.0, 0.0, 0.0, side_px=224).moved(
        np.array([[0, -1.0, 0], [1, 0, 0], [0, 0, 1]]), width_px=10, height_px=10
    )
    with pytest.raises(ConfigError, match="turned"):
        turned.to_perspective(1000.0)
    with pytest.raises(ConfigError, match="one focal length"):
        K = np.array([[500.0, 0, 4], [0, 600.0, 4], [0, 0, 1]])
        PerspectiveCamera(K=K, T_camera_world=np.eye(4), width_px=8, height_px=8).to_blender()
    with pytest.raises(ConfigError, match="near_m"):
        random_camera().to_opengl(2.0, 1.0)
    with pytest.raises(ConfigError, match="margin"):
        orbit(np.ones((3, 3)), azimuth_rad=0.0, margin=0.5)
