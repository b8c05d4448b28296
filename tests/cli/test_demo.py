"""The demo writes what it promises, small enough to run in a moment."""

import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from openexpose.body import load_model
from openexpose.body.free import load_facial_actions
from openexpose.cli import demo
from openexpose.cli.demo import Demo, run
from openexpose.detect.whole import WholePhoto
from openexpose.errors import ConfigError
from openexpose.export.page import Page
from openexpose.export.result import read_result
from openexpose.export.showcase import PEOPLE, Person, posed
from openexpose.predict import Predictor
from openexpose.predict.predictor import SHIPPED_WEIGHTS
from tiny_weights import save_tiny


def test_writes_a_page_pictures_and_skinned_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(Demo(out=tmp_path / "demo", size=64)) == 0
    made = sorted(p.name for p in (tmp_path / "demo").iterdir() if p.name != "photos")
    assert (tmp_path / "demo" / "photos").is_dir() == SHIPPED_WEIGHTS.is_file()
    said = capsys.readouterr().out
    assert ("were found and fitted" if SHIPPED_WEIGHTS.is_file() else "ships no weights") in said
    assert made == sorted(
        ["index.html", "people.png", "hands.png", "faces.png", *(f"{p.name.lower()}.glb" for p in PEOPLE)]
    )
    people = np.asarray(Image.open(tmp_path / "demo" / "people.png").convert("L"))
    assert people.shape[0] == 64 and people.std() > 10  # grey levels: somebody is there
    magic, version, size = struct.unpack("<4sII", (tmp_path / "demo" / "standing.glb").read_bytes()[:12])
    assert magic == b"glTF" and version == 2 and size == (tmp_path / "demo" / "standing.glb").stat().st_size
    page = (tmp_path / "demo" / "index.html").read_text(encoding="utf8")
    assert "http://" not in page.replace("http://www.w3.org", "") and "https://" not in page


def test_a_person_without_a_pose_stands_in_the_t_pose() -> None:
    model = load_model("free")
    body = posed(model, Person("nobody", "", hands=("flat", "flat")), load_facial_actions())
    torch.testing.assert_close(body.skin().vertices_m, model.shape().rest_vertices_m, atol=1e-6, rtol=0)  # metres


def test_successive_turns_by_hand() -> None:
    """Up by 90 degrees about z, after a twist about the bone: the left forearm points up whatever the twist."""
    model = load_model("free")
    names = list(model.joint_names)
    for twist in (0.0, 50.0):
        person = Person("", "", joints={"left_elbow": [(0, 0, 90), (twist, 0, 0)]}, hands=("flat", "flat"))
        joints = posed(model, person, load_facial_actions()).joints_m
        rest = model.shape().rest_joints_m
        bone, at_rest = (j[names.index("left_wrist")] - j[names.index("left_elbow")] for j in (joints, rest))
        assert abs(bone[1].item() - at_rest[0].item()) < 0.03  # metres: along y now, up to the bone's own tilt


def test_sizes_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match="between 64 and 4096"):
        Demo(size=3)


def test_photos_of_the_demo_are_fitted_and_shown(tmp_path: Path) -> None:
    """With a tiny random network: what is written and shown, not how good it is."""
    predictor = Predictor.load(save_tiny(tmp_path / "tiny.safetensors"), detector=WholePhoto())
    seen: list[str] = []
    sections = demo.photo_sections(predictor, tmp_path / "photos", seen.append)
    assert seen == list(demo.PHOTOS)
    assert sections[-1].title == "Pages of the photos"
    for name, section in zip(demo.PHOTOS, sections[:-1], strict=True):
        assert (tmp_path / "photos" / Path(name).stem / "index.html").is_file()
        document, arrays = read_result(tmp_path / "photos" / Path(name).stem)
        assert document["photo"]["name"] == name and len(arrays["box_px"]) == 1
        assert section.before.width_px == document["photo"]["width_px"]
        assert section.before.data != section.after.data and "1 person found" in section.after.caption
    assert "astronaut" in Page("", sections).html()
