"""EfficientNet-Lite's published weights under timm's names."""

import pytest
import torch

from openexpose.errors import WeightsError
from openexpose.extras import load_timm
from openexpose.geometry.crop import MEAN_RGB, STD_RGB
from openexpose.nets.points import LiteTrunk
from openexpose.weights.efficientnet_lite import efficientnet_lite_state, load_efficientnet_lite


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return load_timm().create_model("tf_efficientnet_lite0", pretrained=False).eval()


@pytest.fixture(scope="module")
def published(network):
    """The same tensors in the same order under other names, as the published files have them."""
    state = {k: v.clone() for k, v in network.state_dict().items()}
    state["bn1.running_mean"] = torch.linspace(-1, 1, 32)
    return {f"_layer{i}.{k.rpartition('.')[2]}": v for i, (k, v) in enumerate(state.items())}


def test_our_pixels_give_the_features_of_theirs(network, published):
    like = network.state_dict()
    theirs = dict(zip(like, published.values(), strict=True))
    ours = efficientnet_lite_state(published, like)
    photo = torch.rand(1, 3, 33, 33) * 255

    def stem(state, pixels):
        x = torch.nn.functional.conv2d(pixels, state["conv_stem.weight"])  # no padding: zeros differ between the two
        return x - state["bn1.running_mean"][:, None, None]

    mean, std = (torch.tensor(v)[:, None, None] for v in (MEAN_RGB, STD_RGB))
    apart = stem(ours, (photo - mean) / std) - stem(theirs, (photo - 127) / 128)
    assert apart.abs().max() < 1e-5  # feature units


def test_a_file_fills_a_trunk(tmp_path, network, published):
    path = tmp_path / "lite0.pth"
    torch.save(published, path)
    trunk = LiteTrunk(deep=False)
    load_efficientnet_lite(trunk, path, like=network.state_dict())
    assert torch.equal(trunk.blocks[0][0].conv_dw.weight, network.blocks[0][0].conv_dw.weight)


def test_another_network_is_refused(network, published):
    like = network.state_dict()
    with pytest.raises(WeightsError, match="another EfficientNet-Lite"):
        efficientnet_lite_state(dict(list(published.items())[:-1]), like)
    swapped = dict(published) | {next(iter(published)): torch.zeros(3)}
    with pytest.raises(WeightsError, match="stands where conv_stem"):
        efficientnet_lite_state(swapped, like)
