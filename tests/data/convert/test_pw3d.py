import pickle

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from openexpose.body import load_model
from openexpose.body.params import join_pose
from openexpose.geometry.rotations import axis_angle_to_matrix
from openexpose.skeleton import Skeleton
from tests.raw_trees.pw3d import K, write_pw3d


@pytest.fixture(scope="module")
def tree(tmp_path_factory, people):
    root = tmp_path_factory.mktemp("raw") / "3DPW"
    return root, write_pw3d(root, [people[:2], people[2:]], frames=4, lost=(1,), drawn=False)


def test_rows_are_valid_frames_person_by_person(tree, converted):
    root, truth = tree
    outcome, data = converted("pw3d", root)
    assert outcome.problems == [] and outcome.rows == len(data) == 3 * 3
    assert data.family == "smpl" and data.column("meta/gender").tolist() == ["m"] * 3 + ["f"] * 3 + ["m"] * 3
    frames = [0, 2, 3]
    assert [r.photo for r in data][:3] == [f"imageFiles/downtown_walk_00/image_{f:05d}.jpg" for f in frames]
    orient = np.concatenate([t["global_orient"][p, frames] for t in truth.values() for p in range(len(t["shape"]))])
    got = Rotation.from_rotvec(np.array(data.column("smpl/global_orient")))
    angles = (got.inv() * Rotation.from_rotvec(orient)).magnitude()
    assert angles.max() < 1e-9  # radians
    shape = np.concatenate([np.repeat(t["shape"], 3, 0) for t in truth.values()])
    np.testing.assert_allclose(data.column("smpl/betas"), shape)
    body = np.concatenate([np.repeat(t["body_pose"], 3, 0) for t in truth.values()])
    np.testing.assert_allclose(data.column("smpl/body_pose").reshape(-1, 69), body)


def test_the_parameters_put_the_joints_where_the_camera_saw_them(tree, converted, people):
    """SMPL's first 22 joints are SMPL-X's: FreeBody in a row's pose, moved to the pelvis, is the person."""
    root, truth = tree
    _, data = converted("pw3d", root)
    model = load_model("free")
    points = truth["downtown_walk_00"]["points_m"][0][[0, 2, 3]]
    for row, want in zip([data.row(i, extras=True) for i in range(3)], points, strict=True):
        R = {
            "global_orient": axis_angle_to_matrix(torch.from_numpy(row.params["global_orient"])[None]).float(),
            "body_pose": axis_angle_to_matrix(torch.from_numpy(row.params["body_pose"][:21])).float(),
        }
        shaped = model.shape(torch.from_numpy(row.params["betas"]).float())
        joints = shaped.pose(join_pose("smplx", R)).joints_m.numpy()[:22]
        joints = joints - joints[0] + want[0]
        np.testing.assert_allclose(joints, want[:22], atol=1e-4)  # metres
        px = (joints @ K.T)[:, :2] / joints[:, 2:]
        x, y, w, h = row.box_xywh_px
        inside = (px >= [x, y]) & (px <= [x + w, y + h])
        assert inside.all() or w < 1
        camera = {k: row.extras[f"cam_param/{k}"] for k in "KRT"}
        np.testing.assert_allclose(camera["K"], K)
        assert np.linalg.det(camera["R"]) == pytest.approx(1)


def test_the_box_surrounds_detected_points(tree, converted):
    root, truth = tree
    _, data = converted("pw3d", root)
    content = pickle.loads((root / "sequenceFiles/test/downtown_walk_00.pkl").read_bytes())  # of our own making
    seen = content["poses2d"][1][2]
    known = seen[:2, seen[2] > 0]
    assert known.shape[1] == len(Skeleton.read("pw3d")) - 1
    x, y, w, h = data.row(4).box_xywh_px
    np.testing.assert_allclose([w, h], 1.2 * np.ptp(known, axis=1))
    np.testing.assert_allclose([x + w / 2, y + h / 2], (known.min(1) + known.max(1)) / 2)


def test_damaged_sequences_and_missing_photos_cost_only_themselves(tmp_path, people, converted):
    root = tmp_path / "3DPW"
    write_pw3d(root, [people[:1], people[1:2], people[2:]], frames=2, lost=(), drawn=False)
    path = root / "sequenceFiles/test/downtown_walk_01.pkl"
    path.write_bytes(path.read_bytes()[:-200])
    (root / "imageFiles/downtown_walk_02/image_00001.jpg").unlink()
    outcome, data = converted("pw3d", root)
    assert len(data) == 3 and len(outcome.problems) == 2
    assert "downtown_walk_01.pkl" in str(outcome.problems[0]) and "photo is missing" in str(outcome.problems[1])
    outcome, data = converted("pw3d", root, photos=False)
    assert len(data) == 4 and len(outcome.problems) == 1


def test_files_of_another_version_are_refused_with_their_keys(tmp_path, converted):
    folder = tmp_path / "3DPW/sequenceFiles/test"
    folder.mkdir(parents=True)
    (folder / "a.pkl").write_bytes(pickle.dumps({"poses": [], "sequence": "a"}, protocol=2))
    outcome, data = converted("pw3d", tmp_path / "3DPW", photos=False)
    assert data is None and "has no ['betas'" in str(outcome.problems[0])
    outcome, _ = converted("pw3d", tmp_path)
    assert "is no folder" in str(outcome.problems[0])
