"""FreiHAND: parameters, joints and names come back; splits; what is wrong with raw files is said."""

import atexit
import json
import shutil
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from openexpose import images
from openexpose.body import load_model
from openexpose.body.params import join_pose
from openexpose.data.convert.common import Options
from openexpose.data.convert.freihand import jobs
from openexpose.data.dataset import HumanDataStore
from openexpose.data.targets import hands_are_misnamed
from openexpose.errors import DataError
from openexpose.geometry.rotations import axis_angle_to_matrix
from openexpose.skeleton import Skeleton
from tests.raw_trees.drawing import blank_photo
from tests.raw_trees.freihand import MEAN_POSE, Hands, write_freihand, write_means
from tests.raw_trees.running import Made, made

FREIHAND, MANO = Skeleton.read("freihand"), Skeleton.read("mano")
TRAINING = 5


@cache
def pristine() -> tuple[Path, dict[str, Hands]]:
    """A tree that no test changes."""
    folder = Path(tempfile.mkdtemp(prefix="freihand"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    write_means(folder / "body_models")
    return folder, write_freihand(folder / "FreiHand", training=TRAINING, evaluation=3, drawn=False)


def tree(folder: Path) -> dict[str, Hands]:
    """A copy to spoil."""
    shutil.copytree(pristine()[0], folder, dirs_exist_ok=True)
    return pristine()[1]


@pytest.fixture(scope="module")
def truth_and_made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Hands], Made]:
    folder, truth = pristine()
    root = folder / "FreiHand"
    return root, truth, made("freihand", root, tmp_path_factory.mktemp("out"))


def number(photo: str) -> int:
    return int(Path(photo).stem)


def test_every_value_comes_back(truth_and_made: tuple[Path, dict[str, Hands], Made]) -> None:
    root, truth, run = truth_and_made
    assert run.problems == ()
    assert {k: len(v) for k, v in run.files.items()} == {"freihand_train": 16, "freihand_val": 4, "freihand_test": 3}
    for output in run.files:
        hands = truth["evaluation" if output == "freihand_test" else "training"]
        for row in run.rows(output):
            at = number(row.photo) % len(hands.betas)
            assert (root / row.photo).is_file() and row.box_xywh_px.tolist() == [0, 0, 224, 224]
            np.testing.assert_allclose(row.keypoints3d.as_skeleton(FREIHAND).xyc[:, :3], hands.joints_m[at], atol=1e-12)
            np.testing.assert_allclose(row.keypoints2d.as_skeleton(FREIHAND).xyc[:, :2], hands.joints_px[at], atol=1e-9)
            assert set(row.params) == {"global_orient", "right_hand_pose", "betas"} and row.family == "smplx"
            np.testing.assert_allclose(row.params["right_hand_pose"], hands.hand_pose[at], atol=1e-12)  # absolute
            np.testing.assert_allclose(row.params["global_orient"], hands.global_orient[at])
            np.testing.assert_allclose(row.params["betas"], hands.betas[at])


def test_the_parameters_make_the_joints_and_the_joints_lie_on_the_points(
    truth_and_made: tuple[Path, dict[str, Hands], Made],
) -> None:
    _, truth, run = truth_and_made
    model = load_model("free-hand")
    for at, row in enumerate(run.rows("freihand_test")):
        R = {"global_orient": row.params["global_orient"][None], "hand_pose": row.params["right_hand_pose"]}
        R = join_pose("mano", {k: axis_angle_to_matrix(torch.from_numpy(v).float()) for k, v in R.items()})
        posed = model.shape(torch.from_numpy(row.params["betas"]).float()).pose(R).keypoints_m().numpy()
        joints = row.keypoints3d.as_skeleton(FREIHAND).xyc[:, :3]
        np.testing.assert_allclose(posed - posed[0], joints - joints[0], atol=2e-6)  # m
        uvw = joints @ truth["evaluation"].K[at].T
        points = row.keypoints2d.as_skeleton(FREIHAND).xyc[:, :2]
        np.testing.assert_allclose(uvw[:, :2] / uvw[:, 2:], points, atol=1e-9)  # px


def test_the_points_lie_on_the_photographed_hand(tmp_path: Path) -> None:
    write_means(tmp_path / "body_models")
    root = tmp_path / "FreiHand"
    write_freihand(root, training=1, evaluation=2)
    rows = made("freihand", root, tmp_path / "out", "freihand_test").rows("freihand_test")
    for row in rows:
        photo = np.asarray(Image.open(root / row.photo), np.int64)
        hand = np.abs(photo - photo[0, 0]).max(-1) > 25
        x, y = np.rint(row.keypoints2d.as_skeleton(FREIHAND).xyc[1:, :2]).astype(int).T
        assert hand[y, x].mean() > 0.85 and hand.mean() < 0.3


def test_validation_shows_other_hands(truth_and_made: tuple[Path, dict[str, Hands], Made]) -> None:
    _, _, run = truth_and_made
    hands = {k: {number(r.photo) % TRAINING for r in run.rows(k)} for k in ("freihand_train", "freihand_val")}
    assert hands == {"freihand_train": {0, 1, 2, 3}, "freihand_val": {4}}


def test_the_reference_validates_on_hands_it_trained_on(tmp_path: Path) -> None:
    tree(tmp_path)
    run = made("freihand", tmp_path / "FreiHand", tmp_path / "out", quirks=True)
    photos = {k: [number(r.photo) for r in run.rows(k)] for k in ("freihand_train", "freihand_val")}
    assert photos == {"freihand_train": list(range(16)), "freihand_val": list(range(16, 20))}


def test_the_reference_names_fingers_wrongly(tmp_path: Path) -> None:
    truth = tree(tmp_path)["evaluation"]
    files = {
        quirks: made("freihand", tmp_path / "FreiHand", tmp_path / str(quirks), "freihand_test", quirks=quirks).files[
            "freihand_test"
        ]
        for quirks in (False, True)
    }
    wrong = files[True].row(0)
    np.testing.assert_allclose(wrong.keypoints3d.as_skeleton(MANO).xyc[:, :3], truth.joints_m[0])  # MANO's names
    assert hands_are_misnamed(wrong.keypoints3d) and hands_are_misnamed(wrong.keypoints2d)
    assert not hands_are_misnamed(files[False].row(0).keypoints3d)
    for data in files.values():  # a store that is told to expect it reads either file
        row = HumanDataStore(data, tmp_path, misnamed_hands=True).row(0)
        np.testing.assert_allclose(row.keypoints2d.as_skeleton(FREIHAND).xyc[:, :2], truth.joints_px[0], atol=1e-9)


def test_without_the_mean_hand_nothing_is_invented(tmp_path: Path) -> None:
    write_freihand(tmp_path / "FreiHand", training=1, evaluation=1, drawn=False)
    run = made("freihand", tmp_path / "FreiHand", tmp_path / "out", "freihand_test")
    assert not run.files and len(run.problems) == 1 and "--body-models" in run.problems[0]
    assert not (tmp_path / "out" / "freihand_test.npz").exists()
    assert np.abs(MEAN_POSE).max() > 0.1  # rad: the tests above would see it missing


def test_bad_rows_are_left_out_by_name(tmp_path: Path) -> None:
    tree(tmp_path)
    root = tmp_path / "FreiHand"
    (root / "training" / "rgb" / "00000001.jpg").unlink()
    blank_photo(root / "training" / "rgb" / "00000002.jpg", 320, 240)
    (root / "training" / "rgb" / "00000003.jpg").write_bytes(b"\xff\xd8\xff")
    mano = json.loads((root / "training_mano.json").read_text())
    mano[0][0][5] = float("nan")
    (root / "training_mano.json").write_text(json.dumps(mano))
    run = made("freihand", root, tmp_path / "out", "freihand_train")
    assert [number(r.photo) for r in run.rows("freihand_train")] == [i for i in range(20) if i % 5 != 4][4:][1:4] + [
        i for i in range(9, 20) if i % 5 not in (0, 4)
    ]
    said = "\n".join(run.problems)
    assert "00000001.jpg: photo is missing" in said and "320 x 240, annotated at 224 x 224" in said
    assert "damaged" in said and "annotation 0 is not finite" in said and len(run.problems) == 3 + 4
    strict = made("freihand", root, tmp_path / "strict", "freihand_train", strict=True)
    assert not strict.files and strict.problems == run.problems
    assert not (tmp_path / "strict" / "freihand_train.npz").exists()


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("evaluation_K.json", "[[[1, 2, 3", "no whole json"),
        ("evaluation_K.json", "[[1, 2], [3]]", "N x 3 x 3"),
        ("evaluation_xyz.json", "[]", "3 x 21 x 3"),
        ("evaluation_mano.json", '{"a": 1}', "3 x 1 x 61"),
        ("evaluation_mano.json", None, "FreiHAND_pub_v2_eval.zip"),
        ("evaluation_K.json", "[" * 100_000, "no whole json"),
    ],
)
def test_damaged_annotations_are_named_once(tmp_path: Path, file: str, content: str | None, said: str) -> None:
    tree(tmp_path)
    path = tmp_path / "FreiHand" / file
    path.unlink()
    if content is not None:
        path.write_text(content)
    run = made("freihand", tmp_path / "FreiHand", tmp_path / "out", "freihand_test")
    assert not run.files and len(run.problems) == 1
    assert file in run.problems[0] and said in run.problems[0]


def test_no_photo_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path)
    monkeypatch.setattr(images.Photo, "decode", lambda *a, **k: pytest.fail("a photo was decoded"))
    assert len(made("freihand", tmp_path / "FreiHand", tmp_path / "out").files) == 3


def test_pieces_are_made_of_their_files(tmp_path: Path) -> None:
    tree(tmp_path)
    options = Options(tmp_path / "FreiHand", body_models=tmp_path / "body_models")
    assert {p.name for j in jobs("freihand_test", options) for p in j.sources} == {
        "evaluation_K.json", "evaluation_xyz.json", "evaluation_mano.json",
    }  # fmt: skip
    with pytest.raises(DataError, match="no folder"):
        jobs("freihand_test", replace(options, root=tmp_path / "elsewhere"))
