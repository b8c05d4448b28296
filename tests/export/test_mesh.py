"""Mesh files, read back by trimesh."""

from pathlib import Path

import numpy as np
import pytest
import trimesh

from openexpose.errors import DataError
from openexpose.export.mesh import write_obj, write_ply
from openexpose.render.scene import vertex_normals

rng = np.random.default_rng(0)
BALL = trimesh.creation.icosphere(2)
V, F = np.asarray(BALL.vertices) * [0.3, 0.9, 0.2], np.asarray(BALL.faces)


def test_obj_comes_back(tmp_path: Path) -> None:
    write_obj(tmp_path / "new" / "a.obj", V, F)
    got = trimesh.load(tmp_path / "new" / "a.obj", process=False)
    np.testing.assert_allclose(got.vertices, V, atol=5.1e-7)  # metres, 6 decimals
    np.testing.assert_array_equal(got.faces, F)
    assert "metres" in (tmp_path / "new" / "a.obj").read_text()[:300]


def test_obj_keeps_colours(tmp_path: Path) -> None:
    colours = rng.random(V.shape)
    write_obj(tmp_path / "a.obj", V, F, vertex_colours=colours)
    got = trimesh.load(tmp_path / "a.obj", process=False)
    np.testing.assert_allclose(got.visual.vertex_colors[:, :3] / 255, colours, atol=1 / 255)  # one level


def test_ply_comes_back_with_normals_and_colours(tmp_path: Path) -> None:
    normals, colours = vertex_normals(V, F), rng.random(V.shape)
    write_ply(tmp_path / "a.ply", V, F, normals=normals, vertex_colours=colours, frame="camera:\n x right")
    got = trimesh.load(tmp_path / "a.ply", process=False)
    np.testing.assert_allclose(got.vertices, V, atol=1e-7)  # metres, float32
    np.testing.assert_array_equal(got.faces, F)
    np.testing.assert_allclose(got.visual.vertex_colors[:, :3] / 255, colours, atol=0.51 / 255)  # half a level
    raw = (tmp_path / "a.ply").read_bytes()
    assert b"comment frame: camera: x right\n" in raw
    write_ply(tmp_path / "b.ply", V, F)
    assert trimesh.load(tmp_path / "b.ply", process=False).vertices.shape == V.shape


def test_bad_input_leaves_no_file_and_no_damage(tmp_path: Path) -> None:
    write_ply(tmp_path / "a.ply", V, F)
    before = (tmp_path / "a.ply").read_bytes()
    broken = V.copy()
    broken[3, 0] = np.inf
    with pytest.raises(DataError, match="not finite"):
        write_ply(tmp_path / "a.ply", broken, F)
    with pytest.raises(DataError, match="name vertices"):
        write_obj(tmp_path / "b.obj", V[:4], F)
    assert (tmp_path / "a.ply").read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.ply"]
