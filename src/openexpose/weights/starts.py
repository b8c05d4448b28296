"""Backbones that start from ImageNet or pose training: files of the data tree, or timm's own on request (spec 2.5)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from openexpose.errors import WeightsError
from openexpose.extras import load_timm
from openexpose.weights.mmhuman3d import bare_backbone
from openexpose.weights.tables import Match, match_keys, take
from openexpose.weights.torchfile import open_torch_file

START_FILES = {"hrnet_w48_expose": "hrnet_pretrain.pth", "resnet18": "resnet18.pth"}
"""Backbone -> its file in the tree's `pretrained_models/`."""
TIMM_NAMES = {"hrnet_w48_expose": "hrnet_w48.ms_in1k", "resnet18": "resnet18.tv_in1k"}
"""Backbone -> the timm model whose ImageNet weights suit it; others go by their own name."""
TAIL = ("conv_layers.", "subsample_")
"""Of the body backbone: layers that ExPose added, which no ImageNet file holds."""


def load_start(backbone: nn.Module, path: Path) -> Match:
    """Puts a bare backbone file into a backbone, and says what was used, dropped, and left at its initial values.

    Reads `.pth` (bare or wrapped, with or without a `backbone.` prefix) and timm's `.safetensors`. Classifier and the
    stage that ExPose never runs are dropped. Raises WeightsError for everything that does not fit exactly.
    """
    tensors = _read_safetensors(path) if path.suffix == ".safetensors" else open_torch_file(path).tensors
    return _fill(backbone, tensors, str(path))


def download_start(backbone: nn.Module, name: str, *, download: bool) -> Match:
    """Puts timm's ImageNet weights for this backbone into it; timm fetches them once and keeps them.

    name: as in a part's config. The network is only used with `download=True`: otherwise WeightsError says what to do.
    """
    timm_name = TIMM_NAMES.get(name, name)
    if not download:
        file = START_FILES.get(name)
        or_file = f" or put {file} into pretrained_models/ of the data tree" if file else ""
        raise WeightsError(
            f"ImageNet weights of {timm_name} would have to be downloaded from timm's hub: ask for it explicitly"
            f"{or_file}."
        )
    return _from_timm(backbone, timm_name, overlay={})


def _from_timm(backbone: nn.Module, timm_name: str, *, overlay: Mapping[str, Any]) -> Match:
    """timm's own loading, then ours. `overlay` changes timm's record of the weights, e.g. {"file": ...}."""
    try:
        model = load_timm().create_model(timm_name, pretrained=True, pretrained_cfg_overlay=dict(overlay))
    except Exception as e:  # the hub, the network and timm raise many kinds
        raise WeightsError(f"timm could not provide {timm_name}: {type(e).__name__}: {e}") from e
    return _fill(backbone, model.state_dict(), f"timm's {timm_name}")


def is_bare(tensors: Mapping[str, Tensor]) -> bool:
    """Whether a state dict is a backbone without one of our regressors: something to start from, not to import."""
    return any(k.endswith("conv1.weight") for k in tensors) and not any("mean_param" in k for k in tensors)


def _fill(backbone: nn.Module, tensors: Mapping[str, Tensor], source: str) -> Match:
    wanted = backbone.state_dict()
    stem = next(iter(wanted))  # "conv1.weight" in ours; timm's other families have other first layers
    prefix = "backbone." if stem not in tensors and f"backbone.{stem}" in tensors else ""
    fresh = tuple(p for p in TAIL if any(k.startswith(p) for k in wanted))
    match = match_keys(tensors, wanted, bare_backbone(prefix, fresh))
    backbone.load_state_dict(wanted | take(match, tensors, wanted, source))
    return match


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(str(path))
    except (SafetensorError, OSError, ValueError) as e:
        raise WeightsError(f"{path} is missing, damaged, or not a safetensors file ({e}).") from e
