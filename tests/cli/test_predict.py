"""The command: results for all photos, an exit status and a summary that say what was skipped, clear refusals."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from openexpose.cli.main import main
from openexpose.cli.predict import Predict, run
from openexpose.errors import ConfigError, DataError
from tiny_weights import blobs, save_tiny


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("weights") / "tiny.safetensors")


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(3):
        Image.fromarray(blobs(i)).save(folder / f"p{i}.png")
    return folder


def document(out, name: str) -> dict:
    return json.loads((out / name / "result.json").read_text())


def test_photos_in_results_out(photos, weights, tmp_path, capsys):
    (photos / "bad.jpg").write_bytes(b"\xff\xd8 not really")
    out = tmp_path / "out"
    args = ["predict", str(photos), "--out", str(out), "--weights", str(weights), "--detector", "whole"]
    args += ["--no-pictures", "--mesh", "ply"]
    assert main(args) == 1  # one photo was skipped
    text = capsys.readouterr().err
    assert "3 of 4 photos done, 3 people" in text and "1 skipped" in text and "bad.jpg" in text
    first = document(out, "p0")
    assert first["models"]["detector"] == "whole" and len(first["people"]) == 1
    files = ["person_0.ply", "person_0_amass.npz", "result.json", "result.npz"]
    assert sorted(p.name for p in (out / "p0").iterdir()) == files
    assert sorted(first["files"]) == ["person_0.ply", "person_0_amass.npz", "result.npz"]
    (photos / "bad.jpg").unlink()
    assert main([*args, "--resume"]) == 0
    assert "3 were complete already" in capsys.readouterr().err


def test_boxes_standard_input_and_focal_length(photos, weights, tmp_path, capsys, monkeypatch):
    boxes = tmp_path / "boxes.json"
    boxes.write_text(json.dumps({"p0.png": [[10, 10, 90, 110], [20, 20, 150, 100]], "p1.png": []}))
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{photos / 'p0.png'}\n{photos / 'p1.png'}\n"))
    config = Predict(("-",), out=tmp_path / "out", weights=weights, boxes=boxes, focal=321.0, mesh=(), page=False)
    assert run(config) == 0
    assert "in 1 nobody was found" in capsys.readouterr().err
    first = document(tmp_path / "out", "p0")
    assert [p["box_px"] for p in first["people"]] == [[10, 10, 90, 110], [20, 20, 150, 100]]
    assert first["camera"]["focal_px"] == 321 and first["camera"]["focal_from"] == "given"
    assert document(tmp_path / "out", "p1")["people"] == []
    assert (
        run(Predict((str(photos),), out=tmp_path / "two", weights=weights, boxes=boxes, pictures=False)) == 1
    )  # p2 is not named


@pytest.mark.parametrize(
    "settings",
    [
        {"photos": ()},
        {"boxes": Path("b.json"), "keypoints": Path("k.json")},
        {"focal": -1.0},
        {"batch": 0},
        {"max_megapixels": 0.0},
        {"min_score": 2.0},
        {"min_score": 0.5, "detector": "whole"},
    ],
)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ConfigError):
        Predict(**{"photos": ("a.jpg",)} | settings)


def test_boxes_of_other_photos_are_refused(photos, weights, tmp_path):
    boxes = tmp_path / "boxes.json"
    boxes.write_text('{"else.png": [[0, 0, 9, 9]]}')
    with pytest.raises(DataError, match="names none of the 3 photos"):
        run(Predict((str(photos),), out=tmp_path / "out", weights=weights, boxes=boxes))


def test_import_stays_light():
    """`import openexpose` and the list of commands need neither torch nor numpy."""
    code = "import openexpose, openexpose.cli.main, sys; print([m for m in ('torch', 'numpy') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
