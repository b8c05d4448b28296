"""Our own weight files: round trips, equal bytes, exact loading, refusals."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from openexpose.errors import WeightsError
from openexpose.nets.config import GateConfig, expose, lite, only
from openexpose.weights.importer import header_of
from openexpose.weights.native import (
    Header,
    Provenance,
    load_checkpointed,
    load_exactly,
    load_weights,
    read_header,
    save_weights,
)

HEADER = Header(
    preset="toy",
    config={"width": 64, "parts": ["body"]},
    codecs={"body": (("global_orient", 0, 6), ("betas", 6, 16), ("camera", 16, 19))},
    body_family="smplx",
    provenance=Provenance("trained with openexpose", note="ten steps"),
)


def net() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(64, 80), nn.BatchNorm1d(80), nn.Linear(80, 3))


def test_a_round_trip_is_exact_and_deterministic(tmp_path):
    model, a, b = net(), tmp_path / "a.safetensors", tmp_path / "deep" / "b.safetensors"
    save_weights(model.state_dict(), a, HEADER)
    save_weights(dict(reversed(model.state_dict().items())), b, HEADER)
    assert a.read_bytes() == b.read_bytes()
    header, state = load_weights(a)
    assert header == HEADER
    other = net()
    with torch.no_grad():
        [p.zero_() for p in other.parameters()]
    load_exactly(other, state, a)
    assert all(torch.equal(v, model.state_dict()[k]) for k, v in other.state_dict().items())


def test_half_storage_is_smaller_and_close_and_keeps_small_tensors(tmp_path):
    model, full, half = net(), tmp_path / "full.safetensors", tmp_path / "half.safetensors"
    save_weights(model.state_dict(), full, HEADER)
    save_weights(model.state_dict(), half, replace(HEADER, storage="float16"))
    assert half.stat().st_size < 0.6 * full.stat().st_size
    _, state = load_weights(half)
    truth = model.state_dict()
    assert torch.equal(state["0.weight"], truth["0.weight"].half().float())  # one rounding, nothing else
    assert torch.equal(state["1.running_var"], truth["1.running_var"]) and torch.equal(
        state["2.weight"], truth["2.weight"]
    )
    assert state["1.num_batches_tracked"].dtype == torch.int64


def test_tensors_that_share_memory_are_saved_each(tmp_path):
    x = torch.randn(4, 4)
    save_weights({"a": x, "b": x.T}, tmp_path / "w.safetensors", HEADER)
    _, state = load_weights(tmp_path / "w.safetensors")
    assert torch.equal(state["a"], x) and torch.equal(state["b"], x.T)


def test_the_header_is_read_without_tensors(tmp_path):
    path = tmp_path / "w.safetensors"
    save_weights(net().state_dict(), path, HEADER)
    found = read_header(path)
    assert found.header == HEADER and found.shapes["0.weight"] == (80, 64) and found.n_bytes == path.stat().st_size


def test_the_wrong_preset_is_refused_by_name(tmp_path):
    path = tmp_path / "w.safetensors"
    save_weights(net().state_dict(), path, HEADER)
    with pytest.raises(WeightsError, match="'toy', not 'expose'"):
        load_checkpointed(path, "expose")


def test_the_configuration_comes_back_as_it_was(tmp_path):
    path, state = tmp_path / "w.safetensors", net().state_dict()
    for config in (expose(), replace(lite(), gate=GateConfig(min_seen=0.5)), only("hand", expose())):
        save_weights(state, path, header_of(config, HEADER.provenance))
        got, tensors = load_checkpointed(path, config.name)
        assert got == config and set(tensors) == set(state)


@pytest.mark.parametrize("change", [{"colour": 1}, {"body": {"width": 3}}, {"zoom": {"hand_scale": 0.1}}, {"hand": 4}])
def test_a_configuration_of_another_version_is_refused(tmp_path, change):
    path, config = tmp_path / "w.safetensors", header_of(expose(), HEADER.provenance)
    save_weights(net().state_dict(), path, replace(config, config={**config.config, **change}))
    with pytest.raises(WeightsError, match="not of this version"):
        load_checkpointed(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.pop("0.bias"), "1 missing.*0.bias"),
        (lambda s: s.update(extra=torch.zeros(1)), "1 unexpected.*extra"),
        (lambda s: s.update({"0.bias": torch.zeros(7)}), r"0.bias \(7,\), expected \(80,\)"),
    ],
)
def test_loading_is_exact_or_not_at_all(change, words):
    model = net()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    state = {k: v + 1 for k, v in before.items()}
    change(state)
    with pytest.raises(WeightsError, match=words):
        load_exactly(model, state, Path("some.safetensors"))
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_values_that_cannot_be_kept_are_not_saved(tmp_path):
    path = tmp_path / "w.safetensors"
    for bad, header in ((float("nan"), HEADER), (1e6, replace(HEADER, storage="float16"))):
        with pytest.raises(WeightsError, match="big"):
            save_weights({"big": torch.full((80, 80), bad)}, path, header)
    with pytest.raises(WeightsError, match="no tensors"):
        save_weights({}, path, HEADER)
    assert list(tmp_path.iterdir()) == []


def good_json() -> dict:
    empty = {"layout": "", "source": "", "source_sha256": "", "maker": "", "note": ""}
    return {"format": 1, "preset": "p", "config": {}, "codecs": {}, "body_family": "smplx", "provenance": empty,
            "storage": "float32"}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (None, "not of ours"),
        ({"format": 2}, "upgrade"),
        ({"preset": 3}, "damaged"),
        ({"config": []}, "damaged"),
        ({"codecs": {"body": [["a", 0]]}}, "damaged"),
        ({"codecs": {"body": [["a", 0, 1e999]]}}, "damaged"),
        ({"provenance": {"unknown": "x"}}, "damaged"),
        ({"storage": "int4"}, "damaged"),
    ],
)
def test_strange_headers_are_refused(tmp_path, change, words):
    path = tmp_path / "w.safetensors"
    save_file(
        {"a": torch.zeros(1)},
        path,
        metadata=None if change is None else {"openexpose": json.dumps(good_json() | change)},
    )
    with pytest.raises(WeightsError, match=words):
        read_header(path)


def test_damaged_files_give_only_our_error(tmp_path):
    rng, path = np.random.default_rng(1), tmp_path / "w.safetensors"
    save_weights({"a": torch.randn(5, 4), "b": torch.arange(3)}, path, HEADER)
    data, refused = path.read_bytes(), 0
    for i in range(600):
        bad = bytearray(data)
        for at in rng.integers(len(bad) if i % 3 else 400, size=2):
            bad[at] ^= 1 << rng.integers(8)
        path.write_bytes(bytes(bad)[: rng.integers(len(data)) if i % 4 == 0 else None])
        try:
            assert len(load_weights(path)[1]) <= 2
        except WeightsError:
            refused += 1
    assert refused > 250
    with pytest.raises(WeightsError, match="does not exist"):
        read_header(tmp_path / "nothing.safetensors")
