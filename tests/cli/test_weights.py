"""`openexpose weights import|show` as typed."""

import json

import pytest
import torch
from rich.console import Console

from openexpose.cli.main import main
from openexpose.cli.weights import Import, Show, parameter_counts, run
from openexpose.errors import WeightsError
from openexpose.weights.native import read_header
from weights import grammar, states


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    state = states.constants(states.shapes_of("hand"), "hand")
    return states.save(state, tmp_path_factory.mktemp("w") / "hand.pth")


def printed(config) -> str:
    console = Console(record=True, width=200, quiet=True)
    console.quiet = False
    with open("/dev/null", "w") as nowhere:
        console.file = nowhere
        assert run(config, console) == 0
    return console.export_text()


def test_import_prints_one_summary_line_and_show_reads_it_back(tmp_path, checkpoint):
    out = tmp_path / "hand.safetensors"
    lines = printed(Import(checkpoint, out)).splitlines()
    assert lines[0].startswith("mmhuman3d hand model: 127 tensors used; 30 dropped (22 of the licensed body model")
    assert lines[0].endswith("0 missing") and len(lines) == 2
    shown = printed(Show(out))
    for word in ("expose-hand", "mano", "hand.pth", "right_hand_pose", "6:96", "11,186,132", "1,798,362"):
        assert word in shown
    counts = parameter_counts(read_header(out))
    backbone = sum(torch.Size(s).numel() for s in grammar.resnet18().values())
    assert counts["hand.backbone"] == backbone == 11_186_132 and counts["total"] == backbone + counts["hand.regressor"]


def test_details_json_and_half(tmp_path, checkpoint):
    full, half = tmp_path / "full.safetensors", tmp_path / "half.safetensors"
    assert "body_model_train.shapedirs" in printed(Import(checkpoint, full, verbose=True))
    printed(Import(checkpoint, half, half=True))
    assert half.stat().st_size < 0.51 * full.stat().st_size
    told = json.loads(printed(Show(half, json=True)))
    assert told["header"]["storage"] == "float16" and told["preset"] == "expose-hand" and len(told["sha256"]) == 64
    assert "hand.regressor.mean_param (1, 109)" in printed(Show(half, verbose=True))


def test_show_tells_what_a_foreign_file_is(tmp_path, checkpoint):
    shown = printed(Show(checkpoint))
    assert "mmhuman3d hand model" in shown and "meta epoch" in shown and "weights import" in shown
    assert json.loads(printed(Show(checkpoint, json=True)))["match"]["missing"] == []
    bare = states.save(states.constants(grammar.resnet18(fc=True)), tmp_path / "resnet18.pth", "")
    assert "bare backbone" in printed(Show(bare)) and "11,699,132" in printed(Show(bare))
    assert json.loads(printed(Show(bare, json=True)))["tensors"] == 122


def test_show_says_no_to_a_file_that_would_not_fit(tmp_path, capsys):
    state = states.constants(states.shapes_of("hand"), "hand")
    del state["backbone.conv1.weight"]
    assert main(["weights", "show", str(states.save(state, tmp_path / "w.pth"))]) == 1
    assert "1 missing" in capsys.readouterr().out


def test_refusals_end_with_status_2_and_no_traceback(tmp_path, checkpoint, capsys):
    with pytest.raises(WeightsError, match="must end in .safetensors"):
        run(Import(checkpoint, tmp_path / "out.pth"))
    broken = tmp_path / "cut.pth"
    broken.write_bytes(checkpoint.read_bytes()[:5000])
    assert main(["weights", "import", str(broken), "--out", str(tmp_path / "x.safetensors")]) == 2
    told = capsys.readouterr().err
    assert "damaged or cut short" in told.replace("\n", " ") and "Traceback" not in told
    assert not (tmp_path / "x.safetensors").exists()
