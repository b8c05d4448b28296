import json

import numpy as np
import pytest

from openexpose.data.convert import ehf
from openexpose.data.convert.common import Options
from openexpose.skeleton import Skeleton
from tests.raw_trees.ehf import T_CAMERA_SCAN_M, UNSEEN, K, write_ehf


@pytest.fixture(scope="module")
def tree(tmp_path_factory, people):
    root = tmp_path_factory.mktemp("raw") / "EHF"
    return root, write_ehf(root, people, drawn=False)


def test_meshes_come_back_in_camera_axes_and_project_onto_the_photo(tree, converted):
    root, truth = tree
    outcome, data = converted("ehf", root)
    assert outcome.problems == [] and len(data) == 3
    vertices = data.column("vertices")
    for i, true in enumerate(truth):
        row = data.row(i, extras=True)
        assert row.photo == f"{i + 1:02d}_img.jpg"
        np.testing.assert_allclose(vertices[i] + T_CAMERA_SCAN_M, true["vertices_m"], atol=1e-6)  # metres
        camera = {k: np.asarray(row.extras[f"cam_param/{k}"]) for k in "KRT"}
        seen = (vertices[i] @ camera["R"].T + camera["T"]) @ camera["K"].T
        straight = true["vertices_m"] @ K.T
        np.testing.assert_allclose(seen[:, :2] / seen[:, 2:], straight[:, :2] / straight[:, 2:], atol=1e-2)  # pixels


def test_keypoints_keep_their_confidence_and_unseen_ones_do_not_count(tree, converted):
    root, truth = tree
    _, data = converted("ehf", root)
    there = Skeleton.read("openpose_137")
    for row, true in zip(data, truth, strict=True):
        xyc = dict(zip(row.keypoints2d.skeleton.names, row.keypoints2d.xyc, strict=True))
        for name, want in zip(there.names, true["xyc_px"], strict=True):
            if name in row.keypoints2d.skeleton:
                np.testing.assert_allclose(xyc[name], want, atol=1e-4)
        assert all(xyc[n][2] == 0 for n in UNSEEN)
        known = true["xyc_px"][true["xyc_px"][:, 2] > 0, :2]
        low, high = known.min(0), known.max(0)
        np.testing.assert_allclose(row.box_xywh_px[:2] + row.box_xywh_px[2:] / 2, (low + high) / 2, atol=1e-3)
        np.testing.assert_allclose(row.box_xywh_px[2:], 1.2 * (high - low), atol=1e-3)


def test_the_quirk_counts_undetected_points_at_the_origin(tree, converted):
    root, truth = tree
    _, data = converted("ehf", root, reference_quirks=True)
    by_photo = {row.photo: row for row in data}  # in the file system's order
    for i, true in enumerate(truth):
        row = by_photo[f"{i + 1:02d}_img.jpg"]
        high = true["xyc_px"][:, :2].max(0)
        np.testing.assert_allclose(row.box_xywh_px, [*(high / 2 - 0.6 * high), *(1.2 * high)], atol=1e-3)
        xyc = dict(zip(row.keypoints2d.skeleton.names, row.keypoints2d.xyc, strict=True))
        assert xyc["left_smalltoe"].tolist() == [0, 0, 1]
        assert all(xyc[f"left_eyebrow_{k}"][2] == 0 for k in range(1, 6))  # lost by their spelling
    assert "cam_param/K" not in data.keys()  # noqa: SIM118


def test_what_is_wrong_is_said_once_and_the_rest_converted(tree, converted, people):
    root, _ = tree
    broken = root.parent / "broken"
    write_ehf(broken, [*people, people[0]], drawn=False)
    (broken / "02_align.ply").write_bytes((broken / "02_align.ply").read_bytes()[:5000])
    (broken / "03_2Djnt.json").unlink()
    (broken / "04_2Djnt.json").write_text(json.dumps({"people": []}))
    outcome, data = converted("ehf", broken)
    assert [r.photo for r in data] == ["01_img.jpg"]
    lines = [str(p) for p in outcome.problems]
    assert len(lines) == 3
    assert "truncated" in lines[0] and "no such file" in lines[1] and "one person" in lines[2]
    outcome, data = converted("ehf", broken, strict=True)
    assert outcome.path is None and len(outcome.problems) == 3


def test_photos_of_another_size_are_other_photos(tmp_path, people, converted, monkeypatch):
    write_ehf(tmp_path / "EHF", people[:2], drawn=False)
    (tmp_path / "EHF/01_img.jpg").write_bytes((tmp_path / "EHF/02_img.jpg").read_bytes()[:400])
    monkeypatch.setattr(ehf, "SIZE_PX", (800, 600))
    outcome, data = converted("ehf", tmp_path / "EHF")
    assert data is None and outcome.rows == 0
    assert "1600 x 1200, annotated at 800 x 600" in str(outcome.problems[1])
    assert "nothing written" in str(outcome.problems[-1])


def test_a_folder_that_is_not_ehf_is_refused(tmp_path, converted):
    (tmp_path / "empty").mkdir()
    outcome, data = converted("ehf", tmp_path / "empty")
    assert data is None and "has no photo *_img.jpg" in str(outcome.problems[0])
    assert ehf.load("ehf_val", Options(tmp_path)) is None
