import pytest

from openexpose.cli.main import main
from openexpose.data.humandata import HumanData
from tests.raw_trees.people import person
from tests.raw_trees.pw3d import write_pw3d


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A data tree with a miniature 3DPW, one photo of which is missing."""
    root = tmp_path / "datasets/3DPW"
    write_pw3d(root, [[person(0, drawn=False)]], frames=3, lost=(), drawn=False)
    (root / "imageFiles/downtown_walk_00/image_00002.jpg").unlink()
    monkeypatch.setenv("OPENEXPOSE_DATA", str(tmp_path))
    return tmp_path


def test_the_tree_says_where_from_and_where_to(data, capsys):
    assert main(["data", "convert", "pw3d", "--workers", "0"]) == 0
    said = capsys.readouterr().out
    assert "image_00002.jpg: photo is missing; row left out" in said
    assert "2 rows, 1 problem," in said and "pw3d_test.npz" in said
    assert len(HumanData.open(data / "preprocessed_datasets/pw3d_test.npz")) == 2


def test_strict_and_options(data, capsys):
    arguments = ["data", "convert", "pw3d", "--workers", "0", "--out", str(data / "out")]
    assert main([*arguments, "--strict", "--most", "0"]) == 1
    said = capsys.readouterr().out
    assert "and 1 more" in said and "pw3d_test not written (--strict)" in said
    assert not list((data / "out").glob("*.npz"))
    assert main([*arguments, "--strict", "--no-photos", "--root", str(data / "datasets/3DPW")]) == 0


def test_without_a_name_the_sets_are_listed(capsys):
    assert main(["data", "convert"]) == 0
    assert "ehf" in capsys.readouterr().out
    assert main(["data", "convert", "nothing"]) == 2
    assert "choose one of" in capsys.readouterr().err
