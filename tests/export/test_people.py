"""The files of a photo's people: one surface in every mesh, the photo's camera in the .glb, nearer hides farther."""

import io
import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image
from scipy.spatial.transform import Rotation

from openexpose.body import BodyModel, load_model
from openexpose.errors import ConfigError, DataError
from openexpose.export import people_pictures
from openexpose.export.amass import R_AMASS_CAMERA, amass_arrays
from openexpose.export.people import Outputs, PeopleWriter, write_outputs
from openexpose.export.people_pictures import Stage, overlay, parts_sheet, scene_vertices_m, view
from openexpose.export.result import About, write_result
from openexpose.export.rigs import RIGS, rig_names
from openexpose.prediction import Prediction
from openexpose.readers import read_npz
from oracles import random_rotations
from stand_in import stand_in
from toy_models import toy_smplx

from .test_gltf import parse, skinned_positions
from .test_page import BROWSER, Parsed, browse, carried, needs_browser

SIZE = (300, 400)
PHOTO = np.full((400, 300, 3), 90, np.uint8)
VALIDATE = """
require("gltf-validator").validateBytes(new Uint8Array(require("fs").readFileSync(process.argv[1])))
  .then((r) => console.log(JSON.stringify(r.issues)));
"""
LOOK = """
addEventListener("load", () => setTimeout(() => {
  document.querySelector(".do-photo").click();
  const viewer = viewers[0], p = POINT, { view } = viewer.matrices();
  const [x, y, z] = [0, 1, 2].map((i) => view[i] * p[0] + view[4 + i] * p[1] + view[8 + i] * p[2] + view[12 + i]);
  document.title = "seen " + JSON.stringify([viewer.shown.name, viewer.shown.positions.length / 3, -x / z, -y / z]);
}, 50));
"""


@pytest.fixture(scope="module")
def model() -> BodyModel:
    return load_model("free")


@pytest.fixture(scope="module")
def couple(model: BodyModel) -> list[Prediction]:
    """Two people behind each other; the second is farther off and stands a little to the right."""
    turns_rad = np.zeros((55, 3))
    turns_rad[16:18, 2] = -1.05, 1.05  # arms down
    R = torch.from_numpy(Rotation.from_rotvec(turns_rad).as_matrix())
    coeffs = torch.linspace(-1, 1, model.num_betas + model.num_expression)
    near = stand_in(model, SIZE, (-0.1, 0.3, 2.6), R=R.float(), coeffs=coeffs)
    return [near, stand_in(model, SIZE, (0.25, 0.2, 3.6), R=R.float(), person=1)]


@pytest.fixture(scope="module")
def folder(couple: list[Prediction], model: BodyModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("people") / "photo"
    about = About("photo.jpg", SIZE, couple[0].camera, "default", couple[0].model, "nobody")
    written = write_outputs(out, PHOTO, couple, model, Outputs(), about)
    assert sorted(p.name for p in written) == sorted(p.name for p in out.iterdir())
    write_result(out, couple, about, files=[p.name for p in written])
    return out


@pytest.fixture(scope="module")
def stage(couple: list[Prediction]) -> Stage:
    return Stage.of(couple)


def test_every_mesh_is_the_same_surface(folder: Path, couple: list[Prediction]) -> None:
    for person in couple:
        want = person.vertices_m * [1, -1, -1]  # x right, y up, z towards the viewer
        for kind, atol in (("obj", 6e-7), ("ply", 1e-7)):  # metres
            got = trimesh.load(folder / f"person_{person.person}.{kind}", process=False)
            np.testing.assert_allclose(got.vertices, want, atol=atol)
            np.testing.assert_array_equal(got.faces, person.faces)
        alone = skinned_positions(*parse((folder / f"person_{person.person}.glb").read_bytes()), 0)
        together = skinned_positions(*parse((folder / "people.glb").read_bytes()), person.person)
        np.testing.assert_array_equal(alone, together)
        np.testing.assert_allclose(alone, want, atol=1e-5)  # metres, float32 file


def test_camera_in_the_glb_sees_what_the_photo_shows(folder: Path, couple: list[Prediction]) -> None:
    tree, _ = parse((folder / "person_0.glb").read_bytes())
    (node,) = [n for n in tree["nodes"] if "camera" in n]
    assert tree["nodes"].index(node) in tree["scenes"][0]["nodes"]
    np.testing.assert_allclose(node["rotation"], [0, 0, 0, 1], atol=1e-12)
    np.testing.assert_allclose(node["translation"], 0, atol=1e-12)
    lens = tree["cameras"][0]["perspective"]
    points = couple[0].keypoints_m * [1, -1, -1]
    tan_y = np.tan(0.5 * lens["yfov"])
    ndc = points[:, :2] / -points[:, 2:] / [tan_y * lens["aspectRatio"], tan_y]
    px = (ndc * [0.5, -0.5] + 0.5) * SIZE - 0.5
    np.testing.assert_allclose(px, couple[0].keypoints_px, atol=1e-2)  # pixels
    hints = tree["cameras"][0]["extras"]
    assert hints["lens"] == pytest.approx(couple[0].camera.to_blender()["lens"])
    assert (hints["resolution_x"], hints["resolution_y"]) == SIZE


def test_bones_have_the_names_of_their_program(model: BodyModel, couple: list[Prediction], tmp_path: Path) -> None:
    for rig, some in (
        ("smplx", {"spine1", "left_eye_smplhf", "right_thumb3"}),
        ("mixamo", {"mixamorig:Hips", "mixamorig:LeftHandIndex1", "mixamorig:RightUpLeg"}),
        ("vrm", {"hips", "leftThumbMetacarpal", "rightLittleDistal", "upperChest"}),
    ):
        names = rig_names(model.joint_names, rig)
        assert len(set(names)) == 55 and some <= set(names)
    left = [n.replace("left", "right").replace("Left", "Right") for n in names]
    assert set(left) <= set(names)
    write_outputs(tmp_path, PHOTO, couple[:1], model, Outputs(("glb",), "vrm", amass=False, pictures=False, page=False))
    tree, _ = parse((tmp_path / "person_0.glb").read_bytes())
    assert [tree["nodes"][k]["name"] for k in tree["skins"][0]["joints"]] == list(names)
    with pytest.raises(ConfigError, match="'unreal'"):
        rig_names(model.joint_names, "unreal")
    with pytest.raises(ConfigError, match="tail"):
        rig_names(["tail"], RIGS[0])


def test_amass_file_is_the_same_body_in_a_world_with_z_up(folder: Path, couple: list[Prediction]) -> None:
    arrays = read_npz(folder / "person_0_amass.npz")
    assert arrays["poses"].shape == (1, 165) and arrays["trans"].shape == (1, 3)
    assert str(arrays["surface_model_type"]) == "smplx" and not arrays["betas"].any()  # FreeBody's are not SMPL-X's
    np.testing.assert_allclose(arrays["betas_freebody"], couple[0].params.betas, atol=1e-7)
    split = [arrays[k] for k in ("root_orient", "pose_body", "pose_jaw", "pose_eye", "pose_hand")]
    np.testing.assert_array_equal(np.concatenate(split, 1), arrays["poses"])
    rng = np.random.default_rng(0)
    toy = BodyModel(toy_smplx(2))
    person = stand_in(toy, SIZE, (0.2, 0.1, 4.0), R=torch.from_numpy(random_rotations(rng, (55,))).float())
    R = person.params.R_parent_child()
    person = replace(person, params=replace(person.params, betas=torch.randn(10, generator=torch.manual_seed(0))))
    got = amass_arrays(person)
    np.testing.assert_allclose(got["betas"], person.params.betas, atol=1e-7)
    turned = torch.from_numpy(Rotation.from_rotvec(got["poses"].reshape(55, 3)).as_matrix()).float()
    np.testing.assert_allclose(turned[1:23], R[1:23], atol=1e-5)
    shaped = toy.shape(person.params.betas, person.params.expression)
    vertices_m = shaped.pose(turned, torch.from_numpy(got["trans"][0]).float()).skin().vertices_m.numpy()
    np.testing.assert_allclose(vertices_m, person.vertices_m @ R_AMASS_CAMERA.T, atol=1e-5)  # metres


def test_overlay_changes_the_people_and_nothing_else(stage: Stage, couple: list[Prediction]) -> None:
    drawn = overlay(stage, PHOTO)
    changed = (drawn != PHOTO).any(-1)
    px = np.concatenate([p.camera.project(p.vertices_m.astype(np.float64)) for p in couple])
    (x0, y0), (x1, y1) = np.floor(px.min(0)).astype(int) - 1, np.ceil(px.max(0)).astype(int) + 1
    inside = np.zeros_like(changed)
    inside[max(y0, 0) : y1 + 1, max(x0, 0) : x1 + 1] = True
    assert not changed[~inside].any()
    for person, warm in zip(couple, (False, True), strict=True):  # blue, then orange
        x, y = np.rint(person.keypoint_px("head")).astype(int)
        r, _, b = drawn[y, x].astype(int)
        assert (r > b) == warm and changed[y, x]


def test_nearer_hides_farther(couple: list[Prediction]) -> None:
    near = couple[0]
    behind = replace(near, person=1, transl_m=near.transl_m * 1.5)
    stage = Stage.of([behind, near])
    x, y = np.rint(near.keypoint_px("spine_3")).astype(int)
    r, _, b = overlay(stage, PHOTO)[y, x].astype(int)
    assert b > r  # near is blue


def test_a_large_photo_is_rendered_smaller_and_looks_the_same(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    exact = overlay(stage, PHOTO).astype(int)
    monkeypatch.setattr(people_pictures, "MAX_RENDERED_PX", 30_000)
    enlarged = overlay(stage, PHOTO).astype(int)
    assert enlarged.shape == exact.shape
    assert np.abs(enlarged - exact).mean() < 3  # grey levels: borders are softer


def test_side_and_top_put_the_camera_where_they_say(stage: Stage) -> None:
    for side, axis, farther in (("side", 1, 1), ("top", 0, -1)):
        picture = view(stage, side).astype(int)
        blue = picture[..., 2] - picture[..., 0] > 25
        orange = picture[..., 0] - picture[..., 2] > 25
        near, far = (np.median(np.nonzero(m)[axis]) for m in (blue, orange))
        assert (far - near) * farther > 20  # pixels: right of it in the side view, above it in the top view


def test_parts_show_the_squares_of_the_photo(couple: list[Prediction]) -> None:
    x, y = np.meshgrid(np.arange(300), np.arange(400))
    photo = np.stack([x * 255 // 299, y * 255 // 399, 0 * x], -1).astype(np.uint8)
    person = couple[0]
    got = parts_sheet(person, photo, None, size_px=100)
    x0, y0, x1, y1 = person.parts["head"].corners_px
    middle = got[8 + 50, 8 + 3 * 108 + 50, :2] / 255 * [299, 399]  # fourth cell, gaps of 8
    np.testing.assert_allclose(middle, [(x0 + x1) / 2, (y0 + y1) / 2], atol=3)  # pixels
    far = replace(person.parts["head"], corners_px=np.array([900.0, 900, 950, 950], np.float32))
    got = parts_sheet(replace(person, parts={**person.parts, "head": far}), photo, photo, size_px=100)
    assert not got[8:108, 8 + 3 * 108 : 108 + 3 * 108].any()  # beside the photo: black


def test_page_holds_its_pictures_and_its_files(folder: Path) -> None:
    html = (folder / "index.html").read_text()
    parsed = Parsed(html)
    assert all(a.startswith("data:") for a in parsed.addresses) and not parsed.handlers
    there = {p.name: p.read_bytes() for p in folder.iterdir() if p.suffix not in (".jpg", ".html")}
    assert carried(html) == there and {"people.glb", "result.json", "result.npz"} <= set(there)
    words = " ".join(parsed.texts)
    assert "2 people" in words and "81%, taken" in words and "22%, not taken" in words and "Everybody" in words
    with Image.open(folder / "overlay.jpg") as picture:
        assert picture.size == SIZE


def test_nobody_is_a_page_too(model: BodyModel, tmp_path: Path) -> None:
    written = PeopleWriter(model, Outputs()).write(tmp_path, PHOTO, [])
    assert [p.name for p in written] == ["overlay.jpg", "index.html"]
    assert "No person was found" in (tmp_path / "index.html").read_text()


def test_refusals(model: BodyModel, couple: list[Prediction], tmp_path: Path) -> None:
    writer = PeopleWriter(model, Outputs())
    with pytest.raises(DataError, match="300 x 399 pixels"):
        writer(tmp_path, PHOTO[:399], couple)
    with pytest.raises(DataError, match="another body model"):
        writer(tmp_path, PHOTO, [replace(couple[0], body_model=BodyModel(toy_smplx(1)))])
    with pytest.raises(ConfigError, match="page shows the pictures"):
        Outputs(pictures=False)
    assert list(tmp_path.iterdir()) == []


def test_khronos_validator_finds_nothing(folder: Path, tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None or subprocess.run([node, "-e", "require('gltf-validator')"], capture_output=True).returncode:
        pytest.skip("no node with gltf-validator here: npm install gltf-validator, and NODE_PATH at its folder")
    for name in ("person_0.glb", "people.glb"):
        done = subprocess.run(
            [node, "-e", VALIDATE, str(folder / name)], capture_output=True, text=True, check=True, timeout=120
        )
        issues = json.loads(done.stdout)
        assert [issues[k] for k in ("numErrors", "numWarnings", "numInfos", "numHints")] == [0, 0, 0, 0], issues


@needs_browser
def test_browser_shows_everybody_through_the_photos_camera(
    folder: Path, couple: list[Prediction], tmp_path: Path
) -> None:
    assert BROWSER
    html = (folder / "index.html").read_text()
    point = json.dumps((couple[1].joints_m[0] * [1, -1, -1]).tolist())
    html = html.replace('http-equiv="Content-Security-Policy"', 'name="unused"')
    html = html.replace("</body>", f"<script>{LOOK.replace('POINT', point)}</script></body>")
    dom, console = browse(tmp_path, html, "--dump-dom")
    assert console == []
    seen = json.loads(dom.split("<title>seen ")[1].split("</title>")[0])
    assert seen[:2] == ["Everybody", 2 * len(couple[0].vertices_m)]
    x, y, z = couple[1].joints_m[0]
    np.testing.assert_allclose(seen[2:], [x / z, -y / z], atol=1e-5)  # tangents


def test_vertices_are_in_the_scene_frame(couple: list[Prediction]) -> None:
    up = scene_vertices_m(couple[0])
    assert up[:, 2].max() < 0  # in front of a camera that looks along -z
    head, foot = (couple[0].joint_m(n)[1] for n in ("head", "left_foot"))
    assert head < foot  # the photo's y points down


def test_pictures_are_whole_files(folder: Path) -> None:
    for path in folder.glob("*.jpg"):
        Image.open(io.BytesIO(path.read_bytes())).load()
