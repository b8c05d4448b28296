import numpy as np
import pytest

from openexpose.data.convert.h36m import JOINTS, silhouette_box
from openexpose.skeleton import Skeleton
from tests.raw_trees.h36m import K, write_h36m


@pytest.fixture(scope="module")
def tree(tmp_path_factory, people):
    root = tmp_path_factory.mktemp("raw") / "h36m"
    return root, write_h36m(root, people, frames=7, drawn=False)


def test_joints_are_metres_from_the_pelvis_and_project_onto_the_2d_ones(tree, converted):
    root, truth = tree
    outcome, data = converted("h36m", root)
    assert [str(p).partition(":")[0] for p in outcome.problems] == ["S6", "S7", "S8"]
    assert [r.photo for r in data] == list(truth) and len(data) == 2 * 2 * 2
    here = Skeleton.read("h36m_train")
    for row in data:
        true = truth[row.photo]
        xyz, px = (here_points(k, here) for k in (row.keypoints3d, row.keypoints2d))
        assert (xyz[:, 3] == 1).all() and (px[:, 2] == 1).all()
        root_m = true["points_m"][JOINTS[0]]
        np.testing.assert_allclose(xyz[:, :3], true["points_m"][list(JOINTS)] - root_m, atol=1e-6)
        projected = (xyz[:, :3] + root_m) @ K.T
        np.testing.assert_allclose(projected[:, :2] / projected[:, 2:], px[:, :2], atol=1e-3)  # pixels


def here_points(keypoints, skeleton):
    """Rows of a convention out of human_data's."""
    return keypoints.xyc[list(keypoints.skeleton.indices(skeleton.names))]


def test_boxes_are_nine_tenths_of_the_silhouette(tree, converted):
    root, truth = tree
    _, data = converted("h36m", root)
    for row in data:
        left, top, right, bottom = truth[row.photo]["silhouette_box"]
        want = [(left + right) / 2, (top + bottom) / 2, 0.9 * (right - left), 0.9 * (bottom - top)]
        x, y, w, h = row.box_xywh_px
        np.testing.assert_allclose([x + w / 2, y + h / 2, w, h], want)


def test_the_quirks_drop_two_names_and_all_2d_points(tree, converted):
    root, _ = tree
    _, data = converted("h36m", root, reference_quirks=True)
    assert "keypoints2d" not in data.keys()  # noqa: SIM118
    assert data.column("keypoints3d").shape == (8, 15, 4)
    assert int(data.column("keypoints3d_mask").sum()) == 15


def test_photos_in_other_places_and_broken_files(tmp_path, people, converted):
    root = tmp_path / "h36m"
    write_h36m(root, people, frames=6, subjects=(1,), drawn=False)
    stem = "S1_Walking.60457274"
    folder = root / "S1/images" / stem
    for photo in folder.iterdir():
        photo.rename(root / "S1/images" / photo.name)
    pose = root / "S1/MyPoseFeatures/D3_Positions_mono/Directions 1.54138969.cdf"
    pose.write_bytes(pose.read_bytes()[:-40])
    outcome, data = converted("h36m", root)
    assert [r.photo for r in data] == [f"S1/images/{stem}_{i:06d}.jpg" for i in (1, 6)]
    assert len(outcome.problems) == 5 and "Directions 1.54138969.cdf" in str(outcome.problems[0])
    outcome, _ = converted("h36m", tmp_path)
    assert "has no poses" in str(outcome.problems[0])


def test_silhouettes_by_hand():
    mask = np.zeros((20, 30), np.uint8)
    mask[5:15, 10] = 1
    mask[5, 10:30] = 1
    np.testing.assert_allclose(silhouette_box(mask), [11, 5.5, 18, 9])
    assert silhouette_box(np.zeros((4, 4))) is None
