"""The five foreign layouts: every key has a place, ours get the right tensors, and what does not fit is refused."""

import json
import os
from pathlib import Path

import pytest
import torch

from openexpose.errors import WeightsError
from openexpose.nets.config import PRESETS
from openexpose.weights.importer import convert, header_of, import_file, recognise, wanted_tensors
from openexpose.weights.mmhuman3d import INDEX
from openexpose.weights.models import load_part
from openexpose.weights.native import Provenance, load_checkpointed, read_header
from weights import functional, grammar, states

GOLDEN = Path(os.environ.get("OPENEXPOSE_GOLDEN", Path(__file__).parents[2] / "../shared/golden/set_public")).resolve()

RENAMED = {
    "hidden.0.": "module.blocks.0.0.",
    "hidden.1.": "module.blocks.1.0.",
    "output.": "module.output_layer.",
}


@pytest.mark.golden
@pytest.mark.parametrize("which", ["body", "face", "hand", "expose"])
def test_the_grammar_spells_the_reference_s_own_key_lists(which):
    path = GOLDEN.parent / f"state_dict_keys_{which}.json"
    if not path.is_file():
        pytest.skip("no key lists beside the golden set")
    listed = json.loads(path.read_text())
    assert {k: tuple(v["shape"]) for k, v in listed.items()} == grammar.mmhuman3d(which)
    assert {k for k, v in listed.items() if v["dtype"] == "int64"} == {k for k in listed if k.endswith(grammar.INTEGER)}


def foreign_name(ours: str, which: str) -> str:
    """The key that must fill one of ours, worked out the other way round."""
    part, piece, rest = ours.split(".", 2)
    if which == "original":
        owner = {"body": "", "hand": "hand_predictor.", "head": "head_predictor."}[part]
        prefix = f"smplx.{owner}" + ("backbone." if piece == "backbone" else "regressor.")
    else:
        owner = "" if which != "expose" else {"body": "", "hand": "hand_", "head": "face_"}[part]
        prefix = f"{owner}backbone." if piece == "backbone" else f"{owner}head.regressor."
    if piece == "regressor":
        for mine, theirs in RENAMED.items():
            rest = rest.replace(mine, theirs)
    return prefix + rest


@pytest.mark.parametrize(
    ("which", "used", "dropped"),  # numbers of keys: derived by hand from spec 2.4 and A4
    [
        ("hand", 127, 30),  # 120 + 7; 22 MANO, 4 indices, 4 copies
        ("face", 127, 41),  # 120 + 7; 32 FLAME, 5 indices, 4 copies
        ("body", 1077, 961),  # 1984 - 914 dead + 7; 35 SMPL-X, 8 indices, 4 copies, 914 dead
        ("expose", 1154, 826),
        ("original", 1154, 731),
    ],
)
def test_every_key_of_every_layout_goes_where_it_should(tmp_path, which, used, dropped):
    shapes = states.shapes_of(which)
    path = states.save(
        states.constants(shapes, which), tmp_path / "w.pth", "model" if which == "original" else "state_dict"
    )
    done = import_file(path)
    m = done.match
    placed = [*m.used.values(), *m.copies, *(k for d in m.dropped.values() for k in d), *m.strangers]
    assert sorted(placed) == sorted(shapes) and (len(m.used), len(placed) - len(m.used)) == (used, dropped)
    wanted = wanted_tensors(PRESETS[done.header.preset]())
    assert {k: v.shape for k, v in done.state.items()} == {k: v.shape for k, v in wanted.items()}
    for ours, value in done.state.items():
        expected = 0 if ours.endswith("num_batches_tracked") else states.constant(foreign_name(ours, which))
        assert value.flatten()[0].item() == pytest.approx(expected, rel=1e-6), ours  # float32 rounding
    assert not any(10475 in v.shape or 778 in v.shape or 5023 in v.shape for v in done.state.values())
    assert m.summary().endswith("0 missing")


@pytest.fixture(scope="module")
def hand() -> dict[str, torch.Tensor]:
    return states.constants(states.shapes_of("hand"), "hand")


def varied(state: dict[str, torch.Tensor], variant: str) -> dict[str, torch.Tensor]:
    keep = {
        "as saved": lambda k: True,
        "no counters": lambda k: not k.endswith("num_batches_tracked"),
        "no body model": lambda k: not k.startswith("body_model"),
        "layers only": lambda k: ".blocks." not in k,
        "blocks only": lambda k: ".layer_00" not in k,
        "no index buffers": lambda k: not k.endswith("_idxs"),
    }[variant]
    return {k: v for k, v in state.items() if keep(k)}


@pytest.mark.parametrize(
    ("variant", "wrapper"),
    [
        ("as saved", ""),
        ("no counters", "state_dict"),
        ("no body model", ""),
        ("layers only", "state_dict"),
        ("blocks only", ""),
        ("no index buffers", "state_dict"),
    ],
)
def test_forms_that_exist_in_the_wild_give_the_same_weights(tmp_path, hand, variant, wrapper):
    direct = import_file(states.save(hand, tmp_path / "a.pth"))
    other = varied(hand, variant)
    other = {f"module.{k}": v for k, v in other.items()} if wrapper else other
    got = import_file(states.save(other, tmp_path / "b.pth", wrapper, zip_format=bool(wrapper)))
    assert got.state.keys() == direct.state.keys()
    assert all(torch.equal(v, direct.state[k]) for k, v in got.state.items())


@pytest.mark.parametrize(("which", "part", "side"), [("hand", "hand", 224), ("face", "head", 256)])
def test_an_imported_part_computes_what_its_foreign_tensors_mean(tmp_path, which, part, side):
    foreign = states.noise(states.shapes_of(which), which, seed=7)
    out = tmp_path / "w.safetensors"
    convert(states.save(foreign, tmp_path / "w.pth"), out)
    network, crops = load_part(out, part), torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        got = network.regressor.stages(network.backbone(crops))
        want = functional.part_stages({k: v for k, v in foreign.items() if k.startswith(("backbone.", "head."))}, crops)
    scale = want.abs().max()
    assert (got - want).abs().max() <= 1e-4 * scale  # the 1e-4, relative: random outputs have no unit


def test_the_file_says_what_it_is_and_where_it_came_from(tmp_path, hand):
    source, a, b = states.save(hand, tmp_path / "w.pth"), tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    convert(source, a)
    convert(source, b)
    assert a.read_bytes() == b.read_bytes()
    header = read_header(a).header
    assert (header.preset, header.body_family, header.provenance.source) == ("expose-hand", "mano", "w.pth")
    assert header.codecs["hand"][-1] == ("camera", 106, 109) and str(tmp_path) not in str(header)
    config, state = load_checkpointed(a, "expose-hand")
    assert config == PRESETS["expose-hand"]() and len(state) == 127
    with pytest.raises(WeightsError, match="not 'expose'"):
        load_checkpointed(a, "expose")


def broken(state: dict[str, torch.Tensor], how: str) -> dict[str, torch.Tensor]:
    s = dict(state)
    if how == "left over":
        s["backbone.layer1.0.conv9.weight"] = torch.zeros(1)
    elif how == "left over in the head":
        s["head.neck_pose_idxs"] = torch.arange(6)
    elif how == "missing":
        del s["backbone.layer3.1.bn2.running_var"]
    elif how == "shape":
        s["backbone.conv1.weight"] = torch.zeros(64, 3, 3, 3)
    elif how == "copies":
        s["head.regressor.module.layer_001.0.weight"] = s["head.regressor.module.layer_001.0.weight"] * 1.001
    elif how == "index":
        s["head.shape_idxs"] = s["head.shape_idxs"].flip(0)
    elif how == "index of another head":
        s["head.jaw_pose_idxs"] = torch.arange(6)
    elif how == "nan":
        s["backbone.bn1.weight"] = torch.full((64,), float("nan"))
    elif how == "other size":
        s["head.regressor.mean_param"] = torch.zeros(1, 77)
    else:
        raise AssertionError(how)
    return s


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("left over", "1 left over.*\n.*conv9"),
        ("left over in the head", "1 left over.*\n.*neck_pose_idxs"),
        ("missing", "1 missing.*\n.*hand.backbone.layer3.1.bn2.running_var"),
        ("shape", r"conv1.weight \(64, 3, 3, 3\), expected \(64, 3, 7, 7\)"),
        ("copies", "same tensor twice"),
        ("index", r"shape_idxs does not select the numbers \[96, 106\)"),
        ("index of another head", "jaw_pose_idxs does not select"),
        ("nan", "NaN"),
        ("other size", "no known layout"),
    ],
)
def test_what_does_not_fit_exactly_is_refused(tmp_path, hand, how, words):
    with pytest.raises(WeightsError, match=words):
        convert(states.save(broken(hand, how), tmp_path / "w.pth"), tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


def test_a_cut_file_and_a_careless_out_are_refused(tmp_path, hand):
    path = states.save(hand, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="choose another name"):
        convert(path, path)
    data = path.read_bytes()
    for share in (0.1, 0.5, 0.999):
        path.write_bytes(data[: int(share * len(data))])
        with pytest.raises(WeightsError, match="damaged or cut short"):
            import_file(path)


def test_other_networks_are_told_apart():
    with pytest.raises(WeightsError, match="backbone without a regressor"):
        recognise(states.constants(grammar.resnet18(fc=True)), "resnet18.pth")
    with pytest.raises(WeightsError, match="no known layout.*a, b"):
        recognise({"a": torch.zeros(1), "b": torch.zeros(1)}, "x.pth")


def test_index_buffers_count_as_dropped(tmp_path, hand):
    assert len(import_file(states.save(hand, tmp_path / "w.pth")).match.dropped[INDEX]) == 4


def test_a_header_describes_any_preset():
    header = header_of(PRESETS["lite"](), Provenance("trained with openexpose"))
    assert header.preset == "lite" and set(header.codecs) == {"body", "hand", "head"} and header.body_family == "smplx"
