"""`openexpose synth make`."""

from pathlib import Path

import pytest

from openexpose.cli.synth import Make, run
from openexpose.data.humandata import HumanData
from openexpose.errors import ConfigError


def test_make_writes_photos_and_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(Make(out=tmp_path, n=1, size=64, workers=1, masks=False, part="head")) == 0
    data = HumanData.open(tmp_path / "labels.npz")
    assert len(data) == 1 and data.family == "flame"
    assert len(list((tmp_path / "images").iterdir())) == 1 and not (tmp_path / "masks").exists()
    assert "1 photos" in capsys.readouterr().out


def test_a_fixed_set_refuses_other_pictures(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="fixes the pictures"):
        run(Make(out=tmp_path, set="synth-hand", whole=1.0))
    with pytest.raises(ConfigError, match="fixes the pictures"):
        run(Make(out=tmp_path, set="synth-hand", renderer="raster"))
    with pytest.raises(ConfigError, match="workers"):
        run(Make(out=tmp_path, n=1, workers=-2))
