import numpy as np
import pytest

from openexpose.data.convert.curated_fits import binarised, split_smplx
from openexpose.skeleton import Skeleton
from tests.raw_trees.fits import fullpose, write_curated_fits


@pytest.fixture(scope="module")
def tree(tmp_path_factory, people):
    root = tmp_path_factory.mktemp("raw") / "ExPose_curated_fits"
    return root, write_curated_fits(root, people)


def test_parameters_come_back(tree, converted, people):
    root, _ = tree
    outcome, data = converted("curated_fits", root)
    assert outcome.problems == [] and len(data) == 3 and data.family == "smplx"
    for row, person in zip(data, people, strict=True):
        assert set(row.params) == set(person.params)
        for name, want in person.params.items():
            np.testing.assert_allclose(row.params[name], want, atol=1e-6, err_msg=name)


def test_keypoints_stand_on_the_person_and_count_by_part(tree, converted, people):
    root, xyc = tree
    _, data = converted("curated_fits", root)
    for row, person in zip(data, people, strict=True):
        points = dict(zip(row.keypoints2d.skeleton.names, row.keypoints2d.xyc, strict=True))
        for name in ("left_eyebrow_3", "right_pinky_2", "left_knee"):
            np.testing.assert_allclose(points[name][:2], person.points_px[name], atol=1e-4)  # pixels
        want = {"right_ankle": 0, "left_ankle": 1, "right_index_1": 0, "right_index_2": 1, "nose": 0, "left_ear": 1,
                "left_heel": 0, "left_wrist": 1}  # fmt: skip
        assert {n: int(points[n][2]) for n in want} == want
        sure = binarised(xyc[int(row.photo[-5])], Skeleton.read("openpose_137"))
        known = sure[sure[:, 2] > 0, :2]
        np.testing.assert_allclose(row.box_xywh_px[2:], 1.2 * np.ptp(known, axis=0), atol=1e-3)


def test_the_quirk_loses_the_eyebrows(tree, converted):
    root, _ = tree
    _, right = converted("curated_fits", root)
    counts = [int(right.column("keypoints2d_mask").sum())]
    _, quirky = converted("curated_fits", root, reference_quirks=True)
    counts.append(int(quirky.column("keypoints2d_mask").sum()))
    assert counts[0] == counts[1] + 10
    smplx = Skeleton.read("smplx")
    assert (quirky.row(0).keypoints2d.as_skeleton(smplx).xyc[76:86, 2] == 0).all()
    assert (right.row(0).keypoints2d.as_skeleton(smplx).xyc[76:86, 2] == 1).all()


def test_poses_without_eyes(people):
    short, full = (split_smplx(fullpose(people[0], n)) for n in (53, 55))
    for name in full:
        np.testing.assert_array_equal(short[name], full[name])


def test_bad_rows_and_bad_files(tmp_path, people, converted):
    root = tmp_path / "ExPose_curated_fits"
    write_curated_fits(root, people)
    with np.load(root / "train.npz") as z:
        arrays = dict(z)
    arrays["betas"][1] = np.nan
    arrays["keypoints2D"][2, :, 2] = 0
    np.savez(root / "train.npz", **arrays)
    outcome, data = converted("curated_fits", root)
    assert len(data) == 1 and [str(p).rpartition(", row ")[2][0] for p in outcome.problems] == ["1", "2"]
    (tmp_path / "coco/train2014/COCO_train2014_000000000000.jpg").unlink()
    outcome, data = converted("curated_fits", root)
    assert data is None and "photo is missing" in str(outcome.problems[0])
    np.savez(root / "train.npz", **{k: v for k, v in arrays.items() if k != "pose"})
    outcome, data = converted("curated_fits", root)
    assert "has no ['pose']" in str(outcome.problems[0])
    np.savez(root / "train.npz", **{**arrays, "betas": arrays["betas"][:2]})
    outcome, data = converted("curated_fits", root)
    assert "differ in length" in str(outcome.problems[0])


def test_thresholds_by_hand():
    skeleton = Skeleton("few", ("left_knee", "left_index_1", "nose"))
    got = binarised(np.array([[1, 2, 0.1], [3, 4, 0.19], [5, 6, 0.4]]), skeleton)
    np.testing.assert_array_equal(got, [[1, 2, 1], [3, 4, 0], [5, 6, 1]])
