"""Rendering against geometry that can be worked out by hand, and against a slow intersection of every triangle."""

import numpy as np
import pytest
import trimesh

from openexpose.errors import ConfigError, DataError
from openexpose.geometry.camera import Camera, PerspectiveCamera, WeakCamera, look_at, orbit
from openexpose.render.ground import Ground
from openexpose.render.raycast import Look, Rendered, outline_box, render, render_scene
from openexpose.render.rays import rays
from openexpose.render.scene import BLUE, CLAY, SKIN, Mesh, Scene

PLAIN = Look(samples=1, occlusion_rays=0)


def sphere(radius: float = 0.5, at: tuple[float, float, float] = (0, 0, 0), detail: int = 4) -> Mesh:
    ball = trimesh.creation.icosphere(detail, radius=radius)
    return Mesh(np.asarray(ball.vertices) + at, np.asarray(ball.faces))


def front(width_px: int = 96, height_px: int = 80, distance_m: float = 3.0) -> PerspectiveCamera:
    T = look_at(np.array([0, 0, distance_m]), np.zeros(3), np.array([0.0, 1.0, 0.0]))
    return PerspectiveCamera.with_fov(T, fov_y_rad=0.6, width_px=width_px, height_px=height_px)


def slow_faces(mesh: Mesh, camera: Camera) -> np.ndarray:
    """Face under each pixel centre by testing every triangle (Moeller and Trumbore 1997), float64."""
    c, r = np.meshgrid(np.arange(camera.width_px), np.arange(camera.height_px))
    origins, directions = rays(camera, np.stack([c.ravel(), r.ravel()], -1).astype(float), -5.0)
    a, b, c3 = (mesh.vertices_m[mesh.faces[:, k]] for k in range(3))
    best = np.full(len(origins), -1)
    for i, (o, d) in enumerate(zip(origins.astype(float), directions.astype(float), strict=True)):
        p = np.cross(d, c3 - a)
        det = np.einsum("fc,fc->f", b - a, p)
        s = o - a
        q = np.cross(s, b - a)
        with np.errstate(divide="ignore", invalid="ignore"):
            u, v, t = np.einsum("fc,fc->f", s, p) / det, q @ d / det, np.einsum("fc,fc->f", c3 - a, q) / det
            inside = (u >= 0) & (v >= 0) & (u + v <= 1) & (t > 0)
        if inside.any():
            best[i] = np.argmin(np.where(inside, t, np.inf))
    return best.reshape(camera.height_px, camera.width_px)


def points_seen(mesh: Mesh, picture: Rendered) -> tuple[np.ndarray, np.ndarray]:
    hit = picture.face_ids >= 0
    corners = mesh.vertices_m[mesh.faces[picture.face_ids[hit]]]
    return hit, np.einsum("nk,nkc->nc", picture.bary[hit], corners)


@pytest.mark.parametrize("weak", [False, True])
def test_every_pixel_sees_the_face_that_a_slow_search_finds(weak: bool) -> None:
    mesh = sphere(0.6, (0.05, -0.02, 0.0), detail=1)
    camera = WeakCamera.in_crop(1.2, 0.1, 0.0, side_px=40) if weak else front(40, 36)
    got = render(mesh.vertices_m, mesh.faces, camera, look=PLAIN).face_ids
    differ = np.mean(got != slow_faces(mesh, camera))
    assert differ < 0.002  # share of pixels; only rays along an edge may go either way


@pytest.mark.parametrize("weak", [False, True])
def test_face_and_weights_lead_back_to_the_pixel_and_its_depth(weak: bool) -> None:
    mesh = sphere()
    camera: Camera = WeakCamera.in_crop(1.5, 0.1, -0.05, side_px=64) if weak else front()
    picture = render(mesh.vertices_m, mesh.faces, camera, look=PLAIN)
    hit, points = points_seen(mesh, picture)
    rows, columns = np.nonzero(hit)
    np.testing.assert_allclose(camera.project(points), np.stack([columns, rows], -1), atol=2e-3)  # pixels, float32
    depth = points[:, 2] if weak else camera.to_camera(points)[:, 2]
    np.testing.assert_allclose(picture.depth_m[hit], depth, atol=5e-6)  # metres, float32
    assert np.isinf(picture.depth_m[~hit]).all()
    assert (picture.alpha[~hit] == 0).all()


def test_sphere_has_the_size_depth_and_normals_of_a_sphere() -> None:
    mesh = sphere(detail=5)
    camera = front(201, 201)
    picture = render(mesh.vertices_m, mesh.faces, camera)
    assert abs(picture.depth_m[100, 100] - 2.5) < 1e-3  # metres, facets
    np.testing.assert_allclose(picture.normals[100, 100], [0, 0, 1], atol=2e-2)
    radius_px = camera.K[0, 0] * 0.5 / np.sqrt(3.0**2 - 0.5**2)  # of the outline cone
    assert abs(picture.alpha.sum() / (np.pi * radius_px**2) - 1) < 2e-3  # share of the area, facets and samples
    hit, points = points_seen(mesh, picture)
    np.testing.assert_allclose(picture.normals[hit], points / 0.5, atol=0.03)  # unit vectors, facets


def test_alpha_of_a_slanted_square_is_its_area() -> None:
    square = np.array([[-0.31, -0.17, 0], [0.27, -0.29, 0], [0.33, 0.25, 0], [-0.22, 0.35, 0.0]])
    camera = WeakCamera.in_crop(2.0, 0.0, 0.0, side_px=64)
    picture = render(square, np.array([[0, 1, 2], [0, 2, 3]]), camera, look=Look(samples=8, occlusion_rays=0))
    px = camera.project(square)
    x, y = px[:, 0], px[:, 1]
    area = 0.5 * abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1)))
    assert abs(picture.alpha.sum() - area) < 0.5  # pixels of area, of about 1,300


def test_smoothing_only_where_needed_looks_like_smoothing_everywhere() -> None:
    scene = Scene.of(sphere(0.5), sphere(0.3, (0.4, 0.3, 0.3)))
    camera = orbit(scene.vertices.astype(float), azimuth_rad=0.4, elevation_rad=0.2, width_px=128, height_px=128)
    adaptive = render_scene(scene, camera).over().astype(int)
    full = render_scene(scene, camera, look=Look(everywhere=True)).over().astype(int)
    assert np.abs(adaptive - full).mean() < 0.1  # grey levels
    assert np.abs(adaptive - full).max() < 20


def test_the_nearer_mesh_hides_the_further_one() -> None:
    near, far = sphere(0.2, (0, 0, 1)), sphere(0.5, (0, 0, -1))
    picture = render_scene(Scene.of(far, near), front(81, 81), look=PLAIN)
    assert picture.mesh_ids[40, 40] == 1
    assert picture.mesh_ids[40, 46:70].max() == 1 or (picture.mesh_ids == 0).any()
    alone = render(near.vertices_m, near.faces, front(81, 81), look=PLAIN)
    np.testing.assert_array_equal(alone.face_ids[alone.face_ids >= 0], picture.face_ids[picture.mesh_ids == 1])


def test_colours_light_and_shade() -> None:
    ball = sphere()
    red = Mesh(ball.vertices_m, ball.faces, vertex_colours=np.tile([1.0, 0, 0], (len(ball.vertices_m), 1)))
    faces_blue = Mesh(ball.vertices_m, ball.faces, face_colours=np.tile([0, 0, 1.0], (len(ball.faces), 1)))
    middle = {}
    for name, mesh in {"red": red, "blue": faces_blue, "clay": ball}.items():
        picture = render_scene(Scene.of(mesh), front(81, 81))
        middle[name] = picture.rgb[40, 40].astype(int)
        hit = picture.face_ids >= 0
        assert picture.rgb[hit].max() > picture.rgb[hit].min()  # form shows
    assert middle["red"][0] > 2 * middle["red"][1]
    assert middle["blue"][2] > 2 * middle["blue"][1]
    assert np.ptp(middle["clay"]) < 30
    lit = render_scene(Scene.of(ball), front(81, 81)).rgb.astype(int)
    assert lit[25, 28].sum() > lit[58, 50].sum() + 60  # key light from the upper left


def test_facets_show_when_asked() -> None:
    ball = sphere(detail=1)
    flat = Mesh(ball.vertices_m, ball.faces, smooth=False)
    picture = render_scene(Scene.of(flat), front(), look=PLAIN)
    hit = picture.face_ids >= 0
    corners = flat.vertices_m[flat.faces[picture.face_ids[hit]]]
    want = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    want /= np.linalg.norm(want, axis=1, keepdims=True)
    np.testing.assert_allclose(picture.normals[hit], want, atol=1e-5)


def test_turning_camera_and_world_together_changes_nothing() -> None:
    mesh = sphere(0.5, (0.1, 0.2, 0.0))
    T = trimesh.transformations.random_rotation_matrix(np.array([0.3, 0.6, 0.1]))
    camera = front()
    moved = PerspectiveCamera(camera.K, camera.T_camera_world @ T.T, camera.width_px, camera.height_px)
    a = render(mesh.vertices_m, mesh.faces, camera)
    b = render(mesh.vertices_m @ T[:3, :3].T, mesh.faces, moved)
    assert np.abs(a.over().astype(int) - b.over().astype(int)).mean() < 0.3  # grey levels; ray noise of occlusion


def test_ground_shadow_is_dark_under_the_mesh_and_nowhere_far() -> None:
    mesh = sphere(0.3, (0, 0.3, 0))
    camera = orbit(mesh.vertices_m, azimuth_rad=0.0, elevation_rad=0.5, margin=2.5, width_px=128, height_px=128)
    with_floor = render(mesh.vertices_m, mesh.faces, camera, look=Look(ground=Ground(0.0)))
    without = render(mesh.vertices_m, mesh.faces, camera)
    under = np.rint(camera.project(np.array([[0.25, 0.0, 0.2]]))[0]).astype(int)
    assert with_floor.alpha[under[1], under[0]] > 0.1
    assert with_floor.rgb[under[1], under[0]].max() == 0
    assert with_floor.alpha[:2].max() == 0
    assert (with_floor.alpha >= without.alpha - 1e-6).all()


def test_mesh_around_the_camera_and_mesh_outside_the_picture() -> None:
    room = sphere(5.0)
    assert (render(room.vertices_m, room.faces, front(), look=PLAIN).face_ids >= 0).all()
    aside = sphere(0.2, (50, 0, 0))
    picture = render(aside.vertices_m, aside.faces, front())
    assert picture.alpha.max() == 0
    behind = sphere(0.2, (0, 0, 9))
    assert render(behind.vertices_m, behind.faces, front()).alpha.max() == 0
    rows, columns = outline_box(Scene.of(aside), front())
    assert columns.start == columns.stop
    assert rows.start < rows.stop


def test_rgba_and_background() -> None:
    ball = sphere()
    picture = render(ball.vertices_m, ball.faces, front(), material=SKIN)
    assert picture.rgba().shape == (80, 96, 4)
    assert picture.over((10, 20, 30))[0, 0].tolist() == [10, 20, 30]
    np.testing.assert_array_equal(picture.over()[40, 48], picture.rgb[40, 48])


def test_refusals() -> None:
    ball = sphere()
    with pytest.raises(DataError, match="name vertices"):
        Mesh(ball.vertices_m[:5], ball.faces)
    broken = ball.vertices_m.copy()
    broken[7, 1] = np.nan
    with pytest.raises(DataError, match="vertex 7"):
        Mesh(broken, ball.faces)
    with pytest.raises(DataError, match="not both"):
        Mesh(ball.vertices_m, ball.faces, BLUE, ball.vertices_m * 0, np.zeros((len(ball.faces), 3)))
    with pytest.raises(DataError, match="at least one"):
        Scene([])
    with pytest.raises(ConfigError, match="samples"):
        Look(samples=0)
    with pytest.raises(ConfigError, match="strength"):
        Ground(0.0, strength=2.0)
    with pytest.raises(ConfigError, match="PerspectiveCamera"):
        weak = WeakCamera.in_crop(1.0, 0.0, 0.0, side_px=32)
        render(ball.vertices_m, ball.faces, weak, material=CLAY, look=Look(ground=Ground(0.0)))
