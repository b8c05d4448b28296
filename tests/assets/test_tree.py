"""The data tree: names, commands, finding files under any of their names, errors that say what to do."""

from pathlib import Path

import pytest

from openexpose.assets import COMMANDS, TREE, data_root, entry_of, find, locate
from openexpose.errors import AssetError

# DESIGN section 8
LISTED = {
    "body_models/all_means.pkl", "body_models/J_regressor_h36m.npy", "body_models/MANO_SMPLX_vertex_ids.pkl",
    "body_models/shape_mean.npy", "body_models/SMPL-X__FLAME_vertex_ids.npy", "body_models/SMPLX_to_J14.npy",
    "body_models/flame/FLAME_NEUTRAL.pkl", "body_models/flame/flame_dynamic_embedding.npy",
    "body_models/flame/flame_static_embedding.npy", "body_models/mano/MANO_RIGHT.pkl",
    "body_models/smpl/SMPL_FEMALE.pkl", "body_models/smpl/SMPL_MALE.pkl", "body_models/smpl/SMPL_NEUTRAL.pkl",
    "body_models/smplx/SMPLX_NEUTRAL.pkl", "pretrained_models/hrnet_pretrain.pth", "pretrained_models/resnet18.pth",
    "pretrained_models/hrnet_hmr_expose_body.pth", "pretrained_models/resnet18_hmr_expose_face.pth",
    "pretrained_models/resnet18_hmr_expose_hand.pth", "preprocessed_datasets/curated_fits_train.npz",
    "preprocessed_datasets/ehf_val.npz", "preprocessed_datasets/ffhq_flame_train.npz",
    "preprocessed_datasets/freihand_test.npz", "preprocessed_datasets/freihand_train.npz",
    "preprocessed_datasets/freihand_val.npz", "preprocessed_datasets/h36m_train.npz",
    "preprocessed_datasets/pw3d_test.npz", "preprocessed_datasets/spin_smplx_train.npz",
    "preprocessed_datasets/stirling_ESRC3D_HQ.npz", "datasets/3DPW", "datasets/coco", "datasets/EHF",
    "datasets/ExPose_curated_fits/train.npz", "datasets/ffhq/ffhq_annotations.npz",
    "datasets/ffhq/ffhq_global_images_1024", "datasets/FreiHand", "datasets/h36m",
    "datasets/lsp/lsp_dataset_original", "datasets/lsp/lspet", "datasets/mpii", "datasets/spin_in_smplx/coco.npz",
    "datasets/spin_in_smplx/lsp.npz", "datasets/spin_in_smplx/lspet.npz", "datasets/spin_in_smplx/mpii.npz",
    "datasets/stirling",
}  # fmt: skip


def test_the_whole_documented_tree_is_there() -> None:
    assert {e.path for e in TREE} - {"pretrained_models/expose.pth"} == LISTED
    names = [p for e in TREE for p in (e.path, *e.also)]
    assert len(names) == len(set(names))


def test_every_entry_names_source_licence_and_a_kind() -> None:
    for e in TREE:
        assert e.source.url
        assert e.source.licence
        assert e.what
        assert e.kind.split()[0] in {
            "body", "means", "shape", "regressor", "ids", "embedding", "checkpoint", "store", "raw", "folder",
        }  # fmt: skip


def test_commands_know_their_files() -> None:
    assert COMMANDS["demo"] == ()
    needed = {e.path for e in COMMANDS["eval freihand"]}
    assert {"body_models/mano/MANO_RIGHT.pkl", "preprocessed_datasets/freihand_test.npz"} <= needed
    assert all(any(c in COMMANDS for c in e.commands) for e in TREE if e.commands)


def test_files_are_found_under_any_of_their_names(tmp_path: Path) -> None:
    folder = tmp_path / "body_models" / "smplx"
    folder.mkdir(parents=True)
    npz, pkl = folder / "SMPLX_NEUTRAL.npz", folder / "SMPLX_NEUTRAL.pkl"
    npz.touch()
    assert find("smplx/SMPLX_NEUTRAL.pkl", tmp_path) == npz
    pkl.touch()
    assert find("smplx/SMPLX_NEUTRAL.npz", tmp_path) == npz  # both are there: the one asked for
    assert find("body_models/smplx/SMPLX_NEUTRAL.pkl", tmp_path) == pkl
    (tmp_path / "datasets" / "FreiHAND").mkdir(parents=True)
    assert find("FreiHand", tmp_path).name == "FreiHAND"
    assert locate(entry_of("coco.npz"), tmp_path) is None


def test_errors_say_where_what_and_how(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AssetError) as e:
        find("mano/MANO_RIGHT.pkl", tmp_path)
    for part in (
        str(tmp_path / "body_models/mano/MANO_RIGHT.pkl"),
        "https://mano.is.tue.mpg.de",
        "OPENEXPOSE_DATA",
        "doctor",
    ):
        assert part in str(e.value)
    with pytest.raises(AssetError, match="no file of the data tree"):
        entry_of("nonsense.pkl")
    monkeypatch.setenv("OPENEXPOSE_DATA", str(tmp_path))
    assert data_root() == tmp_path
    monkeypatch.delenv("OPENEXPOSE_DATA")
    assert data_root() == Path("data")
