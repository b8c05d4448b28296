"""ExPose's body backbone: timm's HRNet-W48 up to the third transition, then ExPose's fusing tail.

The released networks carry a fourth stage and never run it (spec 2.1); here it is not built.
Module names are those of the reference, so keys map one to one; see `docs/nets.md`.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from openexpose.extras import load_timm

_NO_STAGE4 = {
    "num_modules": 0,
    "num_branches": 4,
    "block_type": "BASIC",
    "num_blocks": (4, 4, 4, 4),
    "num_channels": (48, 96, 192, 384),
    "fuse_method": "SUM",
}


class HRNetExPose(nn.Module):
    """Picture to 2048 features; 60 million parameters, 15 G multiply-adds for 256 x 256 pixels."""

    head_hidden_size = 2048
    """Number of features, under timm's name for it."""

    def __init__(self) -> None:
        super().__init__()
        trunk: Any = load_timm().create_model("hrnet_w48", pretrained=False, head="", stage4=_NO_STAGE4)
        self.conv1, self.bn1, self.conv2, self.bn2 = trunk.conv1, trunk.bn1, trunk.conv2, trunk.bn2
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = trunk.layer1
        self.transition1, self.stage2 = trunk.transition1, trunk.stage2
        self.transition2, self.stage3 = trunk.transition2, trunk.stage3
        self.transition3 = trunk.transition3
        # The tail reads the two coarser outputs only: the layers that would fuse the finest one have no reader.
        self.stage3[-1].fuse_layers[0] = nn.ModuleList([nn.Identity()])
        self.subsample_3 = _strided(96, 192, 384)
        self.subsample_2 = _strided(192, 384)
        self.conv_layers = nn.Sequential(*(_bottleneck(1152 if i == 0 else 2048) for i in range(5)))

    def forward(self, picture: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 2048"]:
        """Features of normalised RGB pictures; H and W must be multiples of 32."""
        x = self.relu(self.bn1(self.conv1(picture)))
        x = self.layer1(self.relu(self.bn2(self.conv2(x))))  # (B, 256, H/4, W/4)
        fine, mid = self.stage2([branch(x) for branch in self.transition1])  # 48 at H/4, 96 at H/8
        _, mid, coarse = self.stage3([fine, mid, self.transition2[2](mid)])  # 96 at H/8, 192 at H/16
        tail = torch.cat([self.subsample_3(mid), self.subsample_2(coarse), self.transition3[3](coarse)], 1)
        features: Tensor = self.conv_layers(tail).mean((2, 3))
        return features


def _strided(*widths: int) -> nn.Sequential:
    """Each step halves the sides: 3x3 convolution with bias, batch norm, ReLU."""
    layers: list[nn.Module] = []
    for before, after in zip(widths, widths[1:], strict=False):
        layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def _bottleneck(inputs: int) -> nn.Module:
    """512 wide, 2048 out. The shortcut is a bare 1x1 convolution, in every block (spec 2.1)."""
    timm: Any = load_timm()
    block: nn.Module = timm.models.resnet.Bottleneck(inputs, 512, downsample=nn.Conv2d(inputs, 2048, 1, bias=False))
    return block
