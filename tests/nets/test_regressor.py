"""The iterative regressor and the part networks: recurrence, linearity, batch norm, refusals."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from nets.tiny import tiny_config
from openexpose.errors import ShapeError
from openexpose.nets import build, config
from openexpose.nets.means import Means
from openexpose.nets.regressor import IterativeRegressor


def regressor(activation="none", **changes):
    torch.random.default_generator.manual_seed(4)
    sizes = {"num_features": 6, "mean": torch.arange(5.0), "width": 8, "steps": 3, "dropout": 0.0} | changes
    net = IterativeRegressor(activation=activation, **sizes).double().eval()
    nn.init.normal_(net.output.weight)
    return net


def features(rows=4, seed=5):
    return torch.randn(rows, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("activation", ["none", "relu"])
def test_each_step_adds_what_the_layers_say(activation):
    net, x = regressor(activation), features()
    squash = torch.relu if activation == "relu" else (lambda v: v)
    guess = torch.arange(5.0).double().expand(4, 5)
    for stage in net.stages(x):
        v = torch.cat([x, guess], 1)
        for layer in net.hidden:
            v = squash(v @ layer.weight.T + layer.bias)
        guess = guess + v @ net.output.weight.T + net.output.bias
        assert_close(stage, guess)
    assert_close(net(x), guess)


def test_the_body_regressor_is_linear_and_the_others_are_not(tiny_expose):
    """Parity row 2."""
    for net, linear in ((regressor("none"), True), (regressor("relu"), False)):
        a, b = features(seed=1), features(seed=2)
        middle = net((a + b) / 2)
        assert torch.allclose(middle, (net(a) + net(b)) / 2) is linear
    configs = config.expose()
    assert [configs.part(p).activation for p in configs.parts] == ["none", "relu", "relu"]


def test_a_start_replaces_the_mean():
    net, x = regressor(), features()
    start = torch.randn(4, 5, dtype=torch.float64)
    assert_close(net(x, net.mean_param.expand(4, -1)), net(x))
    assert not torch.allclose(net(x, start), net(x))
    assert regressor()(features(0)).shape == (0, 5)
    with pytest.raises(ShapeError, match="5"):
        net(x, torch.zeros(4, 6, dtype=torch.float64))


def test_dropout_acts_in_training_only():
    net, x = regressor(dropout=0.5), features()
    assert_close(net(x), net(x))
    net.train()
    assert not torch.allclose(net(x), net(x))


def test_new_regressors_start_near_the_mean():
    net = IterativeRegressor(num_features=6, mean=torch.zeros(5), width=64, activation="relu", steps=3, dropout=0.0)
    assert net(torch.randn(7, 6)).abs().max() < 0.1  # parameter units


@pytest.mark.parametrize("fixed", [True, False])
def test_fixed_batch_norms_stay_in_evaluation_mode(fixed):
    """Parity row 11."""
    cfg = replace(tiny_config().part("hand"), fixed_norm=fixed)
    net = build.build_part("hand", cfg, means=Means()).train()
    norms = [m for m in net.backbone.modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms
    assert {m.training for m in norms} == {not fixed}
    assert net.regressor.training
    before = norms[0].running_mean.clone()
    net(torch.randn(3, 3, 64, 64))
    assert torch.equal(before, norms[0].running_mean) is fixed
    assert norms[0].weight.requires_grad


def test_other_crop_sizes_are_refused(tiny_expose):
    with pytest.raises(ShapeError, match="64"):
        tiny_expose.hand(torch.zeros(1, 3, 96, 96))
    assert tiny_expose.hand(torch.zeros(0, 3, 64, 64)).vector.shape == (0, 109)
