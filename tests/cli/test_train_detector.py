"""`openexpose train-detector`: settings that cannot be are refused before anything is loaded or rendered."""

from pathlib import Path

import pytest

from openexpose.cli.main import main


def test_missing_files_and_odd_settings_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = ["train-detector", "--out", str(tmp_path), "--bodies", str(tmp_path / "pack.npz"), "--imagenet", "x.pth"]
    assert main(args) == 2
    assert "pack.npz" in capsys.readouterr().err
    assert main([*args, "--scenes", "0"]) == 2
    assert "--scenes 0: at least 1" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
