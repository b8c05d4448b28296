from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from openexpose.data.convert.common import (
    chunks,
    keypoint_box,
    need_file,
    need_folder,
    need_keys,
    photo_problem,
    same_length,
)  # fmt: skip
from openexpose.data.convert.meshes import read_ply_vertices
from openexpose.errors import AssetError, DataError
from tests.raw_trees.ehf import write_ply


def test_pieces_cover_every_row_once():
    jobs = chunks(2501, (Path("a"),), size=1000)
    assert [j.args for j in jobs] == [(0, 1000), (1000, 2000), (2000, 2501)]
    assert len({j.name for j in jobs}) == 3 and chunks(0) == []


def test_boxes_by_hand():
    xyc = np.array([[10, 20, 1], [30, 60, 0.2], [0, 0, 0]], np.float64)
    np.testing.assert_allclose(keypoint_box(xyc), [8, 16, 24, 48])
    np.testing.assert_allclose(keypoint_box(xyc, scale=1.0, every=True), [0, 0, 30, 60])
    assert keypoint_box(xyc[:1]) is None


def test_photos_are_judged_by_their_header(tmp_path):
    path = tmp_path / "a.jpg"
    assert "missing" in str(photo_problem(path))
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:-40])  # its pixels are damaged, which only decoding would tell
    assert photo_problem(path) is None and photo_problem(path, size_px=(60, 40)) is None
    assert "60 x 40, annotated at 40 x 60" in str(photo_problem(path, size_px=(40, 60)))
    path.write_bytes(b"text")
    assert "not an image" in str(photo_problem(path))


def test_what_is_needed_is_named(tmp_path):
    with pytest.raises(DataError, match="should hold photos"):
        need_folder(tmp_path / "a", "photos")
    with pytest.raises(DataError, match="holds the fits"):
        need_file(tmp_path / "a", "the fits")
    assert need_folder(tmp_path, "photos") == tmp_path
    with pytest.raises(DataError, match=r"no \['b'\]"):
        need_keys({"a": 1}, ("a", "b"), tmp_path)
    assert same_length({"a": [1, 2], "b": np.zeros((2, 3))}, tmp_path) == 2
    with pytest.raises(DataError, match="truncated"):
        same_length({"a": [1, 2], "b": [1]}, tmp_path)


@pytest.mark.parametrize("form", ["binary_little_endian", "binary_big_endian", "ascii"])
def test_vertices_of_every_kind_of_ply(tmp_path, form):
    points = np.array([[0.5, -1.25, 3], [1e-3, 2, -7]])
    head = (
        f"ply\nformat {form} 1.0\nelement vertex 2\nproperty double x\nproperty uchar red\nproperty double y\n"
        "property double z\nelement face 1\nproperty list uchar int vertex_indices\nend_header\n"
    )
    if form == "ascii":
        body = "".join(f"{x} 255 {y} {z}\n" for x, y, z in points).encode() + b"3 0 1 1\n"
    else:
        order = "<" if "little" in form else ">"
        rows = np.zeros(2, [("x", order + "f8"), ("red", "u1"), ("y", order + "f8"), ("z", order + "f8")])
        rows["x"], rows["y"], rows["z"] = points.T
        body = rows.tobytes() + b"\3" + np.array([0, 1, 1], order + "i4").tobytes()
    (tmp_path / "a.ply").write_bytes(head.encode() + body)
    np.testing.assert_array_equal(read_ply_vertices(tmp_path / "a.ply"), points)
    (tmp_path / "a.ply").write_bytes(head.encode() + body[:-9])
    with pytest.raises(AssetError, match="ends before its last element"):
        read_ply_vertices(tmp_path / "a.ply")
    (tmp_path / "a.ply").write_bytes(head.encode() + body[:20])
    with pytest.raises(AssetError, match="claims 2 vertices"):
        read_ply_vertices(tmp_path / "a.ply")


def test_ply_files_that_are_none(tmp_path):
    path = tmp_path / "a.ply"
    path.write_bytes(b"solid stl")
    with pytest.raises(AssetError, match="no PLY file"):
        read_ply_vertices(path)
    write_ply(path, np.zeros((2, 3)), np.zeros((1, 3), int))
    path.write_bytes(path.read_bytes().replace(b"float z", b"float w"))
    with pytest.raises(AssetError, match="properties"):
        read_ply_vertices(path)
