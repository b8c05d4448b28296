"""The four benchmarks from raw files to figures: floors of the truth itself, guards, refusals, resuming, ranks."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from evaluate.mini import Mini, Oracle, mini_ehf, mini_freihand, mini_pw3d, mini_stirling, values
from openexpose.body.load import load_model
from openexpose.data.columns import decoded
from openexpose.data.humandata import HumanData
from openexpose.errors import AssetError, ConfigError, DataError
from openexpose.evaluate import PUBLISHED, pw3d
from openexpose.evaluate.answers import answer
from openexpose.evaluate.cast import _about, spoken_by
from openexpose.evaluate.results import write_results
from openexpose.evaluate.run import predict, prepare, score
from openexpose.evaluate.sitters import Sitters
from openexpose.evaluate.truths import FreiHand
from openexpose.readers import write_npz
from openexpose.skeleton import Skeleton
from openexpose.weights.native import Header, Provenance

FLOOR_MM = 2e-3
"""float32 body models, PLY files in single precision."""


@pytest.fixture(scope="module")
def ehf(tmp_path_factory: pytest.TempPathFactory) -> Mini:
    return mini_ehf(tmp_path_factory.mktemp("ehf"))


@pytest.fixture(scope="module")
def threedpw(tmp_path_factory: pytest.TempPathFactory) -> Mini:
    return mini_pw3d(tmp_path_factory.mktemp("3dpw"))


@pytest.fixture(scope="module")
def hands(tmp_path_factory: pytest.TempPathFactory) -> Mini:
    with pytest.MonkeyPatch.context() as patch:
        return mini_freihand(tmp_path_factory.mktemp("freihand"), patch)


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Mini:
    return mini_stirling(tmp_path_factory.mktemp("stirling"))


def said(result: object) -> str:
    return "\n".join(line for o in result.outcomes for line in o.said)


def test_ehf_truth_as_prediction_reaches_the_floor(ehf: Mini, tmp_path: Path) -> None:
    result = ehf.oracle("ehf", tmp_path, protocols=("mmhuman3d", "paper"))
    first, paper = ({s.name for s in o.scores} for o in result.outcomes)
    assert {p.name for p in PUBLISHED if (p.benchmark, p.protocol) == ("ehf", "mmhuman3d")} <= first
    assert {p.name for p in PUBLISHED if (p.benchmark, p.protocol) == ("ehf", "paper")} <= paper
    found = values(result)
    frames = {k: v for k, v in found.items() if k in ("MPJPE", "PVE")}  # the meshes stand where the scanner was
    assert max(v for k, v in found.items() if k not in frames) < FLOOR_MM
    assert min(frames.values()) > 100
    assert "bbox_xywh" in said(result) and "x 1," in said(result) and "body model: toy smplx" in said(result)
    assert result.names == ("01_img.jpg", "02_img.jpg", "03_img.jpg")


def test_3dpw_truth_is_the_posed_mesh_not_the_files_joints(threedpw: Mini, tmp_path: Path) -> None:
    result = threedpw.oracle("3dpw", tmp_path)
    assert max(values(result).values()) < FLOOR_MM  # raw jointPositions are of another body: they play no part
    assert set(values(result)) == {"MPJPE", "PA-MPJPE"}  # PA hides scale: both are always there
    assert "SMPL of the stored gender" in said(result) and "not jointPositions" in said(result)
    quirk = threedpw.oracle("3dpw", tmp_path / "neutral", truth="neutral")
    assert min(values(quirk).values()) > 10 and "neutral SMPL" in said(quirk)
    assert result.names[:2] == (
        "imageFiles/downtown_walk_00/image_00000.jpg",
        "imageFiles/downtown_walk_00/image_00002.jpg",
    )
    assert result.names[2] == "imageFiles/downtown_walk_00/image_00000.jpg #2"  # the second person of that photo


def test_3dpw_root_is_the_middle_of_the_hips(threedpw: Mini, tmp_path: Path) -> None:
    p = threedpw.prepared("3dpw", tmp_path)
    joints = p.truth.joints_m
    moved = joints + torch.tensor([1.0, 2, 3])
    there = pw3d.outcome(moved, joints, protocol="mmhuman3d", truth="gendered")
    assert there.score("MPJPE").value < FLOOR_MM
    shifted = joints.clone()
    shifted[:, 2:4] += 0.1  # both hips are 100 mm off on each axis: all others are seen to be
    off = pw3d.outcome(shifted, joints, protocol="mmhuman3d", truth="gendered").score("MPJPE").value
    assert off == pytest.approx(np.sqrt(3) * 100 * 12 / 14, rel=1e-6)


def test_freihand_truth_as_prediction_reaches_the_floor(hands: Mini, tmp_path: Path) -> None:
    result = hands.oracle("freihand", tmp_path, protocols=("mmhuman3d", "paper"))
    found = values(result)
    assert found.pop("F@5") == found.pop("F@15") == 1.0
    assert max(found.values()) < FLOOR_MM and {"PA-MPJPE", "MPJPE", "PA-PVE", "PVE"} <= set(found)
    assert "agree to 0.00 mm" in said(result)


def test_freihand_finds_out_wrong_finger_names_and_missing_mean(hands: Mini, tmp_path: Path) -> None:
    store = hands.tree / "preprocessed_datasets/freihand_test.npz"
    arrays = decoded(store)
    model = hands.tree / "body_models/mano/MANO_RIGHT.safetensors"

    def read(changed: dict[str, object]) -> FreiHand:
        write_npz(tmp_path / "other.npz", {**arrays, **changed}, compressed=False)
        people = Sitters.open(tmp_path / "other.npz", hands.tree / "datasets/FreiHand", command="eval freihand")
        return FreiHand.read(people, model)

    data = HumanData.open(store)
    right, order = read({}), Skeleton.read("freihand")
    stored = {k: np.stack([getattr(r, k).as_skeleton(order).xyc for r in data]) for k in ("keypoints2d", "keypoints3d")}
    names = {f"{k}_convention": np.asarray("mano") for k in stored} | {
        f"{k}_mask": np.ones(21, np.uint8) for k in stored
    }
    wrong = read({**stored, **names})
    assert wrong.misnamed and not right.misnamed and any("wrong names" in line for line in wrong.said)
    torch.testing.assert_close(wrong.joints_m, right.joints_m)
    np.testing.assert_array_equal(wrong.true_px(1), right.true_px(1))
    pose = next(k for k in arrays if k.endswith("right_hand_pose"))
    with pytest.raises(DataError, match="without MANO's mean hand"):
        read({pose: np.asarray(arrays[pose]) + 0.5})


def test_stirling_truth_as_prediction_reaches_the_floor(faces: Mini, tmp_path: Path) -> None:
    result = faces.oracle("stirling", tmp_path, trained_on="free", protocols=("mmhuman3d", "paper"))
    found = values(result)
    assert set(found) == {"3DRMSE", "HQ mean", "HQ median", "HQ std"}
    assert max(found.values()) < FLOOR_MM
    assert result.outcomes[0].derived["factor applied by the alignment"] == pytest.approx(1, abs=1e-5)
    assert "mean distance" in said(result) and "nothing is squared" in said(result)
    (around,) = result.outcomes[0].parts.values()
    assert {"nose bottom", "left mouth corner"} <= set(around) and max(around.values()) < FLOOR_MM


def test_networks_answer_and_the_page_is_whole(ehf: Mini, tmp_path: Path) -> None:
    p = ehf.prepared("ehf", tmp_path)
    predict(p)
    result = score(p)
    assert min(values(result).values()) > 1  # random weights are no oracle
    path = write_results(
        tmp_path, [result], command=["openexpose", "eval", "ehf"], not_run={"3dpw": "no <files>"}, cases=2
    )
    document = json.loads(path.read_text())
    (entry,) = document["benchmarks"]
    assert entry["samples"] == 3 and len(document["files"]) == 5
    made = {f.name for f in tmp_path.iterdir()}
    assert made >= {"results.json", "results.html", "ehf_mmhuman3d.csv", "ehf_mmhuman3d.html", *entry["plots"]}
    assert "no &lt;files&gt;" in (tmp_path / "results.html").read_text()
    assert (tmp_path / "ehf_mmhuman3d.html").read_text().count("<figcaption>") == 4
    assert (
        '<a href="ehf_mmhuman3d.html">ehf, protocol mmhuman3d, 3 samples</a>' in (tmp_path / "results.html").read_text()
    )
    body = entry["parts"]["BODY PA-MPJPE per joint"]
    assert len(body) == 27 and np.mean(list(body.values())) == pytest.approx(values(result)["BODY PA-MPJPE"])


def test_interrupted_runs_resume_and_ranks_share_exactly(ehf: Mini, tmp_path: Path) -> None:
    def pieces(folder: Path) -> dict[str, bytes]:
        return {f.name: f.read_bytes() for f in sorted(folder.glob("**/*.npz"))}

    def stop(done: int) -> None:
        if done >= 2:
            raise KeyboardInterrupt

    one, torn, shared = (ehf.prepared("ehf", tmp_path / k) for k in ("one", "torn", "shared"))
    predict(one)
    with pytest.raises(KeyboardInterrupt):
        predict(torn, done=stop)
    first = next((tmp_path / "torn").glob("**/000000.npz"))
    written = first.stat().st_mtime_ns
    with pytest.raises(DataError, match=r"000002.npz is missing .* run the same command again"):
        score(torn)
    predict(torn)
    assert first.stat().st_mtime_ns == written
    for rank in (1, 0):
        predict(replace(shared, setup=replace(shared.setup, rank=rank, ranks=2)))
    assert pieces(tmp_path / "one") == pieces(tmp_path / "torn") == pieces(tmp_path / "shared")
    assert values(score(one)) == values(score(shared))
    other = replace(torn, made_of=torn.made_of | {"box_scale": 1.25})  # answers of other settings are not mixed in
    with pytest.raises(DataError, match="was made of something else"):
        score(other)


def test_a_box_is_used_as_stored_and_the_quirk_is_said(ehf: Mini, tmp_path: Path) -> None:
    store, photos = ehf.tree / "preprocessed_datasets/ehf_val.npz", ehf.tree / "datasets/EHF"
    people = Sitters.open(store, photos, command="eval ehf")
    x, y, w, h = people.boxes_xywh_px[1]
    crop = people.crop(1, 64)
    assert crop.side_px == pytest.approx(max(w, h)) and crop.centre_px == pytest.approx((x + w / 2, y + h / 2))
    assert people.boxes_from_origin() == 0 and len(people.said()) == 1
    boxes = np.array([[-0.1 * 600, -0.1 * 480, 720, 576, 1]] * 3)
    write_npz(tmp_path / "quirk.npz", {**decoded(store), "bbox_xywh": boxes}, compressed=False)
    quirk = Sitters.open(tmp_path / "quirk.npz", photos, box_scale=1.25, first=2, command="eval ehf")
    lines = "\n".join(quirk.said())
    assert "2 of 2 reach from the photo's corner" in lines and "x 1.25" in lines and "first 2 of 3 rows" in lines


def test_missing_files_are_all_named_with_the_doctor(ehf: Mini, tmp_path: Path) -> None:
    with pytest.raises(AssetError) as e:
        prepare("3dpw", replace(ehf.setup(tmp_path), tree=tmp_path / "nothing"))
    text = str(e.value)
    assert all(
        w in text for w in ("SMPL_MALE.pkl", "SMPL_FEMALE.pkl", "SMPLX_to_J14", "pw3d_test.npz", "data convert pw3d")
    )
    assert 'openexpose doctor --for "eval 3dpw"' in text and "SMPL_NEUTRAL.pkl" not in text
    store = ehf.tree / "preprocessed_datasets/ehf_val.npz"
    (tmp_path / "photos").mkdir()
    with pytest.raises(DataError, match=r"3 photos .* for instance 01_img.jpg.*doctor"):
        Sitters.open(store, tmp_path / "photos", command="eval ehf")
    with pytest.raises(ConfigError, match="must be positive"):
        Sitters.open(store, ehf.tree / "datasets/EHF", box_scale=0.0, command="eval ehf")


def test_the_wrong_body_model_is_refused_or_transferred_with_words(ehf: Mini, hands: Mini, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="FreeBody, and ehf compares the vertices of SMPL-X"):
        ehf.prepared("ehf", tmp_path, trained_on="free")
    with pytest.raises(ConfigError, match="FreeHand, and freihand compares"):
        hands.prepared("freihand", tmp_path, trained_on="free")
    with pytest.raises(ConfigError, match="does not say which body models"):
        ehf.prepared("ehf", tmp_path, trained_on="auto")
    with pytest.raises(ConfigError, match="already speaks"):
        ehf.prepared("ehf", tmp_path, transfer="pose")
    p = hands.prepared("freihand", tmp_path, trained_on="free", transfer="pose")
    predict(p)
    moved = score(p)
    assert "only the rotations of" in said(moved) and "Shape is not predicted" in said(moved)
    oracle = replace(p, cast=replace(p.cast, answerer=Oracle(hands.params, p.cast.answerer.crop_px)))
    predict(replace(oracle, setup=replace(oracle.setup, out=tmp_path / "oracle")))
    shapeless = values(score(replace(oracle, setup=replace(oracle.setup, out=tmp_path / "oracle"))))
    model = load_model(hands.tree / "body_models/mano/MANO_RIGHT.safetensors")
    want = model.shape().pose(hands.params.R_parent_child()).keypoints_m()
    true = model.shape(hands.params.betas).pose(hands.params.R_parent_child()).keypoints_m()
    off = (want - want[:, :1] - true + true[:, :1]).norm(dim=-1).mean() * 1000
    assert shapeless["MPJPE"] == pytest.approx(float(off), abs=FLOOR_MM)


def test_what_weights_say_they_were_trained_for() -> None:
    def header(preset: str, layout: str, note: str = "") -> Header:
        return Header(preset, {}, {}, "smplx", Provenance(layout, note=note))

    ours = "trained with openexpose"
    assert spoken_by(header("expose", "mmhuman3d whole model"), "w") == "licensed"
    assert spoken_by(header("expose", "original release"), "w") == "licensed"
    assert (
        spoken_by(header("expose-body", ours, "training run of preset hrnet_hmr_expose_body, seed 0"), "w")
        == "licensed"
    )
    assert spoken_by(header("lite", ours, "training run of preset lite, seed 0"), "w") == "free"
    with pytest.raises(ConfigError, match="--trained-on free"):
        spoken_by(header("expose", ours, "training run of preset toy, seed 0"), "w")


def test_smplx_versions_are_told_apart(ehf: Mini) -> None:
    model = load_model(ehf.tree / "body_models/smplx/SMPLX_NEUTRAL.safetensors")
    model.label = "SMPL-X neutral v1.0"
    assert "asks for v1.1" in "".join(_about(model))
    model.label = "SMPL-X neutral v1.1"
    assert _about(model) == ()


def test_answers_refuse_what_is_not_finite_and_boxes_beside_the_photo(ehf: Mini, tmp_path: Path) -> None:
    p = ehf.prepared("ehf", tmp_path)
    broken = replace(ehf.params, betas=ehf.params.betas * torch.nan)
    with pytest.raises(DataError, match="01_img.jpg: the network's answer is not finite"):
        answer(p.people, Oracle(broken, 64), tmp_path / "nan", made_of={}, batch=2)
    store = ehf.tree / "preprocessed_datasets/ehf_val.npz"
    boxes = np.array([[-900, 0, 100, 100, 1.0]] * 3)
    write_npz(tmp_path / "off.npz", {**decoded(store), "bbox_xywh": boxes}, compressed=False)
    people = Sitters.open(tmp_path / "off.npz", ehf.tree / "datasets/EHF", command="eval ehf")
    with pytest.raises(DataError, match=r"01_img.jpg \(row 0\): its box .* lies beside the 1600 x 1200 photo"):
        answer(people, Oracle(ehf.params, 64), tmp_path / "off", made_of={}, batch=2)
