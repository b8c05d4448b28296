"""The small backbone with heatmaps."""

import numpy as np
import pytest
import torch

from nets.tiny import tiny_points_config
from openexpose.body import load_model
from openexpose.errors import ConfigError
from openexpose.nets import build, fast, inputs
from openexpose.nets.config import PartConfig
from openexpose.nets.means import Means
from openexpose.nets.points import ROWS_AT_ONCE, PointBackbone, Points, _middle, expected_u, leg_rows


@pytest.fixture(scope="module")
def backbone() -> PointBackbone:
    torch.manual_seed(0)
    return PointBackbone(num_points=5, deep=True).eval()


def test_expected_places_by_hand():
    share = torch.zeros(1, 2, 2, 4)
    share[0, 0, 1, 3] = 1.0  # the last cell
    share[0, 1, 0, 0] = share[0, 1, 0, 3] = 0.5  # two corners: between them
    got = expected_u(share)
    assert torch.allclose(got[0], torch.tensor([[0.75, 0.5], [0.0, -0.5]]), atol=1e-6)  # shares of half the crop


def test_a_sure_heatmap_has_its_peak_and_place(backbone):
    logits = torch.full((1, 1, 8, 8), -20.0)
    logits[0, 0, 2, 5] = 20.0
    at = expected_u(logits.flatten(2).softmax(-1).unflatten(2, (8, 8)))
    assert torch.allclose(at[0, 0], torch.tensor([(5.5 / 8) * 2 - 1, (2.5 / 8) * 2 - 1]), atol=1e-5)
    with torch.no_grad():
        features, points = backbone(torch.randn(2, 3, 64, 64))
    assert features.shape == (2, backbone.num_features) and points.logits.shape == (2, 5, 8, 8)
    assert (points.peak > 0).all() and (points.peak <= 1 + 1e-5).all()
    assert (points.at_u.abs() <= 1).all()


def test_heatmaps_of_a_mirrored_picture_are_the_mirrored_heatmaps():
    torch.manual_seed(1)
    net = PointBackbone(num_points=4, deep=False, fine=16, twins=(1, 0, 2, 3)).eval()
    torch.nn.init.normal_(net.heat_fine.weight)
    picture = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        here, there = net(picture)[1], net(picture.flip(-1))[1]
        assert here.logits.shape == (2, 4, 16, 16)  # stride 4
        assert (here.logits - there.logits.flip(-1)[:, [1, 0, 2, 3]]).abs().max() < 1e-3  # log shares
        assert (here.at_u * torch.tensor([-1.0, 1.0]) - there.at_u[:, [1, 0, 2, 3]]).abs().max() < 1e-4
        net.train()
        assert net(picture)[0].shape == (2, net.num_features)
        assert not torch.allclose(net(picture)[1].at_u, here.at_u, atol=1e-3)  # one look while training


def test_many_pictures_go_through_in_pieces():
    torch.manual_seed(2)
    net = PointBackbone(num_points=4, deep=True, fine=16, twins=(1, 0, 2, 3), closer=0.8, depth=True).eval()
    torch.nn.init.normal_(net.heat_fine.weight)
    pictures, early, late = torch.randn(ROWS_AT_ONCE + 3, 3, 64, 64), [], []
    net.trunk.conv_stem.register_forward_hook(lambda module, given, out: early.append(len(given[0])))
    net.trunk.blocks[-1][0].register_forward_hook(lambda module, given, out: late.append(len(given[0])))
    with torch.no_grad():
        features, points = net(pictures)
        assert early == 4 * [ROWS_AT_ONCE] + [1]  # three looks
        assert late == [3 * len(pictures)]  # small maps
        for row in (0, ROWS_AT_ONCE - 1, ROWS_AT_ONCE, ROWS_AT_ONCE + 2):
            alone = net(pictures[row : row + 1])
            assert (alone[0][0] - features[row]).abs().max() < 1e-4
            assert (alone[1].at_u[0] - points.at_u[row]).abs().max() < 1e-5  # half crop sides


def test_the_fine_map_starts_as_nothing(backbone):
    net = PointBackbone(num_points=5, deep=True, fine=16).eval()
    net.load_state_dict(backbone.state_dict(), strict=False)
    picture = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        coarse, fine = backbone(picture)[1], net(picture)[1]
    assert (coarse.at_u - fine.at_u).abs().max() < 0.1  # half crop sides: the same maps, interpolated


def test_a_closer_look_moves_points_back_where_they_are():
    torch.manual_seed(3)
    plain = PointBackbone(num_points=2, deep=False).eval()
    both = PointBackbone(num_points=2, deep=False, closer=0.8).eval()
    plain.heat.weight.data *= 20  # peaks instead of two clouds in the middle
    both.load_state_dict(plain.state_dict())
    picture = torch.randn(1, 3, 128, 128)
    middle = _middle(picture, 0.8)
    with torch.no_grad():
        first, near, points = plain(picture)[1], plain(middle)[1], both(picture)[1]
    shares = [p.logits.flatten(2).softmax(-1).view_as(p.logits) for p in (first, near)]
    mean = expected_u(shares[0]) / (1 + 0.8**2) + 0.8 * expected_u(shares[1]) * 0.8**2 / (1 + 0.8**2)
    assert (points.at_u - mean).abs().max() < 0.05  # half crop sides: a smaller map has 0.8**2 of the mass
    assert (expected_u(shares[0]) - 0.8 * expected_u(shares[1])).abs().max() > 0.5  # the looks do not agree
    assert torch.equal(both.train()(picture)[1].logits, plain.train()(picture)[1].logits)  # none while training


def test_legs_are_seen_together_or_not_at_all():
    names = ("left_knee", "neck", "right_ankle", "left_heel")
    legs = leg_rows(names)
    assert legs == (0, 2, 3)
    sure, imagined, all_unsure = [0.9, 0.8, 0.6, 0.3], [0.5, 0.9, 0.4, 0.3], [0.5, 0.6, 0.4, 0.3]
    points = Points(torch.zeros(3, 4, 8, 8), torch.zeros(3, 4, 2), torch.tensor([sure, imagined, all_unsure]))
    assert torch.equal(points.doubted(legs).peak, torch.tensor([sure, [0.0, 0.9, 0.0, 0.0], all_unsure]))
    assert points.doubted(()) is points


def test_depths_start_as_nothing_and_are_read_under_the_heatmaps():
    torch.manual_seed(2)
    net = PointBackbone(num_points=4, deep=False, depth=True).eval()
    picture = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        features, points = net(picture)
        assert features.shape == (2, net.num_features) and points.depth_u.abs().max() == 0
        assert torch.allclose(points.doubt_u, torch.full((2, 4), 0.2))  # half crop sides
        net.depth_here.bias.data[:4] = torch.tensor([0.1, 0.2, 0.3, 0.4])
        net.depth_all.bias.data[4:] = 1.0
        points = net(picture)[1]
    assert torch.allclose(points.depth_u, torch.tensor([[0.1, 0.2, 0.3, 0.4]]).expand(2, 4), atol=1e-5)
    assert torch.allclose(points.doubt_u, torch.full((2, 4), 0.2 * np.e), atol=1e-5)
    kept = points.sharpened().doubted((0, 1), least=1.1, share=9.0).first(1)
    assert kept.depth_u is not None and torch.equal(kept.depth_u, points.depth_u[:1])
    assert kept.doubt_u[0, :2].isinf().all() and kept.doubt_u[0, 2:].isfinite().all()


def test_frozen_depthwise_filters_get_no_gradient():
    net = PointBackbone(num_points=3, deep=False)
    net.freeze_depthwise()
    net(torch.randn(1, 3, 64, 64))[0].sum().backward()
    groups = {c.weight.grad is None for c in net.trunk.modules() if isinstance(c, torch.nn.Conv2d) and c.groups > 1}
    others = {c.weight.grad is None for c in net.trunk.modules() if isinstance(c, torch.nn.Conv2d) and c.groups == 1}
    assert groups == {True} and others == {False}


def test_frozen_stages_get_no_gradient():
    net = PointBackbone(num_points=3, deep=False)
    net.freeze_early()
    features, points = net(torch.randn(1, 3, 64, 64))
    (features.sum() + points.at_u.sum()).backward()
    assert all(p.grad is None for p in net.trunk.conv_stem.parameters())
    assert all(p.grad is None for p in net.trunk.blocks[2].parameters())
    assert all(p.grad is not None for p in net.trunk.blocks[4].parameters())
    assert net.heat.weight.grad is not None


@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-4), (torch.bfloat16, 0.3)])
def test_the_fast_form_says_the_same(backbone, dtype, tolerance):
    for module in backbone.modules():  # statistics that folding cannot ignore
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    made = fast.FastBackbone(backbone, 64, dtype)
    crops = torch.randn(3, 3, 64, 64)
    with torch.no_grad():
        want, points = backbone(crops)
        got, fast_points = made(crops)
        nobody, none = made(crops[:0])
    scale = want.abs().max()
    assert (got - want).abs().max() / scale < tolerance  # relative to the largest feature
    assert (fast_points.at_u - points.at_u).abs().max() < tolerance  # half crop sides
    assert nobody.shape == (0, backbone.num_features) and none.at_u.shape == (0, 5, 2)


def test_the_whole_lite_model_answers_and_shows_its_points():
    torch.manual_seed(0)
    cfg = tiny_points_config()
    model = build.build_expose(cfg, load_model("free"), means=Means()).eval()
    photo = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    look = inputs.look_at([photo, photo], [inputs.crop_of_box((10.0, 5.0, 60.0, 80.0), 64)] * 2)
    with torch.inference_mode():
        whole, quick = model(look), fast.speed_up(model)(look)
    assert whole.body.points is not None and whole.body.points.at_u.shape == (2, len(cfg.part("body").points), 2)
    assert torch.allclose(whole.body.vector[0], whole.body.vector[1], atol=1e-4)  # rows may go to different threads
    assert (whole.params.body_pose - quick.params.body_pose).abs().max() < 1e-3  # of rotation matrices


def test_points_go_with_our_backbones_only():
    with pytest.raises(ConfigError, match="heatmap points go with"):
        PartConfig("resnet18", 64, 0.9, upside_down=True, num_betas=10, points=("nose",))
    with pytest.raises(ConfigError, match="heatmap points go with"):
        PartConfig("lite0_deep", 64, 0.9, upside_down=True, num_betas=10)
    with pytest.raises(ConfigError, match="below 1"):
        PartConfig("lite0_deep", 64, 0.9, upside_down=True, num_betas=10, points=("nose",), closer=1.0)
    with pytest.raises(ConfigError, match="at least one point"):
        PointBackbone(num_points=0, deep=True)
