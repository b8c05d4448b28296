"""MoveNet's published trunk in ours; the graph files are written here, with random weights."""

import base64
import contextlib
import json

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from openexpose.errors import OpenExposeError, WeightsError
from openexpose.geometry.crop import MEAN_RGB, STD_RGB
from openexpose.nets.points import LiteTrunk
from openexpose.weights.movenet import _pairs, load_movenet, read_layers


@pytest.fixture(scope="module")
def trunk():
    """Batch norms that have seen something."""
    torch.manual_seed(0)
    out = LiteTrunk(deep=True, kind="mobilenet2").eval()
    for module in out.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(-1.5, 1.5)
            module.bias.data.uniform_(-0.5, 0.5)
    return out


def published(trunk, folder, stored="float16"):
    """The trunk as TensorFlow.js has networks: a graph of fused layers, and their weights in one file."""
    nodes, weights, data = [], [], b""

    def add(name, tensor, dtype):
        nonlocal data
        data += tensor.detach().numpy().astype(dtype).tobytes()
        entry = {"name": name, "shape": list(tensor.shape), "dtype": "float32"}
        weights.append(entry if dtype == "float32" else entry | {"quantization": {"dtype": dtype}})

    for i, (_, conv, _, norm) in enumerate(_pairs(trunk)):
        fused = fuse_conv_bn_eval(conv, norm)
        alone = conv.groups > 1
        add(f"{i}/w", fused.weight.permute((2, 3, 0, 1) if alone else (2, 3, 1, 0)), stored)
        add(f"{i}/bn_offset", fused.bias, stored)
        nodes.append({"name": str(i), "op": "FusedDepthwiseConv2dNative" if alone else "_FusedConv2D",
                      "input": ["x", f"{i}/w", f"{i}/bn_offset"],
                      "attr": {"padding": {"s": base64.b64encode(b"SAME").decode()}}})  # fmt: skip
        if i == 4:  # a layer of another branch, without a batch norm
            add("side/w", torch.ones(1, 1, 4, 4), stored)
            add("side/ReadVariableOp", torch.ones(4), stored)
            nodes.append({"name": "side", "op": "_FusedConv2D", "input": ["x", "side/w", "side/ReadVariableOp"]})
    folder.mkdir(exist_ok=True)
    (folder / "net.bin").write_bytes(data)
    graph = {
        "modelTopology": {"node": nodes},
        "weightsManifest": [{"paths": ["net.bin"], "weights": weights}],
    }
    (folder / "net.json").write_text(json.dumps(graph))
    return folder / "net.json"


def test_the_loaded_trunk_sees_what_the_published_one_sees(trunk, tmp_path):
    got = LiteTrunk(deep=True, kind="mobilenet2").eval()
    load_movenet(got, published(trunk, tmp_path, "float32"))
    # Theirs sees p / 127.5 - 1; so does the fixture here. Grey borders, so that zeros outside mean nearly the same.
    photo = torch.full((1, 3, 64, 64), 120.0)
    photo[..., 24:40, 24:40] = torch.rand(1, 3, 16, 16) * 255
    mean, std = (torch.tensor(v)[:, None, None] for v in (MEAN_RGB, STD_RGB))
    with torch.inference_mode():
        theirs, ours = trunk(photo / 127.5 - 1), got((photo - mean) / std)
    for far, (a, b) in zip((4, 4, 2, 1), zip(theirs, ours, strict=True), strict=True):
        assert b.isfinite().all()
        middle = slice(a.shape[-1] // 2 - far // 2, a.shape[-1] // 2 + (far + 1) // 2)
        apart = (a - b)[..., middle, middle].abs().max() / a.std()
        assert apart < 0.05  # of the map's spread: what zeros at the border change


def test_layers_are_those_of_the_graph_and_filters_have_the_usual_size(trunk, tmp_path):
    path = published(trunk, tmp_path, "float32")
    layers = read_layers(path)
    _, conv, _, norm = next(iter(_pairs(trunk)))
    by_hand = conv.weight[3] * norm.weight[3] / (norm.running_var[3] + norm.eps).sqrt()
    assert torch.allclose(layers[0].weight[3], by_hand, atol=1e-6)
    assert len(layers) == len(list(_pairs(trunk)))  # the branch without a batch norm is not among them
    got = LiteTrunk(deep=True, kind="mobilenet2").eval()
    load_movenet(got, path)
    sizes = [c.weight.flatten(1).square().mean(1).mul(c.weight[0].numel() / 2).sqrt() for _, c, _, _ in _pairs(got)][1:]
    assert all(torch.allclose(size, torch.ones_like(size), atol=1e-4) for size in sizes)
    x = torch.rand(2, 16, 8, 8)
    block, want = got.blocks[1][0], functional.relu6(functional.conv2d(x, layers[3].weight, layers[3].bias))
    assert torch.allclose(block.bn1(block.conv_pw(x)), want, atol=1e-4)


def test_half_floats_are_read(trunk, tmp_path):
    whole, half = (read_layers(published(trunk, tmp_path / d, d)) for d in ("float32", "float16"))
    assert all(torch.allclose(a.weight, b.weight, rtol=1e-3, atol=1e-3) for a, b in zip(whole, half, strict=True))


def test_other_and_damaged_files_are_refused(trunk, tmp_path):
    path = published(trunk, tmp_path)
    graph, data = json.loads(path.read_text()), (tmp_path / "net.bin").read_bytes()
    got = LiteTrunk(deep=True, kind="mobilenet2")

    def refused(match, change=lambda g: None, weights=data):
        other = json.loads(json.dumps(graph))
        change(other)
        path.write_text(json.dumps(other))
        (tmp_path / "net.bin").write_bytes(weights)
        with pytest.raises(WeightsError, match=match):
            load_movenet(got, path)

    refused("ends before", weights=data[:-1])
    refused("bytes where the graph names", weights=data + b"\0")
    refused("layers for a trunk of", lambda g: g["modelTopology"]["node"].pop())
    refused("is expected", lambda g: g["modelTopology"]["node"].reverse())
    refused("not beside it", lambda g: g["weightsManifest"][0].update(paths=["../net.bin"]))
    refused("cannot be read", lambda g: g["weightsManifest"][0].update(paths=["other.bin"]))
    refused("stored as uint8", lambda g: g["weightsManifest"][0]["weights"][0]["quantization"].update(dtype="uint8"))
    refused("not the graph", lambda g: g.pop("modelTopology"))
    path.write_text("<html>")
    with pytest.raises(WeightsError, match="not a JSON file"):
        load_movenet(got, path)
    with pytest.raises(WeightsError, match="cannot be read"):
        load_movenet(got, tmp_path / "none.json")
    assert np.isfinite(got.conv_stem.weight.detach().numpy()).all()  # nothing was half loaded


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(at=st.floats(0, 1), text=st.sampled_from(["[", "]", "{", "null", "-1", '"x"', "1e999", "\\", "\x00", ","]))
def test_a_damaged_graph_never_gives_another_error(trunk, tmp_path, at, text):
    path = tmp_path / "net.json"
    if not path.exists():
        published(trunk, tmp_path)
        (tmp_path / "whole").write_text(path.read_text())
    whole = (tmp_path / "whole").read_text()
    cut = int(at * len(whole))
    path.write_text(whole[:cut] + text + whole[cut + len(text) :])
    with contextlib.suppress(OpenExposeError):
        read_layers(path)
