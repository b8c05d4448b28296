import numpy as np
import pytest
from PIL import Image

from openexpose.cli.main import main
from openexpose.data.convert.common import Options
from openexpose.data.convert.run import convert
from openexpose.data.humandata_write import write_records
from tests.data.toys import ToyStore
from tests.raw_trees.every import TREES


@pytest.fixture
def folder(tmp_path):
    toy = ToyStore(3)
    for i in range(3):
        (tmp_path / f"{i}.png").write_bytes(toy.photo(i))
    write_records(tmp_path / "toy.npz", [toy.row(i) for i in range(3)], extras={"config": "CE"})
    return tmp_path


def test_show_prints_keys_counts_conventions_and_ranges(folder, capsys):
    assert main(["data", "show", str(folder / "toy.npz")]) == 0
    out = capsys.readouterr().out
    for words in (
        "3 rows",
        "keypoints2d",
        "3 x 144 x 3",
        "human_data, 144 of 190 points",
        "smplx/body_pose",
        "CE",
        "0.png",
    ):
        assert words in out


def test_check_says_yes_or_names_what_is_wrong(folder, capsys):
    args = ["data", "check", str(folder / "toy.npz"), "--photos", str(folder), "--decode"]
    assert main(args) == 0
    assert "3 rows, 0 problems" in capsys.readouterr().out
    (folder / "1.png").write_bytes(b"")
    assert main(args) == 1
    out = capsys.readouterr().out
    assert "row 1, image_path" in out and "1 of 3 rows" in out
    assert main(["data", "check", str(folder / "toy.npz")]) == 0
    assert "photos not checked" in capsys.readouterr().out


def test_look_writes_a_sheet_even_with_bad_photos(folder, capsys):
    (folder / "1.png").write_bytes(b"")
    out = folder / "sheet.png"
    args = ["data", "look", str(folder / "toy.npz"), "--photos", str(folder), "--out", str(out), "--cell-px", "64"]
    assert main([*args, "--rows", "3", "--versions", "1", "--layout", "body"]) == 0
    assert "1 rows were skipped" in capsys.readouterr().out
    assert np.asarray(Image.open(out)).shape[1] == 3 * (64 + 8) + 8


def test_look_draws_a_hand_with_a_hand_model(tmp_path):
    root = TREES["freihand"](tmp_path, 4, False)
    convert("freihand", Options(root, body_models=tmp_path / "body_models"), tmp_path, outputs=("freihand_test",))
    out = tmp_path / "sheet.png"
    args = ["data", "look", str(tmp_path / "freihand_test.npz"), "--photos", str(root), "--out", str(out)]
    assert main([*args, "--model", "free-hand", "--versions", "0", "--cell-px", "64"]) == 0
    assert np.asarray(Image.open(out)).shape[1] == 3 * (64 + 8) + 8


@pytest.mark.parametrize(
    "wrong",
    [
        ["check", "toy.npz", "--decode"],
        ["look", "toy.npz", "--out", "sheet.txt"],
        ["look", "toy.npz", "--rows", "0"],
        ["look", "toy.npz", "--first", "7"],
        ["show", "none.npz"],
    ],
)
def test_what_cannot_be_done_is_refused(folder, wrong, capsys):
    args = [str(folder / a) if a.endswith((".npz", ".txt")) else a for a in wrong]
    assert main(["data", *args]) == 2
    assert "error" in capsys.readouterr().err
