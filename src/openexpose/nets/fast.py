"""The inference path: the same networks with batch norms folded, sums and ReLUs inside the convolutions, channels last.

Convolutions go through oneDNN's fused operators with weights packed once, where torch has them for the CPU; elsewhere
through plain convolutions. The result answers like the model it was made from (parameters to 1e-4 in float32, 1e-2 in
bfloat16; `tests/nets/test_fast.py`), cannot be trained or saved, and does not follow later changes of its weights.
"""

import copy
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from openexpose.errors import ConfigError
from openexpose.nets.expose import ExPose
from openexpose.nets.fast_points import folded
from openexpose.nets.fused import FusedConv
from openexpose.nets.hrnet import HRNetExPose
from openexpose.nets.points import Points
from openexpose.nets.regressor import PartRegressor, collapsed


def speed_up(model: ExPose, *, dtype: torch.dtype = torch.float32) -> ExPose:
    """A copy of the whole model for inference; the body model is shared.

    dtype: of the backbones, float32 or bfloat16. Regressors, body model and crops stay in float32.
    Raises ConfigError if the model is in training mode or the dtype is another.
    """
    parts = [speed_up_part(part, dtype=dtype) for part in (model.body, model.hand, model.head)]
    return ExPose(*parts, body_model=model.body_model, zoom=model.zoom, gate=model.gate, refine=model.refine).eval()


def speed_up_part(part: PartRegressor[Any], *, dtype: torch.dtype = torch.float32) -> PartRegressor[Any]:
    """A copy of one network for inference. Raises ConfigError as `speed_up` does."""
    if dtype not in (torch.float32, torch.bfloat16):
        raise ConfigError(f"backbones run in float32 or bfloat16, not {dtype}")
    if part.training:
        raise ConfigError("call .eval() first: batch norms can only be folded with their stored statistics")
    with torch.no_grad():
        backbone = FastBackbone(part.backbone, part.crop_px, dtype)
        regressor = collapsed(part.regressor)
    fast: PartRegressor[Any] = PartRegressor(
        backbone, regressor, part.codec, crop_px=part.crop_px, fixed_norm=True, lifter=copy.deepcopy(part.lifter)
    )
    return fast.eval().requires_grad_(False)


class FastBlock(nn.Module):
    """A residual block of two or three fused convolutions; the last one adds the shortcut."""

    def __init__(self, convs: list[FusedConv], shortcut: nn.Module | None) -> None:
        super().__init__()
        self.first, self.last = nn.Sequential(*convs[:-1]), convs[-1]
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """The block's output."""
        out: Tensor = self.last(self.first(x), x if self.shortcut is None else self.shortcut(x))
        return out


class FastFuse(nn.Module):
    """One branch's output of an HRNet module: every branch brought to its resolution, summed, ReLU."""

    def __init__(self, own: int, layers: Any, dtype: torch.dtype) -> None:
        super().__init__()
        self.own = own
        self.coarser = nn.ModuleList(
            [FusedConv(layers[j][0], layers[j][1], relu=False, dtype=dtype) for j in range(own + 1, len(layers))]
        )
        steps = [fast_sequence(_flat(layers[j]), dtype) for j in range(own)]
        self.finer, self.last_step = nn.ModuleList([s[:-1] for s in steps]), nn.ModuleList([s[-1] for s in steps])

    def forward(self, branches: list[Tensor]) -> Tensor:
        """The fused map of branch `own`."""
        total = branches[self.own]
        for up, (conv, branch) in enumerate(zip(self.coarser, branches[self.own + 1 :], strict=True), start=1):
            total = total + functional.interpolate(conv(branch), scale_factor=2.0**up)
        for steps, last, branch in zip(self.finer, self.last_step, branches, strict=False):
            total = last(steps(branch), total)
        return total.relu()


class FastModule(nn.Module):
    """An HRNet module: residual blocks on every branch, then the fusion."""

    def __init__(self, module: Any, dtype: torch.dtype, *, wanted: tuple[int, ...]) -> None:
        """wanted: the outputs that somebody reads; the others come back as None."""
        super().__init__()
        self.branches = nn.ModuleList([fast_network(branch, dtype) for branch in module.branches])
        self.fuse = nn.ModuleDict({str(i): FastFuse(i, module.fuse_layers[i], dtype) for i in wanted})

    def forward(self, branches: list[Tensor]) -> list[Any]:
        """The module's outputs, fine to coarse."""
        seen = [branch(x) for branch, x in zip(self.branches, branches, strict=True)]
        return [self.fuse[str(i)](seen) if str(i) in self.fuse else None for i in range(len(seen))]


class FastHRNet(nn.Module):
    """`HRNetExPose` of fused convolutions."""

    def __init__(self, net: HRNetExPose, dtype: torch.dtype) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            FusedConv(net.conv1, net.bn1, relu=True, dtype=dtype), FusedConv(net.conv2, net.bn2, relu=True, dtype=dtype)
        )
        self.layer1 = fast_network(net.layer1, dtype)
        self.transition1 = nn.ModuleList([fast_network(t, dtype) for t in net.transition1])
        self.stage2 = FastModule(net.stage2[0], dtype, wanted=(0, 1))
        self.transition2, self.transition3 = (fast_network(t, dtype) for t in (net.transition2[2], net.transition3[3]))
        last = len(net.stage3) - 1
        self.stage3 = nn.ModuleList(
            [FastModule(m, dtype, wanted=(1, 2) if i == last else (0, 1, 2)) for i, m in enumerate(net.stage3)]
        )
        self.subsample_3, self.subsample_2 = (fast_network(s, dtype) for s in (net.subsample_3, net.subsample_2))
        self.tail = fast_network(net.conv_layers, dtype)

    def forward(self, picture: Tensor) -> Tensor:
        """Features, in float32."""
        x = self.layer1(self.stem(picture))
        fine, mid = self.stage2([branch(x) for branch in self.transition1])
        branches = [fine, mid, self.transition2(mid)]
        for module in self.stage3:
            branches = module(branches)
        _, mid, coarse = branches
        tail = torch.cat([self.subsample_3(mid), self.subsample_2(coarse), self.transition3(coarse)], 1)
        return self.tail(tail).mean((2, 3), dtype=torch.float32)


class FastResNet(nn.Module):
    """timm's ResNet of fused convolutions."""

    def __init__(self, net: Any, dtype: torch.dtype) -> None:
        super().__init__()
        stem = [*net.conv1] if isinstance(net.conv1, nn.Sequential) else [net.conv1]
        self.stem = fast_sequence([*stem, net.bn1, net.act1], dtype)
        self.pool = net.maxpool
        layers = (net.layer1, net.layer2, net.layer3, net.layer4)
        self.layers = nn.Sequential(*(fast_network(layer, dtype) for layer in layers))

    def forward(self, picture: Tensor) -> Tensor:
        """Features, in float32."""
        return self.layers(self.pool(self.stem(picture))).mean((2, 3), dtype=torch.float32)


class FastBackbone(nn.Module):
    """A backbone in its fast form, for crops of one size."""

    def __init__(self, backbone: nn.Module, crop_px: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.network, self.dtype = fast_network(backbone, dtype), dtype
        device = next(backbone.parameters()).device
        if any(isinstance(m, FusedConv) for m in self.network.modules()):
            examples = example_crops(crop_px)[: 1 if dtype == torch.float32 else 4]  # float32 has no rounding to mend
            with torch.no_grad():
                self.network(examples.to(device, memory_format=torch.channels_last))

    def forward(self, crops: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B F"] | tuple[Float[Tensor, "B F"], Points]:
        """Float32 features of normalised RGB crops, and points from backbones that draw heatmaps."""
        rows = len(crops)
        if not rows:  # oneDNN's fused operators refuse empty batches
            crops = crops.new_zeros(1, *crops.shape[1:])
        seen = self.network(crops.to(self.dtype, memory_format=torch.channels_last))
        if isinstance(seen, tuple):
            return seen[0][:rows].float(), seen[1].first(rows)
        features: Tensor = seen
        return features[:rows].float()


def example_crops(crop_px: int) -> Float[Tensor, "4 3 S S"]:
    """Four normalised pictures with the power of photos (more in coarse structure than in fine), always the same."""
    g = torch.Generator().manual_seed(0)
    octaves = [
        functional.interpolate(torch.randn(4, 3, n, n, generator=g) * a, (crop_px, crop_px), mode="bilinear")
        for n, a in ((4, 0.9), (16, 0.5), (64, 0.3))
    ]
    return torch.stack(octaves).sum(0)


def fast_network(network: nn.Module, dtype: torch.dtype) -> nn.Module:
    """A network of fused convolutions; kinds that are not known here only change layout and precision."""
    name = type(network).__name__
    known: dict[str, Callable[[Any, torch.dtype], nn.Module]] = {
        "HRNetExPose": FastHRNet,
        "ResNet": FastResNet,
        "BasicBlock": _fast_block,
        "Bottleneck": _fast_block,
        "PointBackbone": folded,
        "Sequential": lambda n, d: fast_sequence(_flat(n), d),
    }
    if name in known and _is_plain(network):
        return known[name](network, dtype)
    other: nn.Module = copy.deepcopy(network).to(dtype)
    return other.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def fast_sequence(modules: list[nn.Module], dtype: torch.dtype) -> nn.Sequential:
    """Runs of convolution, batch norm, ReLU become one module each; others go through `fast_network`."""
    out: list[nn.Module] = []
    queue = [m for m in modules if not isinstance(m, nn.Identity)]
    while queue:
        head = queue.pop(0)
        if isinstance(head, nn.Conv2d):
            norm = queue.pop(0) if queue and isinstance(queue[0], nn.BatchNorm2d) else None
            relu = bool(queue) and isinstance(queue[0], nn.ReLU)
            out.append(FusedConv(head, norm, relu=relu, dtype=dtype))
            queue = queue[1:] if relu else queue
        else:
            out.append(fast_network(head, dtype))
    return nn.Sequential(*out)


def _fast_block(block: Any, dtype: torch.dtype) -> nn.Module:
    count = 3 if hasattr(block, "conv3") else 2
    pairs = [(getattr(block, f"conv{i}"), getattr(block, f"bn{i}")) for i in range(1, count + 1)]
    convs = [FusedConv(conv, norm, relu=True, dtype=dtype) for conv, norm in pairs]
    shortcut = block.downsample
    if isinstance(shortcut, nn.Conv2d):
        shortcut = nn.Sequential(shortcut)
    return FastBlock(convs, None if shortcut is None else fast_sequence(_flat(shortcut), dtype))


def _is_plain(network: Any) -> bool:
    """Whether timm's options that would change the arithmetic (anti-aliasing, squeeze-excite, ...) are off."""
    blocks = [network] if hasattr(network, "conv2") and hasattr(network, "act1") else []
    blocks += [m for m in network.modules() if type(m).__name__ in ("BasicBlock", "Bottleneck")]
    for block in blocks:
        extras = [getattr(block, n, None) for n in ("drop_block", "aa", "se", "drop_path")]
        acts = [getattr(block, n) for n in ("act1", "act2", "act3") if hasattr(block, n)]
        idle = all(e is None or isinstance(e, nn.Identity) for e in extras)
        if not (idle and all(isinstance(a, nn.ReLU) for a in acts)):
            return False
    return True


def _flat(module: nn.Module) -> list[nn.Module]:
    """The leaves of nested sequences, in order."""
    if not isinstance(module, nn.Sequential):
        return [module]
    return [leaf for child in module for leaf in _flat(child)]
