"""The doctor: found, wrong and missing files of a made-up tree, JSON, exit status of a named command."""

import json
import pickle
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from golden_assets import golden_assets
from model_files import content, embedding
from openexpose.assets import TREE, entry_of
from openexpose.cli.doctor import Doctor, needs_of, run
from openexpose.cli.main import main
from openexpose.cli.recognise import Finding, examine
from openexpose.errors import ConfigError


def fill(root: Path, path: str, value: Any) -> Path:
    out = root / path
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix == ".npz":
        np.savez_compressed(out, **value)
    elif out.suffix == ".npy":
        np.save(out, value, allow_pickle=True)
    elif out.suffix == ".pth":
        torch.save(value, out)
    else:
        out.write_bytes(pickle.dumps(value, protocol=4))
    return out


def names(*keys: str) -> dict[str, torch.Tensor]:
    return {k: torch.zeros(2) for k in keys}


HAND = names("backbone.conv1.weight", "head.regressor.mean_param", "head.right_hand_pose_idxs")
FACE = names("backbone.conv1.weight", "head.regressor.mean_param", "head.expression_idxs")
BODY = names("backbone.stage3.0.branches.0", "head.regressor.mean_param", "head.body_pose_idxs", "head.expression_idxs")
WHOLE = BODY | names("hand_backbone.conv1.weight", "face_backbone.conv1.weight")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A tree with sound, mistaken and damaged files."""
    root = tmp_path_factory.mktemp("data")
    mano = content("mano", 10)
    fill(root, "body_models/mano/MANO_RIGHT.pkl", mano)
    fill(root, "body_models/smplx/SMPLX_NEUTRAL.pkl", mano)
    fill(root, "body_models/smpl/SMPL_NEUTRAL.pkl", b"not a model")
    (root / "body_models/smpl/SMPL_MALE.pkl").write_bytes(b"cos\nsystem\n(S'touch RAN'\ntR.")
    fill(root, "body_models/flame/flame_static_embedding.pkl", embedding((51,)))
    fill(root, "body_models/flame/flame_dynamic_embedding.npy", np.array(embedding((51,)), object))
    fill(root, "body_models/smplx/SMPLX_to_J14.npy", np.zeros((14, 10475), np.float32))
    fill(root, "body_models/J_regressor_h36m.npy", np.zeros((24, 6890), np.float32))
    fill(root, "body_models/MANO_SMPLX_vertex_ids.pkl", {"left_hand": np.arange(778), "right_hand": np.arange(778)})
    fill(root, "body_models/SMPL-X__FLAME_vertex_ids.npy", np.arange(700))
    rows = {"image_path": np.array([f"{k}.jpg" for k in range(7)]), "bbox_xywh": np.zeros((7, 5))}
    fill(root, "preprocessed_datasets/freihand_test.npz", rows | {"smplx": np.array({}, object)})
    fill(root, "preprocessed_datasets/ehf_val.npz", rows | {"bbox_xywh": np.zeros((6, 5))})
    fill(root, "preprocessed_datasets/pw3d_test.npz", {"poses": np.zeros(3)})
    fill(root, "datasets/spin_in_smplx/lsp.npz", {"pose": np.zeros((4, 165))})
    fill(root, "pretrained_models/resnet18_hmr_expose_hand.pth", {"state_dict": HAND, "meta": {}})
    fill(root, "pretrained_models/resnet18_hmr_expose_face.pth", HAND)
    fill(root, "pretrained_models/hrnet_hmr_expose_body.pth", BODY)
    fill(root, "pretrained_models/expose.pth", WHOLE)
    fill(root, "pretrained_models/resnet18.pth", names("layer4.1.bn2.weight", "layer3.1.conv1.weight"))
    (root / "pretrained_models/hrnet_pretrain.pth").write_bytes(b"<html>404</html>")
    (root / "datasets/coco").mkdir(parents=True)
    (root / "datasets/FreiHand").mkdir(parents=True)
    (root / "datasets/FreiHand/training").mkdir()
    yield root


@pytest.mark.parametrize(
    ("name", "state", "words"),
    [
        ("mano/MANO_RIGHT.pkl", "found", "MANO right: 778 vertices, 16 joints, 1538 faces, 10 betas"),
        (
            "smplx/SMPLX_NEUTRAL.pkl",
            "wrong",
            "MANO right: 778 vertices, 16 joints, 1538 faces, 10 betas; expected SMPL-X",
        ),
        ("smpl/SMPL_NEUTRAL.pkl", "wrong", "a bytes; expected a body model"),
        ("smpl/SMPL_MALE.pkl", "wrong", "'os.system'"),
        ("smpl/SMPL_FEMALE.pkl", "missing", "https://smpl.is.tue.mpg.de"),
        ("flame_static_embedding.npy", "found", "51"),
        ("flame_dynamic_embedding.npy", "wrong", "expected (79, 17)"),
        ("SMPLX_to_J14.npy", "found", "14 joints from 10475 vertices"),
        ("J_regressor_h36m.npy", "wrong", "24 joints from 6890 vertices; expected 17"),
        ("body_models/MANO_SMPLX_vertex_ids.pkl", "found", "778 vertices of left hand"),
        ("body_models/SMPL-X__FLAME_vertex_ids.npy", "wrong", "700 head; expected 5023"),
        ("freihand_test.npz", "found", "7 rows: image_path, bbox_xywh, smplx"),
        ("ehf_val.npz", "wrong", "7 image paths, but bbox_xywh has shape (6, 5)"),
        ("pw3d_test.npz", "wrong", "expected a HumanData store"),
        ("spin_in_smplx/lsp.npz", "wrong", "it lacks betas, part"),
        ("resnet18_hmr_expose_hand.pth", "found", "3 tensors"),
        ("resnet18_hmr_expose_face.pth", "wrong", "the ExPose hand network; expected the ExPose face network"),
        ("hrnet_hmr_expose_body.pth", "found", "the ExPose body network"),
        ("expose.pth", "found", "the whole ExPose network"),
        ("pretrained_models/resnet18.pth", "found", "a ResNet-18 backbone"),
        ("hrnet_pretrain.pth", "wrong", "no torch checkpoint"),
        ("datasets/coco", "wrong", "an empty folder"),
        ("datasets/FreiHand", "found", "1 entry"),
        ("datasets/mpii", "missing", "human-pose.mpi-inf.mpg.de"),
    ],
)
def test_each_file_is_recognised(root: Path, name: str, state: str, words: str) -> None:
    finding = examine(entry_of(name), root)
    assert isinstance(finding, Finding)
    assert finding.state == state, finding
    assert words in finding.text
    assert not Path("RAN").exists()


def test_a_left_hand_under_the_right_name_is_wrong(tmp_path: Path) -> None:
    fill(tmp_path, "body_models/mano/MANO_RIGHT.pkl", content("mano", 10, left=True))
    finding = examine(entry_of("MANO_RIGHT.pkl"), tmp_path)
    assert finding.state == "wrong"
    assert "MANO left" in finding.text
    assert "expected MANO right" in finding.text


def test_old_torch_files_are_recognised_too(tmp_path: Path) -> None:
    path = tmp_path / "pretrained_models" / "resnet18_hmr_expose_face.pth"
    path.parent.mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save(FACE, path, _use_new_zipfile_serialization=False)
    finding = examine(entry_of(path.name), tmp_path)
    assert finding.state == "found", finding
    assert "old torch format" in finding.text


def test_json_says_what_can_run(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(Doctor(root=root, json=True)) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["root"] == str(root)
    assert len(told["entries"]) == len(TREE)
    entry = next(e for e in told["entries"] if e["path"] == "body_models/mano/MANO_RIGHT.pkl")
    assert entry["state"] == "found"
    assert Path(entry["found_at"]).is_file()
    assert entry["source"]["licence"]
    assert told["commands"]["demo"] == {"can_run": True, "missing": [], "wrong": []}
    assert told["commands"]["eval freihand"] == {"can_run": True, "missing": [], "wrong": []}
    assert "body_models/smplx/SMPLX_NEUTRAL.pkl" in told["commands"]["eval ehf"]["wrong"]


def test_exit_status_tells_whether_a_command_can_run(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--root", str(root), "--for", "eval freihand"]) == 0
    assert "can run" in capsys.readouterr().out
    assert main(["doctor", "--root", str(root), "--for", "eval  ehf"]) == 1
    shown = capsys.readouterr().out
    for part in ("wrong", "missing", "needed by: ", "https://smpl-x.is.tue.mpg.de", "lacks"):
        assert part in shown
    assert main(["doctor", "--root", str(root / "nowhere")]) == 0
    assert "does not exist" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="eval ehf"):
        needs_of("evaluate everything")


@pytest.mark.golden
def test_the_golden_tree(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(Doctor(root=golden_assets(), json=True)) == 0
    told = json.loads(capsys.readouterr().out)
    models = [e for e in told["entries"] if e["path"].startswith("body_models/")]
    assert [e["state"] for e in models] == ["found"] * len(models), models
    text = {e["path"]: e["text"] for e in models}["body_models/smplx/SMPLX_NEUTRAL.pkl"]
    assert text == "SMPL-X neutral v1.1: 10475 vertices, 55 joints, 20908 faces, 300 betas, 100 expressions"
