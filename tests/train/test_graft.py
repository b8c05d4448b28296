"""A new trunk under a trained network."""

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from openexpose.errors import ConfigError, WeightsError
from openexpose.nets.build import build_part
from openexpose.nets.config import lite
from openexpose.nets.means import Means
from openexpose.train import graft as module
from openexpose.train.config import DataConfig
from openexpose.train.graft import Fit, graft
from openexpose.train.presets import lite as whole
from openexpose.train.presets import lite_hand
from openexpose.train.run import train
from openexpose.weights.native import load_checkpointed
from train.test_starts import saved


def hand(backbone="lite0_shallow", **changes):
    torch.manual_seed(0)
    config = replace(lite().part("hand"), backbone=backbone, crop_px=64, **changes)
    out = build_part("hand", config, means=Means()).eval()
    for layer in (out.backbone.heat_fine, out.backbone.depth_all if out.backbone.depth else out.backbone.heat):
        torch.nn.init.normal_(layer.weight, std=0.1)  # they start as nothing
    return out


@pytest.fixture(scope="module")
def crops():
    return [torch.randn(8, 3, 64, 64, generator=torch.Generator().manual_seed(i)) for i in range(3)]


def test_least_squares_finds_the_line_that_made_the_samples():
    x, w, b = torch.randn(50, 4), torch.randn(3, 4), torch.randn(3)
    fit = Fit()
    for few in x.split(20):
        fit.add(few, few @ w.T + b)
    weight, bias = fit.solved()
    assert torch.allclose(weight, w, atol=1e-3)
    assert torch.allclose(bias, b, atol=1e-3)


def test_the_same_trunk_with_other_readers_gets_the_old_answer_back(crops):
    old = hand()
    new = copy.deepcopy(old)
    for layer in (*new.backbone.lateral, new.backbone.edge, new.backbone.pool, new.backbone.heat):
        torch.nn.init.normal_(layer.weight)
    graft(new, old, crops)
    with torch.inference_mode():
        a, b = (n.backbone(crops[0]) for n in (new, old))
    assert (a[1].logits - b[1].logits).abs().max() < 0.02 * b[1].logits.std()
    assert (a[0] - b[0]).abs().max() < 0.02 * b[0].std()


def test_another_trunk_comes_as_near_as_it_can(crops):
    old, new = hand("lite0_deep"), hand("mobilenet2_deep", points=lite().part("hand").points)
    graft(new, old, crops)
    trunk = copy.deepcopy(new.backbone.trunk.state_dict())
    assert torch.equal(new.regressor.output.weight, old.regressor.output.weight)
    assert all(torch.equal(v, trunk[k]) for k, v in new.backbone.trunk.state_dict().items())
    x, y = (n.backbone.trunk(crops[0])[-1].mean((2, 3)) for n in (new, old))
    want, got = old.backbone.pool(y), new.backbone.pool(x)
    assert (got - want).square().mean() < want.var(0).mean()  # nearer than a constant


def test_networks_that_differ_elsewhere_are_refused(crops):
    with pytest.raises(ConfigError, match="trunks alone; these in regressor"):
        graft(hand(), hand(width=64), crops)
    with pytest.raises(ConfigError, match="trunks alone; these in backbone.depth_all"):
        graft(hand(), hand(depth=False), crops)
    with pytest.raises(ConfigError, match="at least one batch"):
        graft(hand(), hand(), [])
    with pytest.raises(ConfigError, match="one network alone"):
        replace(whole(), graft=Path("old.safetensors"))
    for other in ({"init": (Path("x"),)}, {"init_backbone": Path("x")}, {"lifter": Path("x")}):
        with pytest.raises(ConfigError, match="takes over all but the trunk"):
            replace(lite_hand(), graft=Path("old.safetensors"), **other)


def test_a_run_begins_with_a_graft_and_a_resumed_one_does_not_repeat_it(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_BATCHES", 2)
    held = saved(tmp_path / "old.safetensors", lite().part("hand"))
    config = replace(
        lite_hand(), data=DataConfig(kind="toy", samples_per_epoch=2), steps=1, batch_size=2, crop_px=32, workers=0,
        report=False, tensorboard=False, backbone="mobilenet2_deep", graft=tmp_path / "old.safetensors",
        optimiser=replace(lite_hand().optimiser, lr=1e-12),
    )  # fmt: skip
    tensors = load_checkpointed(train(config, tmp_path / "run").path / "best.safetensors")[1]
    readers = (".trunk.", ".lateral.", ".edge.", ".pool.")
    other = [k for k, v in held.items() if not any(r in k for r in readers) and not torch.allclose(tensors[k], v)]
    assert not other
    (tmp_path / "old.safetensors").unlink()
    train(replace(config, steps=2), tmp_path / "run")  # goes on without the file
    with pytest.raises(WeightsError):
        train(config, tmp_path / "other")
