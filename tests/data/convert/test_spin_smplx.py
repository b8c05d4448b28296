import numpy as np
import pytest

from openexpose.skeleton import Skeleton
from tests.raw_trees.fits import write_spin_smplx


@pytest.fixture(scope="module")
def tree(tmp_path_factory, people):
    root = tmp_path_factory.mktemp("raw") / "spin_in_smplx"
    return root, write_spin_smplx(root, people)


def test_only_fitted_rows_come_with_their_parameters_and_boxes(tree, converted, people):
    root, _ = tree
    outcome, data = converted("spin_smplx", root)
    assert outcome.problems == [] and data.family == "smplx"
    assert [r.photo for r in data] == [
        "coco/train2014/COCO_000000000002.jpg", "lsp/lsp_dataset_original/images/im0027.jpg",
        "lsp/lspet/images/im00002.jpg", "mpii/images/000000002.jpg",
    ]  # fmt: skip
    assert "expression" not in data.row(0).params
    for i, row in enumerate(data):
        person = people[i % 3]
        for name, value in row.params.items():
            np.testing.assert_allclose(value, person.params[name], atol=1e-6, err_msg=name)
        x, y, w, h = person.box_xywh
        side = max(w, h)
        np.testing.assert_allclose(row.box_xywh_px, [x + (w - side) / 2, y + (h - side) / 2, side, side])


def test_points_keep_their_names_and_a_swapped_pair_is_put_right(tree, converted, people):
    root, truth = tree
    _, data = converted("spin_smplx", root)
    for row, points in zip(data, truth.values(), strict=True):
        got = row.keypoints2d.as_skeleton(Skeleton.read("spin_24")).xyc
        np.testing.assert_allclose(got[:, :2], points[:, :2], atol=1e-9)
        assert got[:, 2].tolist() == [float(k != 5) for k in range(24)]
    person = people[1]  # the one of lsp.npz, row 26
    shoulder = data.row(1).keypoints2d.as_skeleton(Skeleton.read("smplx")).xyc[16, :2]
    np.testing.assert_allclose(shoulder, person.points_px["left_shoulder"])


def test_the_quirk_drops_five_names_and_calls_hips_joints(tree, converted):
    root, truth = tree
    _, data = converted("spin_smplx", root, reference_quirks=True)
    assert int(data.column("keypoints2d_mask").sum()) == 19
    smplx = Skeleton.read("smplx")
    hip = data.row(0).keypoints2d.as_skeleton(smplx).xyc[smplx.index("right_hip")]
    np.testing.assert_allclose(hip, [*truth["coco"][2, :2], 1])
    _, right = converted("spin_smplx", root)
    assert right.row(0).keypoints2d.as_skeleton(smplx).xyc[smplx.index("right_hip"), 2] == 0


def test_a_missing_file_is_one_problem_and_another_version_fatal(tmp_path, people, converted):
    root = tmp_path / "spin_in_smplx"
    write_spin_smplx(root, people)
    (root / "lspet.npz").unlink()
    outcome, data = converted("spin_smplx", root)
    assert len(data) == 3 and len(outcome.problems) == 1 and "holds the fits to lspet" in str(outcome.problems[0])
    np.savez(root / "mpii.npz", has_smpl=np.ones(2))
    outcome, data = converted("spin_smplx", root)
    assert data is None and "another version" in str(outcome.problems[0])
    outcome, data = converted("spin_smplx", tmp_path)
    assert "has none of coco.npz" in str(outcome.problems[0])
