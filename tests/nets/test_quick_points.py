import copy

import pytest
import torch

from openexpose.nets.points import ROWS_AT_ONCE, LiteTrunk, PointBackbone
from openexpose.nets.quick_points import _Depthwise, quicken_early, quicken_late


@pytest.fixture
def backbone():
    torch.manual_seed(0)
    made = PointBackbone(num_points=3, deep=True)
    made.train()
    for module in made.modules():  # fixed batch norms that folding cannot ignore
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            module.weight.data.uniform_(0.7, 1.3)
            module.bias.data.normal_(0, 0.1)
    return made


@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-5), (torch.bfloat16, 0.05)])
def test_quick_early_stages_say_the_same_and_keep_their_weights(backbone, dtype, tolerance):
    trunk, picture = copy.deepcopy(backbone).trunk, torch.randn(ROWS_AT_ONCE + 1, 3, 64, 64)
    names = list(trunk.state_dict())
    quicken_early(trunk, dtype)
    with torch.no_grad():
        trunk.bn1.running_mean += 0.1  # weights may be loaded until the first picture
        want = type(trunk).early_maps(trunk, picture)
    got = trunk.early_maps(picture)
    for g, w in zip(got, want, strict=True):
        assert g.dtype == torch.float32 and not g.requires_grad
        assert (g - w).abs().max() < tolerance * w.abs().max()
    assert list(trunk.state_dict()) == names
    trunk.train()
    learns = trunk.early_maps(picture)
    assert not torch.allclose(learns[0], want[0], atol=1e-3), "batch norms that see their batch are left alone"


def learnt(trunk, early):
    """The late maps and every gradient of a fixed sum over them, by name."""
    x = early.clone().requires_grad_()
    maps = [m.float() for m in trunk.late_maps(x)]
    sum((m * torch.linspace(-1, 1, m[0].numel()).view_as(m[0])).sum() for m in maps).backward()
    grads = {n: p.grad.float() for n, p in trunk.named_parameters() if p.grad is not None}
    return {"maps": torch.cat([m.detach().flatten() for m in maps]), "x": x.grad.float()} | grads


@pytest.mark.parametrize("frozen", [False, True])
def test_quick_late_stages_say_and_learn_the_same(backbone, frozen):
    if frozen:
        backbone.freeze_depthwise()
    quick, short, plain = (copy.deepcopy(backbone.trunk) for _ in range(3))
    quicken_late(quick)
    quicken_late(short, torch.bfloat16)
    early = torch.randn(2, 40, 8, 8)
    want, got, rounded = learnt(plain, early), learnt(quick, early), learnt(short, early)
    usual = learnt(copy.deepcopy(backbone.trunk).to(torch.bfloat16), early.bfloat16())
    assert want.keys() == got.keys() == rounded.keys()
    for name, w in want.items():
        assert (got[name] - w).norm() < 1e-4 * w.norm(), name
    # random weights amplify rounding: bfloat16 may lose as much as the plain trunk does in it, and little more
    lost, usually = ([float((told[n] - w).norm() / w.norm()) for n, w in want.items()] for told in (rounded, usual))
    assert sum(lost) < 1.2 * sum(usually), (sum(lost), sum(usually))
    assert frozen != any("conv_dw" in name for name in want)
    assert "blocks.3.0.bn2.bias" in want


def test_evaluation_and_learning_batch_norms_stay_as_they_are(backbone):
    trunk, early = backbone.trunk, torch.randn(1, 40, 8, 8)
    quicken_late(trunk, torch.bfloat16)
    assert trunk.late_maps(early)[-1].dtype == torch.bfloat16
    trunk.eval()
    assert torch.equal(trunk.late_maps(early)[-1], LiteTrunk.late_maps(trunk, early)[-1])
    trunk.train()
    trunk.bn1.train()
    assert trunk.late_maps(early)[-1].dtype == torch.float32


@pytest.mark.parametrize("side, size, stride", [(7, 3, 1), (6, 5, 1), (6, 3, 2), (4, 5, 2)])
def test_gradient_of_a_depthwise_filter(side, size, stride):
    x, w, b = (torch.randn(*s, dtype=torch.float64) for s in ((2, 3, side, side), (3, 1, size, size), (3,)))
    for tensor in (x, w, b):
        tensor.requires_grad_()
    assert _Depthwise.apply(x, w, b, stride).shape[-1] == side // stride
    assert torch.autograd.gradcheck(lambda *xwb: _Depthwise.apply(*xwb, stride), (x, w, b))
