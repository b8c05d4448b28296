"""Normals, ambient openness and colour spaces."""

import numpy as np
import pytest
import trimesh

from openexpose.errors import ConfigError
from openexpose.render.scene import Mesh, Scene, to_linear, vertex_normals
from openexpose.render.shade import Light, Lighting, to_srgb


def test_normals_of_a_sphere_point_outwards() -> None:
    ball = trimesh.creation.icosphere(3)
    normals = vertex_normals(np.asarray(ball.vertices), np.asarray(ball.faces))
    np.testing.assert_allclose(normals, ball.vertices, atol=0.015)  # unit vectors, facets


def test_normals_do_not_depend_on_place_and_turn_with_the_mesh() -> None:
    box = trimesh.creation.box((1, 2, 3))
    v, f = np.asarray(box.vertices), np.asarray(box.faces)
    R = trimesh.transformations.random_rotation_matrix(np.array([0.2, 0.5, 0.9]))[:3, :3]
    np.testing.assert_allclose(vertex_normals(v @ R.T + 7, f), vertex_normals(v, f) @ R.T, atol=1e-12)


def test_unused_vertex_has_no_normal() -> None:
    v = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [9, 9, 9.0]])
    assert vertex_normals(v, np.array([[0, 1, 2]]))[3].tolist() == [0, 0, 0]


def test_openness_is_one_on_a_ball_and_less_in_a_corner() -> None:
    ball = trimesh.creation.icosphere(3)
    free = Scene.of(Mesh(np.asarray(ball.vertices), np.asarray(ball.faces))).openness(32, 0.5)
    assert free.min() > 0.95  # a convex body hides no sky from itself
    two = Scene.of(
        Mesh(np.asarray(ball.vertices), np.asarray(ball.faces)),
        Mesh(np.asarray(ball.vertices) + [2.05, 0, 0], np.asarray(ball.faces)),
    )
    gap = two.openness(32, 0.5)[: len(ball.vertices)]
    assert gap[np.argmax(ball.vertices[:, 0])] < 0.5
    assert gap[np.argmin(ball.vertices[:, 0])] > 0.95
    assert two.openness(32, 0.5) is two.openness(32, 0.5)


def test_openness_above_a_half_plane_wall_is_one_half() -> None:
    floor = trimesh.creation.box((4, 0.01, 4)).apply_translation([0, -0.005, 0])
    wall = trimesh.creation.box((0.01, 4, 4)).apply_translation([0, 2, 0])
    scene = Scene.of(
        Mesh(np.asarray(floor.vertices), np.asarray(floor.faces)),
        Mesh(np.asarray(wall.vertices), np.asarray(wall.faces)),
    )
    point = np.array([[0.02, 0.001, 0.0]], dtype=np.float32)
    share = scene.sky_share(point, np.array([[0, 1, 0]], dtype=np.float32), 400, 1.5)
    assert abs(share[0] - 0.5) < 0.03  # share of the sky; 400 rays


def test_srgb_and_linear_are_inverse_below_the_shoulder() -> None:
    x = np.linspace(0, 0.9, 50, dtype=np.float32)
    np.testing.assert_allclose(to_srgb(to_linear(x)), x, atol=2e-3)  # of 1: half a grey level
    np.testing.assert_allclose(to_linear(np.array([0.5])), 0.2140, atol=1e-4)  # IEC 61966-2-1
    assert to_srgb(np.array([50.0], dtype=np.float32)) <= 1.0


def test_refuses_a_light_without_direction() -> None:
    with pytest.raises(ConfigError, match="length above 0"):
        Lighting(lights=(Light(towards=(0.0, 0.0, 0.0)),))
