"""FFHQ with FLAME fits: parameters and points come back, four fifths and the rest, bad rows by name."""

from pathlib import Path

import numpy as np
import pytest
import torch

from openexpose import images
from openexpose.body import load_model
from openexpose.body.params import join_pose
from openexpose.geometry.rotations import axis_angle_to_matrix
from openexpose.skeleton import Skeleton
from tests.raw_trees.drawing import blank_photo, pinhole
from tests.raw_trees.ffhq import Heads, write_ffhq
from tests.raw_trees.running import Made, made

FLAME = Skeleton.read("flame")


@pytest.fixture(scope="module")
def truth_and_made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Heads, Made]:
    folder = tmp_path_factory.mktemp("ffhq")
    truth = write_ffhq(folder / "ffhq", drawn=False)
    return folder / "ffhq", truth, made("ffhq", folder / "ffhq", folder / "out")


def test_every_value_comes_back(truth_and_made: tuple[Path, Heads, Made]) -> None:
    root, truth, run = truth_and_made
    assert run.problems == ()
    rows = [*run.rows("ffhq_flame_train"), *run.rows("ffhq_flame_val")]
    assert len(run.files["ffhq_flame_train"]) == 4 and len(rows) == 5
    for i, row in enumerate(rows):
        assert (root / row.photo).is_file() and row.photo == f"ffhq_global_images_1024/{truth.names[i]}"
        assert row.box_xywh_px.tolist() == [0, 0, 1024, 1024] and row.family == "smplx"
        points = row.keypoints2d.as_skeleton(FLAME).xyc
        np.testing.assert_allclose(points[:, :2], truth.points_px[i])
        assert (points[:, 2] == 1).all()
        stored = {"global_orient": truth.global_pose, "jaw_pose": truth.jaw_pose, "betas": truth.betas}
        for name, value in {**stored, "expression": truth.expression}.items():
            np.testing.assert_allclose(row.params[name], value[i])


def test_the_parameters_make_the_points(truth_and_made: tuple[Path, Heads, Made]) -> None:
    """Posed by the stored parameters and projected, the head's points are those of the file: axes and units agree."""
    _, truth, run = truth_and_made
    model = load_model("free-head", num_betas=None, num_expression=50)
    row = run.rows("ffhq_flame_val")[0]
    R = {k: axis_angle_to_matrix(torch.from_numpy(row.params[k][None]).float()) for k in ("global_orient", "jaw_pose")}
    betas = torch.from_numpy(row.params["betas"][: model.num_betas]).float()
    shaped = model.shape(betas, torch.from_numpy(row.params["expression"]).float())
    points = shaped.pose(join_pose("flame", R)).keypoints_m().numpy()
    shift = (truth.joints_m[4] - points).mean(0)  # the files hold no translation
    px = pinhole(3000.0, 1024, 1024).project(points + shift)
    np.testing.assert_allclose(px, row.keypoints2d.as_skeleton(FLAME).xyc[:, :2], atol=0.01)


def test_eye_joints_have_the_names_of_the_eye_points(truth_and_made: tuple[Path, Heads, Made]) -> None:
    """As in the reference (spec, appendix A): FLAME's eye joints are `left_eye`, not `left_eyeball`."""
    _, truth, run = truth_and_made
    human = Skeleton.read("human_data")
    stored = run.rows("ffhq_flame_train")[0].keypoints2d.as_skeleton(human).xyc
    np.testing.assert_allclose(stored[human.index("left_eye"), :2], truth.points_px[0, 3])
    assert stored[human.index("left_eyeball"), 2] == 0


def spoil(root: Path, **changes: object) -> None:
    with np.load(root / "ffhq_annotations.npz") as z:
        arrays = {**z, **changes}
    np.savez(root / "ffhq_annotations.npz", **{k: v for k, v in arrays.items() if v is not None})


def test_bad_rows_are_left_out_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "ffhq"
    truth = write_ffhq(root, count=10, drawn=False)
    blank_photo(root / "ffhq_global_images_1024" / truth.names[1], 256, 256)
    (root / "ffhq_global_images_1024" / truth.names[2]).unlink()
    names = np.array(truth.names, object)
    names[3], jaw = "../../../etc/passwd", truth.jaw_pose.copy()
    jaw[4] = np.inf
    spoil(root, img_fnames=names.astype(str), jaw_pose=jaw)
    monkeypatch.setattr(images.Photo, "decode", lambda *a, **k: pytest.fail("a photo was decoded"))
    run = made("ffhq", root, tmp_path / "out", "ffhq_flame_train")
    assert [Path(r.photo).name for r in run.rows("ffhq_flame_train")] == [truth.names[i] for i in (0, 5, 6, 7)]
    for said in ("256 x 256, annotated at 1024 x 1024", "missing", "leads out of its folder", "jaw_pose not finite"):
        assert sum(said in p for p in run.problems) == 1
    unlooked = made("ffhq", root, tmp_path / "unlooked", "ffhq_flame_train", photos=False)
    assert len(unlooked.files["ffhq_flame_train"]) == 6


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"jaw_pose": None}, "has no \\['jaw_pose'\\]"),
        ({"betas": np.zeros((4, 100))}, "differ in length"),
        ({"keypoints2d": np.zeros((5, 68, 2))}, "N x 73 x 2"),
    ],
)
def test_other_versions_are_refused(tmp_path: Path, changes: dict[str, object], said: str) -> None:
    write_ffhq(tmp_path / "ffhq", drawn=False)
    spoil(tmp_path / "ffhq", **changes)
    run = made("ffhq", tmp_path / "ffhq", tmp_path / "out")
    assert not run.files and len(run.problems) == 2
    with pytest.raises(AssertionError, match=said):
        raise AssertionError(run.problems[0])


def test_a_truncated_archive_is_refused(tmp_path: Path) -> None:
    write_ffhq(tmp_path / "ffhq", drawn=False)
    file = tmp_path / "ffhq" / "ffhq_annotations.npz"
    file.write_bytes(file.read_bytes()[:-300])
    run = made("ffhq", tmp_path / "ffhq", tmp_path / "out", "ffhq_flame_train")
    assert not run.files and "ffhq_annotations.npz" in run.problems[0] and not list((tmp_path / "out").glob("*.npz"))
