"""Stirling/ESRC: scans, landmarks and boxes come back in their units; the true head scores zero; foreign formats."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openexpose import images
from openexpose.body import load_model
from openexpose.data.convert.stirling import read_landmarks, read_obj_vertices
from openexpose.data.humandata import HumanData
from openexpose.errors import AssetError, DataError
from openexpose.evaluate import stirling
from openexpose.skeleton import Skeleton
from tests.raw_trees.running import Made, made
from tests.raw_trees.stirling import SIZES_PX, Faces, write_stirling

FACE3D = Skeleton.read("face3d")
HQ, LQ = "stirling_ESRC3D_HQ", "stirling_ESRC3D_LQ"


@pytest.fixture(scope="module")
def truth_and_made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Faces, Made]:
    folder = tmp_path_factory.mktemp("stirling")
    truth = write_stirling(folder / "stirling")
    return folder / "stirling", truth, made("stirling", folder / "stirling", folder / "out")


@pytest.fixture
def root(truth_and_made: tuple[Path, Faces, Made], tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(truth_and_made[0], tmp_path / "stirling"))


def test_every_value_comes_back(truth_and_made: tuple[Path, Faces, Made]) -> None:
    root, truth, run = truth_and_made
    assert run.problems == () and {k: len(v) for k, v in run.files.items()} == {HQ: 6, LQ: 6}
    for output, quality in ((HQ, "HQ"), (LQ, "LQ")):
        rows = run.rows(output)
        assert tuple(Path(r.photo).name for r in rows) == truth.photos[quality]
        for row in rows:
            subject = Path(row.photo).name[:5]
            assert (root / row.photo).is_file()
            width, height = SIZES_PX[quality]
            assert row.box_xywh_px.tolist() == [0, 0, width - 1, height - 1]
            marks = row.keypoints3d.as_skeleton(FACE3D).xyc
            np.testing.assert_allclose(marks[:, :3], truth.landmarks_mm[subject])
            assert (marks[:, 3] == 1).all()
            np.testing.assert_allclose(row.extras["vertices"], truth.scan_mm[subject], atol=2e-5)  # mm, float32


def test_the_scanned_head_scores_zero(truth_and_made: tuple[Path, Faces, Made]) -> None:
    """The head whose scan was written lies on it: landmarks, scan and model agree in unit, order and axes."""
    _, truth, run = truth_and_made
    model = load_model("free-head", num_betas=None)
    rows = run.rows(HQ)
    betas = np.stack([truth.betas[Path(r.photo).name[:5]] for r in rows])
    posed = model.shape(torch.from_numpy(betas).float()).pose()
    scans = [stirling.Scan(r.extras["vertices"], r.keypoints3d.as_skeleton(FACE3D).xyc[:, :3]) for r in rows]
    found = stirling.outcome(posed, scans, protocol="mmhuman3d", quality="HQ")
    assert found.score("3DRMSE").value < 0.01  # mm
    wrong = model.shape(torch.from_numpy(betas[::-1].copy()).float()).pose()
    assert stirling.outcome(wrong, scans, protocol="mmhuman3d", quality="HQ").score("3DRMSE").value > 0.1


def test_no_photo_is_decoded(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images.Photo, "decode", lambda *a, **k: pytest.fail("a photo was decoded"))
    assert len(made("stirling", root, tmp_path / "out").files) == 2


def test_subjects_without_scan_or_landmarks_are_left_out(root: Path, tmp_path: Path) -> None:
    (root / "F_3D_N" / "F1001_N.obj").unlink()
    (root / "annotations" / "M_3D_N" / "M1003_N.lnd").unlink()
    (root / "Subset_2D_FG2018" / "HQ" / "readme.jpg").write_bytes(b"x")
    (root / "Subset_2D_FG2018" / "HQ" / "F1012_HQ01.jpg").write_bytes(b"")
    run = made("stirling", root, tmp_path / "out", HQ)
    assert [Path(r.photo).name for r in run.rows(HQ)] == ["F1012_HQ02.jpg"]
    for said in ("F1001_N.obj: missing; 2 photos", "M1003_N.lnd: missing; 2", "readme.jpg: its name", "0 bytes"):
        assert sum(said in p for p in run.problems) == 1, said
    assert len(run.problems) == 4
    assert not made("stirling", root, tmp_path / "strict", HQ, strict=True).files


def test_names_in_any_case_and_nested_folders_are_found(root: Path, tmp_path: Path) -> None:
    (root / "F_3D_N" / "F1001").mkdir()
    (root / "F_3D_N" / "F1001_N.obj").rename(root / "F_3D_N" / "F1001" / "f1001_n.OBJ")
    run = made("stirling", root, tmp_path / "out", HQ)
    assert run.problems == () and len(run.files[HQ]) == 6


def test_other_units_and_strangers_are_refused(root: Path, tmp_path: Path) -> None:
    obj, lnd = root / "F_3D_N" / "F1001_N.obj", root / "annotations" / "F_3D_N" / "F1012_N.lnd"
    scan = read_obj_vertices(obj) / 1000
    obj.write_text("".join(f"v {x} {y} {z}\n" for x, y, z in scan))
    np.savetxt(lnd, np.column_stack([np.arange(7), read_landmarks(lnd) + 500]), fmt="%g")
    run = made("stirling", root, tmp_path / "out", HQ)
    assert {Path(r.photo).name[:5] for r in run.rows(HQ)} == {"M1003"}
    assert sum("in millimetres" in p for p in run.problems) == sum("do not belong" in p for p in run.problems) == 1


def test_scans_of_one_size_become_one_array(root: Path, tmp_path: Path) -> None:
    for name in ("F1012", "M1003"):
        for photo in (root / "Subset_2D_FG2018" / "HQ").glob(f"{name}*"):
            photo.unlink()
    made("stirling", root, tmp_path / "out", HQ)
    with np.load(tmp_path / "out" / f"{HQ}.npz", allow_pickle=True) as z:
        assert z["vertices"].ndim == 3 and z["vertices"].dtype == np.float32
    assert HumanData.open(tmp_path / "out" / f"{HQ}.npz").row(1, extras=True).extras["vertices"].ndim == 2


def test_obj_dialects(tmp_path: Path) -> None:
    file = tmp_path / "a.obj"
    file.write_bytes(b"# v 9 9 9\r\nv 1 2 3\r\nvn 0 0 1\r\nv\t-4e1  5.5 6 0.1 0.2 0.3\r\nv 7 8 9 1.0\r\nf 1 2 3\r\n")
    assert read_obj_vertices(file).tolist() == [[1, 2, 3], [-40, 5.5, 6], [7, 8, 9]]


@pytest.mark.parametrize(
    "content", [b"", b"ply\n", b"v 1 2\n", b"v 1 2 x\n", b"v 1 2 nan\n", b"v 1 2 3\nv 1e999 2 3\n"]
)
def test_damaged_scans_are_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "a.obj"
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.obj"):
        read_obj_vertices(file)


def test_landmark_files_with_other_counts_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.lnd"
    file.write_text("0 1 2 3\n" * 6)
    with pytest.raises(DataError, match="6 landmarks"):
        read_landmarks(file)
    file.write_text("0 1 2 3\n" * 6 + "nose 1 2\n")
    with pytest.raises(DataError, match="line 7"):
        read_landmarks(file)
    with pytest.raises(AssetError):
        read_landmarks(tmp_path / "none.lnd")


@given(junk=st.binary(max_size=200), at=st.integers(0, 150), obj=st.booleans())
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_text_gives_points_or_a_data_error(tmp_path: Path, junk: bytes, at: int, obj: bool) -> None:
    good = b"".join(b"%s %d 2.5 -3\n" % (b"v" if obj else b"0", i) for i in range(7))
    file = tmp_path / "damaged"
    file.write_bytes(good[:at] + junk + good[at:])
    try:
        points = (read_obj_vertices if obj else read_landmarks)(file)
        assert np.isfinite(points).all() and points.shape[1] == 3
    except DataError as e:
        assert "damaged" in str(e)
