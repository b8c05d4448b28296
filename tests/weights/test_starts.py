"""Backbones from ImageNet files: what is used, dropped, left alone, and that nothing is fetched unasked."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from openexpose.errors import WeightsError
from openexpose.nets.build import build_backbone
from openexpose.weights import starts
from openexpose.weights.starts import download_start, load_start
from weights import grammar, states

BODY = "hrnet_w48_expose"


def first_numbers(module: nn.Module) -> dict[str, float]:
    return {k: v.flatten()[0].item() for k, v in module.state_dict().items() if v.is_floating_point()}


@pytest.mark.parametrize("prefix", ["", "backbone."])
@pytest.mark.parametrize("zip_format", [True, False], ids=["zip", "legacy"])
def test_resnet18_comes_from_torchvision_s_names(tmp_path, prefix, zip_format):
    shapes = grammar.resnet18(fc=True)
    state = {prefix + k: v for k, v in states.constants(shapes).items()}
    path = states.save(state, tmp_path / "resnet18.pth", "state_dict" if prefix else "", zip_format)
    backbone, _ = build_backbone("resnet18")
    match = load_start(backbone, path)
    assert len(match.used) == 120 and match.dropped == {"of the classifier": (f"{prefix}fc.bias", f"{prefix}fc.weight")}
    assert all(v == pytest.approx(states.constant(k), rel=1e-6) for k, v in first_numbers(backbone).items())  # float32


IMAGENET_HEAD = {
    "incre_modules.0.0.conv1.weight": (32, 48, 1, 1), "incre_modules.0.0.bn1.running_mean": (32,),
    "downsamp_modules.1.0.bias": (9,), "final_layer.0.weight": (9, 9, 1, 1), "classifier.weight": (1000, 2048),
}  # fmt: skip


POSE_HEAD = {"final_layer.weight": (17, 48, 1, 1), "final_layer.bias": (17,)}


@pytest.mark.parametrize(("counter", "head"), [(True, IMAGENET_HEAD), (False, POSE_HEAD)])
def test_hrnet_fills_the_trunk_and_leaves_the_tail(tmp_path, head, counter):
    state = states.constants(grammar.hrnet_trunk(counter=counter) | head)
    backbone, _ = build_backbone(BODY)
    before = first_numbers(backbone)
    match = load_start(backbone, states.save(state, tmp_path / "hrnet_pretrain.pth", ""))
    for key, value in first_numbers(backbone).items():
        assert value == (before[key] if key.startswith(starts.TAIL) else pytest.approx(states.constant(key), rel=1e-6))
    assert len(match.used) == (954 if counter else 795) and len(match.fresh) == 116
    assert sum(map(len, match.dropped.values())) == len(state) - len(match.used)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"layer5.0.conv1.weight": torch.zeros(1)}, "1 left over.*\n.*layer5"),
        ({"conv1.weight": torch.zeros(64, 1, 7, 7)}, "another shape"),
        ({"layer2.0.bn1.weight": None}, "1 missing.*\n.*layer2.0.bn1.weight"),
    ],
)
def test_a_file_that_does_not_fit_leaves_the_backbone_alone(tmp_path, change, words):
    state = states.constants(grammar.resnet18(fc=True)) | change
    path = states.save({k: v for k, v in state.items() if v is not None}, tmp_path / "w.pth", "")
    backbone, _ = build_backbone("resnet18")
    before = first_numbers(backbone)
    with pytest.raises(WeightsError, match=words):
        load_start(backbone, path)
    assert first_numbers(backbone) == before


def test_timm_s_own_file_goes_the_same_way(tmp_path):
    """Where timm would fetch, it reads a local file here: the network is not needed to test the rest of the way."""
    path = tmp_path / "model.safetensors"
    save_file({k: v.clone() for k, v in states.constants(grammar.resnet18(fc=True)).items()}, path)
    through_timm, _ = build_backbone("resnet18")
    directly, _ = build_backbone("resnet18")
    match = starts._from_timm(through_timm, "resnet18.tv_in1k", overlay={"file": str(path)})
    assert match == load_start(directly, path) and len(match.used) == 120
    assert first_numbers(through_timm) == first_numbers(directly)


def test_nothing_is_fetched_unasked(monkeypatch):
    monkeypatch.setattr(starts, "load_timm", lambda: pytest.fail("timm was asked"))
    for name, words in ((BODY, "hrnet_w48.ms_in1k.*hrnet_pretrain.pth"), ("resnet10t", "resnet10t.*explicitly\\.")):
        with pytest.raises(WeightsError, match=words):
            download_start(nn.Identity(), name, download=False)


def test_timm_s_failures_and_bad_files_are_ours(tmp_path):
    backbone, _ = build_backbone("resnet18")
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(b"\x08\0\0\0\0\0\0\0{]      ")
    with pytest.raises(WeightsError, match="damaged"):
        load_start(backbone, bad)
    with pytest.raises(WeightsError, match="missing"):
        load_start(backbone, Path(tmp_path / "none.safetensors"))
    with pytest.raises(WeightsError, match="timm could not provide resnet18.tv_in1k"):
        starts._from_timm(backbone, "resnet18.tv_in1k", overlay={"file": str(bad)})
