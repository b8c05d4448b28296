"""`body show` and `body convert`."""

import pickle
from pathlib import Path

import pytest

from model_files import content
from openexpose.body.files import read_model, write_model
from openexpose.cli.body_files import Convert, Show, run
from openexpose.cli.main import main
from openexpose.errors import AssetError, ConfigError
from toy_models import toy_smplx


@pytest.fixture
def mano(tmp_path: Path) -> Path:
    path = tmp_path / "MANO_RIGHT.pkl"
    path.write_bytes(pickle.dumps(content("mano", 10), protocol=4))
    return path


def test_show_tells_family_counts_ranges_and_hash(mano: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["body", "show", str(mano)]) == 0
    out = capsys.readouterr().out
    for part in (
        "MANO right: 778 vertices, 16 joints", "shapedirs", "778 x 3 x 10", "m per beta", "family mano", "height",
        read_model(mano).sha256, "means: right_hand_mean", "0 .. 777",
    ):  # fmt: skip
        assert part in out


def test_show_reads_our_own_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "toy.safetensors"
    write_model(toy_smplx(1), path, dtype="float16")
    assert run(Show(str(path))) == 0
    out = capsys.readouterr().out
    assert "toy smplx: 160 vertices, 55 joints" in out
    assert "regressors: j14" in out
    with pytest.raises(AssetError, match="absent"):
        run(Show(str(tmp_path / "absent.npz")))


def test_convert_keeps_the_model(mano: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "mano.safetensors"
    assert main(["body", "convert", str(mano), str(out), "--dtype", "float64", "--betas", "5"]) == 0
    assert "MANO right: 778 vertices" in capsys.readouterr().out
    got, want = read_model(out), read_model(mano)
    assert (got.posedirs == want.posedirs).all()
    assert (got.shapedirs == want.shapedirs[..., :5]).all()
    assert got.label == want.label
    with pytest.raises(ConfigError, match="--overwrite"):
        run(Convert(mano, out))
    assert run(Convert(mano, out, overwrite=True)) == 0
    with pytest.raises(ConfigError, match="suffix"):
        run(Convert(mano, tmp_path / "mano.npz"))
    assert main(["body", "convert", str(tmp_path / "absent.pkl"), str(tmp_path / "x.safetensors")]) == 2
    assert not (tmp_path / "x.safetensors").exists()
