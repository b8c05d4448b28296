"""Body-model files of every family and age into ModelArrays, our safetensors, and refusals that name the fault."""

import pickle
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from golden_assets import golden_assets
from model_files import content, embedding
from openexpose.body.arrays import ModelArrays
from openexpose.body.distributed import family_of, gender_in, side_of_hand
from openexpose.body.files import read_model, write_model
from openexpose.body.side_files import read_embedding, read_means, read_regressor, read_shape_mean, read_vertex_ids
from openexpose.errors import AssetError, DataError
from readers_samples import fake_chumpy, put
from toy_models import toy_flame, toy_mano, toy_smpl, toy_smplx


def save(path: Path, value: Any, protocol: int = 4) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npz":
        np.savez(path, **{k: v for k, v in value.items() if isinstance(v, np.ndarray)})
    else:
        path.write_bytes(pickle.dumps(value, protocol=protocol))
    return path


@pytest.fixture(scope="module")
def mano() -> dict[str, Any]:
    return content("mano", 10)


@pytest.mark.parametrize(("suffix", "columns", "first"), [(".npz", 20, 10), (".npz", 400, 300), (".pkl", 20, 10)])
def test_smplx_of_both_versions(suffix: str, columns: int, first: int, tmp_path: Path) -> None:
    want = content("smplx", columns)
    path = save(tmp_path / f"SMPLX_FEMALE{suffix}", want)
    got = read_model(path, num_betas=10, num_expression=5)
    assert (got.family, got.gender) == ("smplx", "female")
    assert got.label == f"SMPL-X female v1.{int(columns == 400)}"
    np.testing.assert_array_equal(got.shapedirs, want["shapedirs"][..., :10])
    np.testing.assert_array_equal(got.exprdirs, want["shapedirs"][..., first : first + 5])
    for name in ("v_template", "posedirs", "weights", "J_regressor"):
        np.testing.assert_array_equal(getattr(got, name), want[name])
        assert getattr(got, name).dtype == np.float64
        assert getattr(got, name).flags.writeable
    assert got.parents[0] == -1
    np.testing.assert_array_equal(got.parents[1:], want["kintree_table"][0, 1:])
    np.testing.assert_array_equal(got.dynamic_faces, want["dynamic_lmk_faces_idx"])
    np.testing.assert_array_equal(got.means["left_hand_mean"], want["hands_meanl"])
    np.testing.assert_array_equal(got.means["right_hand_components"], want["hands_componentsr"])
    assert got.extra_vertices is not None
    assert got.extra_vertices[:5].tolist() == [9120, 9929, 9448, 616, 6]
    assert len(got.sha256) == 64
    if suffix == ".pkl":
        assert read_model(path).exprdirs.shape == (10475, 3, columns - first)
        with pytest.raises(AssetError, match="10 expressions, 11 were asked for"):
            read_model(path, num_expression=11)


def test_smplx_takes_what_lies_beside_it(tmp_path: Path) -> None:
    path = save(tmp_path / "smplx" / "SMPLX_NEUTRAL.npz", content("smplx", 20))
    rng = np.random.default_rng(1)
    j14, ids = (
        rng.random((14, 10475)).astype(np.float32),
        {s: rng.permutation(10475)[:778] for s in ("left_hand", "right_hand")},
    )
    np.save(tmp_path / "SMPLX_to_J14.npy", j14)  # the tree has it in the parent folder
    save(tmp_path / "smplx" / "MANO_SMPLX_vertex_ids.pkl", ids)
    np.save(tmp_path / "smplx" / "SMPL-X__FLAME_vertex_ids.npy", np.arange(5023))
    got = read_model(tmp_path, "smplx", num_betas=0, num_expression=0)
    assert read_model(path, num_betas=0, num_expression=0).sha256 == got.sha256
    np.testing.assert_array_equal(got.regressors["j14"], j14)
    np.testing.assert_array_equal(got.regions["left_hand"], ids["left_hand"])
    assert len(got.regions["head"]) == 5023
    np.save(tmp_path / "SMPLX_to_J14.npy", j14[:, :5])
    with pytest.raises(AssetError, match=r"SMPLX_to_J14.npy: regressor has shape \(14, 5\)"):
        read_model(path)


def test_smpl_with_chumpy_values_and_gender(tmp_path: Path) -> None:
    want = content("smpl", 10)
    with fake_chumpy() as ch:
        dirs = want["shapedirs"]
        picked = ch.Select(a=ch.Ch(x=dirs), idxs=np.arange(dirs.size), preferred_shape=dirs.shape)
        raw = want | {"v_template": ch.Ch(x=want["v_template"]), "shapedirs": picked, "trans": ch.add(a=1, b=2)}
        path = save(tmp_path / "smpl" / "SMPL_MALE.pkl", raw)
    np.save(tmp_path / "J_regressor_h36m.npy", np.ones((17, 6890), np.float32))
    got = read_model(tmp_path / "smpl", gender="male")
    assert (got.label, got.gender) == ("SMPL male v1.0", "male")
    np.testing.assert_array_equal(got.v_template, want["v_template"])
    np.testing.assert_array_equal(got.shapedirs, dirs)
    np.testing.assert_array_equal(got.J_regressor, want["J_regressor"].toarray())
    assert got.exprdirs.shape == (6890, 3, 0)
    assert got.regressors["h36m"].shape == (17, 6890)
    with pytest.raises(AssetError, match="expected the female model"):
        read_model(path, gender="female")
    with pytest.raises(AssetError, match="SMPL_NEUTRAL"):
        read_model(tmp_path / "smpl")  # neutral unless asked: never another gender without a word


@pytest.mark.parametrize("left", [False, True])
def test_mano_knows_its_side(left: bool, tmp_path: Path) -> None:
    side = "left" if left else "right"
    want = content("mano", 10, left=left)
    got = read_model(save(tmp_path / "any_name.pkl", want))
    assert got.label == f"MANO {side}"
    assert set(got.means) == {f"{side}_hand_mean", f"{side}_hand_components"}
    assert got.extra_vertices is not None
    assert got.extra_vertices.tolist() == [744, 320, 443, 555, 672]
    assert side_of_hand(got.v_template, got.J_regressor) == side


@pytest.mark.parametrize("suffix", [".npy", ".pkl"])
def test_flame_with_embeddings_of_either_kind(suffix: str, tmp_path: Path) -> None:
    want = content("flame", 400)
    save(tmp_path / "generic_model.pkl", want)
    static, dynamic = embedding((51,)), embedding((79, 17))
    other = tmp_path / "elsewhere"
    other.mkdir()
    for name, value in (("static", static), ("dynamic", dynamic)):
        path = other / f"flame_{name}_embedding{suffix}"
        if suffix == ".npy":
            np.save(path, np.array(value, object), allow_pickle=True)
        else:
            save(path, value)
    bare = read_model(tmp_path, num_betas=100, num_expression=50)
    assert bare.static_faces is None
    got = read_model(tmp_path, "flame", num_betas=100, num_expression=50, landmarks_dir=other)
    np.testing.assert_array_equal(got.exprdirs, want["shapedirs"][..., 300:350])
    np.testing.assert_array_equal(got.static_faces, static["lmk_face_idx"])
    np.testing.assert_array_equal(got.dynamic_bary, dynamic["lmk_b_coords"])
    assert got.gender == "neutral"


@pytest.mark.parametrize("toy", [toy_smplx, toy_smpl, toy_mano, toy_flame])
@pytest.mark.parametrize(("dtype", "atol"), [("float64", 0.0), ("float32", 1e-6), ("float16", 2e-3)])
def test_our_safetensors_keep_everything(toy: Any, dtype: Any, atol: float, tmp_path: Path) -> None:
    want = toy(3)
    path = tmp_path / "m.safetensors"
    write_model(want, path, dtype=dtype)
    got = read_model(path, family=want.family)
    for field in fields(ModelArrays):
        a, b = getattr(got, field.name), getattr(want, field.name)
        if isinstance(b, np.ndarray):
            np.testing.assert_allclose(a, b, atol=atol, rtol=0)  # metres
            assert a.dtype == b.dtype
        elif isinstance(b, dict):
            assert a.keys() == b.keys()
            for key in b:
                np.testing.assert_allclose(a[key], b[key], atol=atol, rtol=0)
        elif field.name != "sha256":
            assert a == b
    write_model(want, tmp_path / "again.safetensors", dtype=dtype)
    assert read_model(tmp_path / "again.safetensors").sha256 == got.sha256  # same model, same bytes
    assert read_model(path, num_betas=2).shapedirs.shape[2] == 2
    with pytest.raises(AssetError, match="betas, 999 were asked for"):
        read_model(path, num_betas=999)
    with pytest.raises(AssetError, match="change the suffix"):
        write_model(want, tmp_path / "m.npz", dtype=dtype)


def change(key: str, value: Any) -> Any:
    return lambda d: d | {key: value(d[key]) if callable(value) else value}


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda d: {k: v for k, v in d.items() if k != "posedirs"}, "posedirs is missing"),
        (change("v_template", lambda v: np.where(v == v[3, 1], np.nan, v)), "v_template contains NaN"),
        (change("v_template", lambda v: v[:700]), "700 vertices and 16 joints"),
        (change("f", lambda f: f + 778), "f has entries outside"),
        (change("f", "text"), "f is a str"),
        (change("weights", lambda w: 2 * w), "do not sum to one"),
        (change("kintree_table", lambda k: k[:, ::-1]), "do not form a tree"),
        (change("kintree_table", lambda k: k[0]), "kintree_table"),
        (change("shapedirs", lambda s: s[:, :, 0]), "shapedirs"),
        (change("J_regressor", lambda j: j[:, :5]), r"J_regressor has shape \(16, 5\)"),
        (change("hands_mean", np.zeros(12)), r"hands_mean has shape \(12,\)"),
        (lambda d: [1, 2], "a list"),
        (lambda d: content("mano", 10) | {"v_template": np.zeros((778, 3), complex)}, "v_template"),
    ],
)
def test_faults_are_named(damage: Any, words: str, mano: dict[str, Any], tmp_path: Path) -> None:
    path = save(tmp_path / "MANO_RIGHT.pkl", damage(dict(mano)))
    with pytest.raises(AssetError, match=words) as e:
        read_model(path)
    assert "MANO_RIGHT.pkl" in str(e.value)


def test_the_wrong_file_is_refused(mano: dict[str, Any], tmp_path: Path) -> None:
    path = save(tmp_path / "SMPLX_NEUTRAL.pkl", mano)
    with pytest.raises(AssetError, match="it holds MANO right; expected a SMPL-X model"):
        read_model(tmp_path, "smplx")
    with pytest.raises(AssetError, match="no body model"):
        read_model(tmp_path / "smplx" if (tmp_path / "smplx").mkdir() is None else tmp_path)
    with pytest.raises(AssetError, match="no such file"):
        read_model(tmp_path / "absent.pkl")
    with pytest.raises(AssetError, match="are .npz, .pkl or .safetensors"):
        read_model(put(tmp_path, "x.obj", b"v 0 0 0"))
    with pytest.raises(AssetError, match="gender 'other'"):
        read_model(tmp_path, gender="other")
    save(tmp_path / "SMPL_NEUTRAL.pkl", mano)
    with pytest.raises(AssetError, match="holds several models"):
        read_model(tmp_path)
    assert family_of(6890, 52) is None
    assert path.exists()


def test_small_files(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    means = {
        n: {
            "aa": rng.random((j, 3)),
            "cont_rot_repr": rng.random((j, 6)).astype(np.float32),
            "rot_mats": rng.random((j, 3, 3)),
        }
        for n, j in (("body_pose", 21), ("left_hand_pose", 15), ("right_hand_pose", 15))
    }
    odd = means | {"right_hand_pose": {k: v[..., None] for k, v in means["right_hand_pose"].items()}}
    for value in (means, odd):
        got = read_means(save(tmp_path / "all_means.pkl", value))
        for part, forms in means.items():
            for form, want in forms.items():
                np.testing.assert_array_equal(got[part][form], want)
    with pytest.raises(AssetError, match="no entry 'left_hand_pose'"):
        read_means(save(tmp_path / "all_means.pkl", {"body_pose": means["body_pose"]}))
    np.save(tmp_path / "shape_mean.npy", rng.random((1, 10)).astype(np.float32))
    assert read_shape_mean(tmp_path / "shape_mean.npy").shape == (10,)
    np.save(tmp_path / "shape_mean.npy", np.zeros(4))
    with pytest.raises(AssetError, match="4 mean betas; expected at least 10"):
        read_shape_mean(tmp_path / "shape_mean.npy")
    with pytest.raises(AssetError, match="outside 0..10474"):
        read_vertex_ids(save(tmp_path / "i.pkl", {"left_hand": np.array([10475]), "right_hand": np.array([1])}))
    assert read_regressor(save(tmp_path / "J14.pkl", np.ones((14, 9))), 9).shape == (14, 9)
    with pytest.raises(AssetError, match="a list; expected a dictionary with lmk_face_idx"):
        read_embedding(save(tmp_path / "e.pkl", [1]), (51,), 9976)


def test_gender_is_read_from_names_the_authors_use() -> None:
    names = {
        "SMPLX_FEMALE.npz": "female", "SMPL_MALE.pkl": "male", "basicModel_f_lbs_10_207_0_v1.0.0.pkl": "female",
        "basicmodel_m_lbs_10_207_0_v1.1.0.pkl": "male", "basicModel_neutral_lbs_10_207_0_v1.0.0.pkl": "neutral",
        "generic_model.pkl": "neutral", "FLAME_NEUTRAL.pkl": "neutral", "model.npz": "unknown",
    }  # fmt: skip
    assert {n: gender_in(n) for n in names} == names


def test_damaged_model_files_give_only_our_errors(mano: dict[str, Any], tmp_path: Path) -> None:
    """120 cut or flipped MANO files and 280 of our own format."""
    rng = np.random.default_rng(9)
    write_model(toy_flame(1, betas=3, expressions=2), tmp_path / "toy.safetensors", dtype="float32")
    cases = [
        (pickle.dumps(mano, protocol=2), "m.pkl", 120),
        ((tmp_path / "toy.safetensors").read_bytes(), "t.safetensors", 280),
    ]
    for data, name, count in cases:
        for k in range(count):
            out = bytearray(data)
            if k % 4 == 0:
                out = out[: int(rng.integers(0, len(out)))]
            else:
                near = 2000 if k % 2 else len(out)
                for i in rng.integers(0, near, 4):
                    out[i] ^= 1 << int(rng.integers(0, 8))
            try:
                read_model(put(tmp_path, name, bytes(out)))
            except (AssetError, DataError) as e:
                assert name in str(e)


@pytest.mark.golden
def test_all_files_of_the_golden_tree() -> None:
    models = golden_assets() / "body_models"
    a, b = (
        read_model(models / "smplx" / f"SMPLX_NEUTRAL{s}", num_betas=10, num_expression=10) for s in (".npz", ".pkl")
    )
    for name in ("v_template", "faces", "shapedirs", "exprdirs", "J_regressor", "weights", "static_bary"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    assert a.label == "SMPL-X neutral v1.1"
    assert {k: len(v) for k, v in a.regions.items()} == {"left_hand": 778, "right_hand": 778, "head": 5023}
    assert a.regressors["j14"].shape == (14, 10475)
    flame = read_model(models / "flame", num_betas=100, num_expression=50)
    assert flame.static_faces is not None
    assert flame.dynamic_faces is not None
    assert read_model(models / "mano").label == "MANO right"
    assert read_model(models / "smpl", gender="female").gender == "female"
    assert read_means(models / "all_means.pkl")["body_pose"]["cont_rot_repr"].shape == (21, 6)
