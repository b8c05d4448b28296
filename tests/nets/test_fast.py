"""The inference path says what the plain model says: float32 to 1e-4, bfloat16 to 1e-2 in parameter units."""

import pytest
import torch
from torch import nn

import toy_models
from nets import golden
from nets.golden import worst
from nets.tiny import tiny_config
from openexpose.body import BodyModel
from openexpose.errors import ConfigError
from openexpose.nets import build, config, fast
from openexpose.nets.attention import Look
from openexpose.nets.means import Means
from openexpose.nets.regressor import LinearRegressor, collapsed


def shaken(network: nn.Module) -> nn.Module:
    """The network with batch statistics that are not zero and one, so that folding has something to do."""
    g = torch.Generator().manual_seed(2)
    for m in network.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.running_mean.normal_(0, 0.1, generator=g)
            m.running_var.uniform_(0.8, 1.2, generator=g)
            nn.init.uniform_(m.weight, 0.5, 1.0, generator=g)
            nn.init.normal_(m.bias, std=0.1, generator=g)
    return network.eval()


def pictures(rows: int, px: int) -> torch.Tensor:
    return torch.randn(rows, 3, px, px, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize(
    ("name", "dtype", "tolerance"),
    [
        ("resnet18", torch.float32, 1e-4),
        ("resnet10t", torch.bfloat16, 3e-2),
        ("resnet26", torch.float32, 1e-4),
        ("seresnet18", torch.bfloat16, 3e-2),
        ("mobilenetv3_small_050", torch.float32, 1e-4),
    ],
)
def test_backbones_give_the_same_features(name, dtype, tolerance):
    """Known kinds fused, others only cast; batches that differ from the one that packed the weights; none at all."""
    torch.random.default_generator.manual_seed(1)
    plain = shaken(build.build_backbone(name)[0])
    quick = fast.FastBackbone(plain, 64, dtype)
    with torch.inference_mode():
        for rows in (1, 3, 0):
            want, got = plain(pictures(rows, 64)), quick(pictures(rows, 64))
            assert got.dtype == torch.float32
            assert got.shape == want.shape
            if rows:
                assert (got - want).abs().max() <= tolerance * want.abs().max()  # relative


def test_hrnet_gives_the_same_features(random_hrnet):
    plain = shaken(random_hrnet)
    with torch.inference_mode():
        x = pictures(2, 64)
        want = plain(x)
        for dtype, tolerance in ((torch.float32, 1e-4), (torch.bfloat16, 3e-2)):
            got = fast.FastBackbone(plain, 64, dtype)(x)
            assert (got - want).abs().max() <= tolerance * want.abs().max()  # relative


@pytest.mark.parametrize("given", [True, False])
def test_a_linear_regressor_is_one_matrix(tiny_expose, given):
    torch.random.default_generator.manual_seed(5)
    cfg = config.expose().part("body")
    codec = build.build_codec("body", cfg)
    slow = build.IterativeRegressor(
        num_features=40, mean=torch.randn(codec.size), width=64, activation="none", steps=3, dropout=0.5
    ).eval()
    nn.init.normal_(slow.output.weight, std=0.02)
    quick = collapsed(slow)
    assert isinstance(quick, LinearRegressor)
    features, start = torch.randn(5, 40), torch.randn(5, codec.size) if given else None
    assert (quick(features, start) - slow(features, start)).abs().max() <= 1e-4  # parameter units
    assert collapsed(tiny_expose.hand.regressor) is tiny_expose.hand.regressor
    assert collapsed(quick) is quick


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 1e-2)])
def test_a_whole_model_gives_the_same_params(dtype, tolerance):
    torch.random.default_generator.manual_seed(0)
    plain = build.build_expose(tiny_config(), BodyModel(toy_models.toy_smplx(3)), means=Means())
    shaken(plain)
    quick = fast.speed_up(plain, dtype=dtype)
    g = torch.Generator().manual_seed(4)
    photos = [torch.randint(0, 256, (n, 90, 3), dtype=torch.uint8, generator=g) for n in (70, 120)]
    T = torch.tensor([[[0.9, 0, 2.0], [0, 0.9, -3.0]], [[0.8, 0, 0.0], [0, 0.8, -7.0]]])
    look = Look(pictures(2, 64), photos, T, torch.tensor([64 / 0.9, 64 / 0.8]))
    with torch.inference_mode():
        want, got = plain(look), quick(look)
    for name in want.params.__dataclass_fields__:
        assert (getattr(got.params, name) - getattr(want.params, name)).abs().max() <= tolerance, name
    assert (got.camera - want.camera).abs().max() <= tolerance
    assert quick.body_model is plain.body_model
    assert not [p for p in quick.parameters() if p.requires_grad]


def test_what_cannot_be_sped_up_is_refused(tiny_expose):
    with pytest.raises(ConfigError, match="float16"):
        fast.speed_up(tiny_expose, dtype=torch.float16)
    training = build.build_part("hand", tiny_config().part("hand"), means=Means())
    with pytest.raises(ConfigError, match="eval"):
        fast.speed_up_part(training)


@pytest.mark.golden
def test_the_recipe_networks_give_the_same_params(golden_expose, golden_runs):
    """Each network fed the same crops and starts; recipe weights make 200 times of any rounding."""
    look, want = golden_runs("forward_expose")
    with torch.inference_mode():
        body = fast.speed_up_part(golden_expose.body)(look.crops)
        squares = (want.right_hand_square, want.left_hand_square)
        right, left = (s.cut(look.photos, 224) for s in squares)
        hands = fast.speed_up_part(golden_expose.hand)(
            torch.cat([right, left.flip(-1)]), golden_expose.hand_start(want.body)
        )
        face = want.head_square.cut(look.photos, 256)
        head = fast.speed_up_part(golden_expose.head)(face, golden_expose.head_start(want.body))
    for got, plain, key in ((body, want.body, "body"), (hands, want.hands, "hand"), (head, want.head, "face")):
        assert (got.vector - plain.vector).abs().max() <= 1e-4  # parameter units
        if key == "body":
            assert worst(got.vector, golden.load("forward_expose")["body.stages"][-1]) <= 1e-4  # parameter units
