"""The network that finds people: a small trunk, a pyramid, one map of middles and one of box sides.

Like TTFNet (Liu et al. 2020): people are peaks of a heatmap at a stride of 8 pixels, and every point near a peak names
the distances to the four sides of the box. The trunk is the first part of EfficientNet-Lite0, so it starts from
ImageNet.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from openexpose.errors import ConfigError
from openexpose.extras import load_timm

TRUNK = "tf_efficientnet_lite0"
"""timm's name of the whole classifier that the trunk is cut from."""
STRIDE = 8
"""Picture pixels to a point of the maps."""
MULTIPLE = 32
"""Sides of pictures are multiples of this: the coarsest map has this stride."""
WIDTH = 96
_RARE = 4.6
"""The heatmap starts at a probability of 1 %: people are rare."""
_MIDDLE_CHANNELS = (40, 112, 192)
_MAX_LOG = 5.0
"""Sides reach at most exp(5) strides, 1,187 pixels, from a point."""


class Trunk(nn.Module):
    """EfficientNet-Lite0 up to its first layer of stride 32; parameters have timm's names."""

    def __init__(self) -> None:
        super().__init__()
        whole: Any = load_timm().create_model(TRUNK, pretrained=False)
        self.conv_stem, self.bn1 = whole.conv_stem, whole.bn1
        self.blocks = nn.ModuleList([*whole.blocks[:5], nn.Sequential(whole.blocks[5][0])])

    def early(self, x: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 40 H/8 W/8"]:
        """Edges and textures, stride 8: the part that training never changes."""
        x = self.bn1(self.conv_stem(x))
        for block in self.blocks[:3]:
            x = block(x)
        return x

    def late(self, x: Float[Tensor, "B 40 h w"]) -> tuple[Tensor, Tensor]:
        """From the early features the maps of stride 16 (112 channels) and 32 (192)."""
        middle = self.blocks[4](self.blocks[3](x))
        return middle, self.blocks[5](middle)


def _separable(width: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=width, bias=False),
        nn.Conv2d(width, width, 1, bias=False),
        nn.BatchNorm2d(width, momentum=0.03),
        nn.ReLU(),
    )


def _lateral(channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width, momentum=0.03))


class PeopleNet(nn.Module):
    """Normalised pictures in, heat and box sides out."""

    def __init__(self, *, width: int = WIDTH) -> None:
        """width: channels of the pyramid. Weights are random; see `openexpose.detect.builtin` and training."""
        super().__init__()
        self.trunk = Trunk()
        self.laterals = nn.ModuleList([_lateral(c, width) for c in _MIDDLE_CHANNELS])
        self.context = nn.Sequential(_separable(width, 5), _separable(width, 5))
        self.smooth = nn.ModuleList([_separable(width, 3) for _ in range(2)])
        self.heat_tower = nn.Sequential(_separable(width, 3), nn.Conv2d(width, 1, 1))
        self.side_tower = nn.Sequential(_separable(width, 3), _separable(width, 3), nn.Conv2d(width, 4, 1))
        nn.init.constant_(self.heat_tower[-1].bias, -_RARE)  # type: ignore[arg-type]
        nn.init.constant_(self.side_tower[-1].bias, 1.5)  # type: ignore[arg-type]

    def forward(self, x: Float[Tensor, "B 3 H W"]) -> tuple[Float[Tensor, "B h w"], Float[Tensor, "B 4 h w"]]:
        """Logits of the heatmap, and left, top, right, bottom distances of each point in picture pixels.

        x: pixels normalised by ImageNet's mean and deviation; zero where there is no photo. h = H / 8.
        Raises ConfigError if a side is not a multiple of 32.
        """
        if x.shape[2] % MULTIPLE or x.shape[3] % MULTIPLE:
            raise ConfigError(f"sides of pictures are multiples of {MULTIPLE}, got {tuple(x.shape[2:])}: pad them")
        early = self.trunk.early(x)
        return self.head(early, *self.trunk.late(early))

    def head(self, *maps: Tensor) -> tuple[Float[Tensor, "B h w"], Float[Tensor, "B 4 h w"]]:
        """All that follows the trunk; maps: of strides 8, 16 and 32."""
        fine, middle, coarse = (lateral(m) for lateral, m in zip(self.laterals, maps, strict=True))
        coarse = coarse + self.context(coarse)
        middle = self.smooth[0](middle + _doubled(coarse))
        fine = self.smooth[1](fine + _doubled(middle))
        heat, sides = self.heat_tower(fine)[:, 0], self.side_tower(fine)
        return heat, sides.clamp(max=_MAX_LOG).exp() * STRIDE


def _doubled(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2.0, mode="nearest")


def fold_norms(network: nn.Module) -> None:
    """Put each batch norm that directly follows a convolution into it, in place: the same answers, sooner.

    Raises ConfigError if the network is in training mode.
    """
    if network.training:
        raise ConfigError("call .eval() first: batch norms can only be folded with their stored statistics")
    for module in list(network.modules()):
        children = list(module.named_children())
        for (name, conv), (norm_name, norm) in zip(children, children[1:], strict=False):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, name, fuse_conv_bn_eval(conv, norm))
                setattr(module, norm_name, getattr(norm, "act", nn.Identity()))  # timm's norms hold the ReLU


def middles(height: int, width: int) -> Float[Tensor, "2 h w"]:
    """x and y, in picture pixels, of the points of the maps; (0, 0) is the centre of the top left pixel."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([x, y]).float() * STRIDE + (STRIDE - 1) / 2


def boxes_of(sides_px: Float[Tensor, "*B 4 h w"]) -> Float[Tensor, "*B 4 h w"]:
    """x0, y0, x1, y1 in picture pixels from the distances that each point names."""
    at = middles(sides_px.shape[-2], sides_px.shape[-1]).to(sides_px)
    return torch.cat([at - sides_px[..., :2, :, :], at + sides_px[..., 2:, :, :]], -3)
