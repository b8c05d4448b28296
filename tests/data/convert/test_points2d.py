"""LSP, LSPET, COCO, COCO-WholeBody, MPII and OpenPose folders: points, flags, boxes, names; what is left out."""

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from openexpose import images
from openexpose.data.convert.common import keypoint_box
from openexpose.skeleton import Skeleton
from tests.raw_trees.coco import write_coco
from tests.raw_trees.drawing import blank_photo
from tests.raw_trees.lsp import write_lsp, write_lspet
from tests.raw_trees.mpii import FILE, write_mpii
from tests.raw_trees.openpose import write_openpose
from tests.raw_trees.running import made


@pytest.fixture(autouse=True)
def no_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    """No converter decodes a photo."""
    monkeypatch.setattr(images.Photo, "decode", lambda *a, **k: pytest.fail("a photo was decoded"))


def test_lsp(tmp_path: Path) -> None:
    """Hidden joints count as known; the first half trains, the second tests."""
    root, skeleton = tmp_path / "lsp", Skeleton.read("lsp")
    truth = write_lsp(root, drawn=False)
    run = made("lsp", root, tmp_path / "out")
    rows = [*run.rows("lsp_train"), *run.rows("lsp_test")]
    assert run.problems == () and len(run.files["lsp_train"]) == 2 and truth[..., 2].any()
    for i, row in enumerate(rows):
        assert row.photo == f"images/im{i + 1:04d}.jpg" and (root / row.photo).is_file()
        xyc = row.keypoints2d.as_skeleton(skeleton).xyc
        np.testing.assert_allclose(xyc, np.column_stack([truth[i, :, :2], np.ones(14)]))
        np.testing.assert_allclose(row.box_xywh_px, keypoint_box(xyc))


def test_lspet(tmp_path: Path) -> None:
    """Joints without annotation are unknown, wherever they lie."""
    root, skeleton = tmp_path / "lspet", Skeleton.read("lspet")
    truth = write_lspet(root, drawn=False)
    run = made("lspet", root, tmp_path / "out")
    assert run.problems == ()
    for i, row in enumerate(run.rows("lspet_train")):
        assert row.photo == f"images/im{i + 1:05d}.jpg" and (root / row.photo).is_file()
        xyc = row.keypoints2d.as_skeleton(skeleton).xyc
        np.testing.assert_allclose(xyc, np.where(truth[i, :, 2:] > 0, truth[i], 0))
        assert (row.box_xywh_px[:2] > -20).all()  # px; the unannotated ones lie at -50 to 0


def test_the_two_leeds_sets_are_not_taken_for_each_other(tmp_path: Path) -> None:
    write_lsp(tmp_path / "lsp", drawn=False)
    run = made("lspet", tmp_path / "lsp", tmp_path / "out")
    assert not run.files and "3 x 14 x 4, not 14 x 3 x N" in run.problems[0]
    (tmp_path / "lsp" / "joints.mat").write_bytes(b"MATLAB 7.3 MAT-file".ljust(512) + b"\x89HDF\r\n\x1a\n")
    assert "7.3" in made("lsp", tmp_path / "lsp", tmp_path / "out").problems[0]


def test_lsp_bad_rows(tmp_path: Path) -> None:
    root = tmp_path / "lspet"
    truth = write_lspet(root, drawn=False)
    truth[1, 3, 0], truth[2, 1:, 2] = np.nan, 0
    truth[1, 3, 2] = 1
    scipy.io.savemat(root / "joints.mat", {"joints": truth.transpose(1, 2, 0)})
    (root / "images" / "im00004.jpg").unlink()
    run = made("lspet", root, tmp_path / "out")
    assert [r.photo for r in run.rows("lspet_train")] == ["images/im00001.jpg"]
    assert [p.split(": ")[1][:12] for p in run.problems] == ["its joints a", "fewer than t", "photo is mis"]


@pytest.mark.parametrize(("year", "name"), [("2017", "000000000037.jpg"), ("2014", "COCO_train2014_000000000037.jpg")])
def test_coco(tmp_path: Path, year: str, name: str) -> None:
    root, skeleton = tmp_path / "coco", Skeleton.read("coco")
    truth = write_coco(root, year=year, drawn=False)
    run = made("coco", root, tmp_path / "out")
    assert run.problems == () and len(run.files["coco_val"]) == 4
    rows = run.rows("coco_train")
    assert len(rows) == 4 and rows[0].photo == f"train{year}/{name}"  # neither the crowd nor the unlabelled one
    for row, xyv in zip(rows, truth, strict=True):
        want = np.column_stack([xyv[:17, :2], xyv[:17, 2] > 0])
        np.testing.assert_allclose(row.keypoints2d.as_skeleton(skeleton).xyc, want)
    annotations = json.loads((root / "annotations" / f"person_keypoints_train{year}.json").read_text())["annotations"]
    np.testing.assert_allclose([r.box_xywh_px for r in rows], [a["bbox"] for a in annotations[:4]])


def test_coco_wholebody(tmp_path: Path) -> None:
    """All 133 points under their names; a part that is switched off is unknown."""
    root, skeleton = tmp_path / "coco", Skeleton.read("coco_wholebody")
    truth = write_coco(root, drawn=False)
    run = made("coco_wholebody", root, tmp_path / "out", "coco_wholebody_train")
    rows, face = run.rows("coco_wholebody_train"), slice(23, 91)
    assert run.problems == () and len(rows) == 4
    for i, (row, xyv) in enumerate(zip(rows, truth, strict=True)):
        want = np.column_stack([xyv[:, :2], xyv[:, 2] > 0])
        want[face] *= i != 1
        got = row.keypoints2d.as_skeleton(Skeleton.read("human_data")).as_skeleton(skeleton).xyc
        there = [n in Skeleton.read("human_data") for n in skeleton.names]
        np.testing.assert_allclose(got[there], want[there])
        assert sum(there) == 131  # all but the second wrists, which detectors of hands have


def test_coco_bad_rows(tmp_path: Path) -> None:
    root = tmp_path / "coco"
    write_coco(root, drawn=False)
    file = root / "annotations" / "person_keypoints_train2017.json"
    content = json.loads(file.read_text())
    blank_photo(root / "train2017" / content["images"][0]["file_name"], 50, 50)
    content["annotations"][1]["image_id"] = [1]
    content["annotations"][2]["keypoints"] = content["annotations"][2]["keypoints"][:-1]
    content["annotations"][3]["bbox"] = [0, 0, 0, 0]
    file.write_text(json.dumps(content))
    run = made("coco", root, tmp_path / "out", "coco_train")
    (row,) = run.rows("coco_train")
    np.testing.assert_allclose(row.box_xywh_px, keypoint_box(row.keypoints2d.xyc))
    said = "\n".join(run.problems)
    assert len(run.problems) == 3 and "50 x 50, annotated at 160 x 200" in said
    assert "no image [1]" in said and "51 numbers, but is 50" in said
    file.write_text(json.dumps(content)[:-500])
    again = made("coco", root, tmp_path / "again", "coco_train")
    assert not again.files and "no whole json" in again.problems[0]


def test_mpii(tmp_path: Path) -> None:
    """MATLAB's first pixel is 1; points come in any order; test photos and bare head boxes are no rows."""
    root, skeleton = tmp_path / "mpii", Skeleton.read("mpii")
    truth = write_mpii(root, drawn=False)
    run = made("mpii", root, tmp_path / "out")
    rows = run.rows("mpii_train")
    assert run.problems == () and [r.photo for r in rows] == [f"images/{t.photo}" for t in truth]
    for row, one in zip(rows, truth, strict=True):
        xyc = row.keypoints2d.as_skeleton(skeleton).xyc
        np.testing.assert_array_equal(xyc[:, 2] > 0, one.labelled)
        np.testing.assert_allclose(xyc[one.labelled, :2], one.xy_px[one.labelled], atol=1e-9)
        np.testing.assert_allclose(row.box_xywh_px, keypoint_box(xyc))


def test_mpii_damaged(tmp_path: Path) -> None:
    root = tmp_path / "mpii"
    truth = write_mpii(root, drawn=False)
    (root / "images" / truth[2].photo).unlink()
    run = made("mpii", root, tmp_path / "out")
    assert len(run.rows("mpii_train")) == 3 and "missing" in run.problems[0] and len(run.problems) == 1
    file = root / FILE
    scipy.io.savemat(file, {"RELEASE": {"annolist": np.zeros((0, 0)), "img_train": np.ones((1, 3))}})
    assert "differ in length" in made("mpii", root, tmp_path / "other").problems[0]
    scipy.io.savemat(file, {"RELEASE": 3})
    assert "no struct with annolist" in made("mpii", root, tmp_path / "other").problems[0]
    file.unlink()
    assert FILE in made("mpii", root, tmp_path / "other").problems[0]


def test_openpose(tmp_path: Path) -> None:
    root, skeleton = tmp_path / "openpose", Skeleton.read("openpose_137")
    truth = write_openpose(root, drawn=False)
    run = made("openpose", root, tmp_path / "out")
    rows = run.rows("openpose")
    assert run.problems == () and [r.photo for r in rows] == [f"images/{n}" for n in truth]
    human = Skeleton.read("human_data")
    kept = [n in human for n in skeleton.names]
    for row, xyc in zip(rows, truth.values(), strict=True):
        got = row.keypoints2d.as_skeleton(skeleton).xyc[kept]
        np.testing.assert_allclose(got, np.column_stack([xyc[:, :2], np.minimum(xyc[:, 2], 1)])[kept])
        assert row.box_xywh_px[2:].min() > 20  # px


def test_openpose_thresholds_and_refusals(tmp_path: Path) -> None:
    root = tmp_path / "openpose"
    write_openpose(root, drawn=False)
    file = root / "keypoints" / "beach_keypoints.json"
    content = json.loads(file.read_text())
    person = content["people"][0]
    person["pose_keypoints_2d"][2::3] = [0.04] * 20 + [0.06] * 5
    for part, value in (("hand_left", 0.19), ("hand_right", 0.21), ("face", 0.39)):
        person[f"{part}_keypoints_2d"][2::3] = [value] * (len(person[f"{part}_keypoints_2d"]) // 3)
    lone = {**person, "pose_keypoints_2d": [1.0] * 6 + [0.0] * 69}
    lone |= {f"{p}_keypoints_2d": [] for p in ("hand_left", "hand_right", "face")}
    file.write_text(json.dumps({"people": [person, lone]}))
    (root / "images" / "street.v2.png").unlink()
    run = made("openpose", root, tmp_path / "out")
    (row,) = run.rows("openpose")
    known = row.keypoints2d.as_skeleton(Skeleton.read("openpose_137")).xyc[:, 2] > 0
    assert known[20:25].all() and not known[:20].any() and not known[25:46].any() and not known[67:].any()
    assert known[47:67].all()
    assert len(run.problems) == 2 and "2 known points" in run.problems[0] and "no photo" in run.problems[1]
    file.write_text(json.dumps({"people": [{"pose_keypoints": [0] * 54}]}))
    (line,) = made("openpose", root, tmp_path / "other").problems[:1]
    assert "18 points, not 25" in line and "BODY_25; its people left out" in line
