"""`openexpose eval`: tables on the screen, what lacks files is named, two results are compared."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from evaluate.mini import Mini, mini_freihand
from openexpose.cli.evaluate import All, Diff, Ehf, FreiHand, run
from openexpose.errors import AssetError, ConfigError


@pytest.fixture(scope="module")
def hands(tmp_path_factory: pytest.TempPathFactory) -> Mini:
    with pytest.MonkeyPatch.context() as patch:
        return mini_freihand(tmp_path_factory.mktemp("freihand"), patch)


def flat(text: str) -> str:
    """Without line breaks, which depend on the width."""
    return " ".join(text.split())


def test_one_benchmark_and_all_and_diff(hands: Mini, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = FreiHand(hands.weights, hands.tree, out=tmp_path / "one", trained_on="licensed", fast=False, gallery=1)
    assert run(one) == 0
    screen = flat(capsys.readouterr().out)
    assert "freihand, protocol mmhuman3d, 3 samples" in screen and "10.03" in screen and "bbox_xywh" in screen
    every = All(hands.weights, hands.tree, out=tmp_path / "all", trained_on="licensed", fast=False, gallery=0, n=2)
    every = replace(every, qualities=("HQ", "LQ"))
    assert run(every) == 1  # the other three lack their files
    captured = capsys.readouterr()
    assert (
        "ehf not run" in captured.err
        and "stirling LQ not run" in captured.err
        and "only the first 2 of 3 rows" in flat(captured.out)
    )
    page = (tmp_path / "all/results.html").read_text()
    assert "Not run" in page and "SMPLX_NEUTRAL" in page and "10.03" in page
    document = json.loads((tmp_path / "all/results.json").read_text())
    assert [b["benchmark"] for b in document["benchmarks"]] == ["freihand"]
    assert run(Diff(tmp_path / "one", tmp_path / "all", resamples=100)) == 0
    assert "+0.000 .. +0.000" in capsys.readouterr().out


def test_refusals(hands: Mini, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--weights FILE is needed"):
        run(FreiHand(data=hands.tree))
    with pytest.raises(ConfigError, match="0 or more"):
        run(FreiHand(hands.weights, hands.tree, gallery=-1))
    with pytest.raises(AssetError, match=r"eval ehf lacks \d of its files"):
        run(Ehf(hands.weights, hands.tree, out=tmp_path))
