"""A small backbone that also says where things are: a heatmap for each named point, and features read there.

Heatmaps learn from 2D labels alone, so real photos teach them; the regressor gets the points, how sure they are, and
what the picture looks like around them, beside the pooled features (ideas: integral regression, Sun et al. 2018;
features at joints, PARE and PyMAF). Beyond the reference; the `lite` networks use it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from openexpose.errors import ConfigError
from openexpose.extras import load_timm

STRIDE_4, STRIDE_8, STRIDE_16, STRIDE_32 = 2, 3, 5, 7
"""How many stages of a trunk end at these strides."""


@dataclass(frozen=True)
class TrunkKind:
    """Network of timm's whose first stages are a trunk, padded as in TensorFlow."""

    timm_name: str
    widths: Mapping[int, int]
    """Channels after the stages that end at strides 4 to 32."""

    def network(self) -> Any:
        """The whole network with random weights."""
        return load_timm().create_model(self.timm_name, pretrained=False, pad_type="same")


TRUNKS: Mapping[str, TrunkKind] = {
    "lite0": TrunkKind("tf_efficientnet_lite0", {STRIDE_4: 24, STRIDE_8: 40, STRIDE_16: 112, STRIDE_32: 320}),
    "mobilenet2": TrunkKind("mobilenetv2_100", {STRIDE_4: 24, STRIDE_8: 32, STRIDE_16: 96, STRIDE_32: 320}),
}
"""By the first part of a `lite` backbone's name; the second says how many stages: `_deep` or `_shallow`."""

LATER_LAYERS = ("rise", "edge", "sharpen", "heat_fine", "depth_here", "depth_all")
"""Of a backbone with a map at stride 4 or with depths, and of no other; they start as nothing."""
LEGS_SURE = 0.43
LEGS_SHARE = 0.55
"""Legs are imagined if on average they are less sure (0 to 1) than the first, and than this share of all other points:
in hard sports photos everything is unsure. Of renderings without legs all are below both, of those with legs 4 %, of
LSPET 6 % (by the first alone 12 %)."""


def leg_rows(names: Sequence[str]) -> tuple[int, ...]:
    """Which points are below the hips."""
    return tuple(k for k, n in enumerate(names) if any(w in n for w in ("knee", "ankle", "toe", "heel")))


@dataclass(frozen=True)
class Points:
    """What the heatmaps say."""

    logits: Float[Tensor, "B K h w"]
    """Before the softmax over h x w, at stride 8 or 4; cell (0, 0) covers the crop's top left corner."""
    at_u: Float[Tensor, "B K 2"]
    """Expected place, in [-1, 1] over the crop as projections are."""
    peak: Float[Tensor, "B K"]
    """Highest share of 3 x 3 cells at stride 8, 0 to 1: how concentrated the heatmap is."""
    depth_u: Float[Tensor, "B K"] | None = None
    """How far behind the mean of all K points each is (before it: negative), in half crop sides; None: not told."""
    doubt_u: Float[Tensor, "B K"] | None = None
    """How far off that is as a rule (mean error of a Laplace distribution)."""

    def sharpened(self) -> "Points":
        """The same read near each heatmap's strongest cell alone, `peak` being the share of that square.

        It reaches an eighth of the map to every side. The expectation over all cells leans towards the middle where a
        heatmap has doubts.
        """
        return self._sharp

    @cached_property
    def _sharp(self) -> "Points":
        h, w = self.logits.shape[-2:]
        share = self.logits.flatten(2).softmax(-1)
        strongest, reach = share.argmax(-1, keepdim=True), max(2, w // 8)
        around = torch.arange(-reach, reach + 1, device=share.device)
        rows, columns = strongest // w + around, strongest % w + around  # (B K n)
        cells = (rows.clamp(0, h - 1) * w)[..., None] + columns.clamp(0, w - 1)[..., None, :]
        inside = ((rows >= 0) & (rows < h))[..., None] & ((columns >= 0) & (columns < w))[..., None, :]
        near = share.gather(2, cells.flatten(2)).view_as(cells) * inside
        mass = near.sum((2, 3))
        x, y = (near.sum(-2) * columns).sum(-1) / mass, (near.sum(-1) * rows).sum(-1) / mass
        return replace(self, at_u=torch.stack([(2 * x + 1) / w - 1, (2 * y + 1) / h - 1], -1), peak=mass)

    def doubted(self, group: Sequence[int], least: float = LEGS_SURE, share: float = LEGS_SHARE) -> "Points":
        """The same, but a group of points counts as unseen where it is on average less sure than `least`.

        And than `share` of what the other points are. Of somebody cut off at the waist the legs' heatmaps see
        something leg-like somewhere, each a little.
        """
        if not group:
            return self
        rows = torch.zeros(self.peak.shape[1], dtype=torch.bool, device=self.peak.device)
        rows[list(group)] = True
        sure, others = (self.peak[:, of].mean(1, keepdim=True) for of in (rows, ~rows))
        absent = (sure < least) & (sure < share * others)
        doubt_u = None if self.doubt_u is None else self.doubt_u.masked_fill(rows & absent, torch.inf)
        return replace(self, peak=self.peak.masked_fill(rows & absent, 0.0), doubt_u=doubt_u)

    def first(self, rows: int) -> "Points":
        """Those of the first people of the batch."""
        told = [None if x is None else x[:rows] for x in (self.depth_u, self.doubt_u)]
        return Points(self.logits[:rows], self.at_u[:rows], self.peak[:rows], *told)


_USUAL_DOUBT_U = 0.2
"""Where the doubts about depths start, half crop sides."""
_LEAST_SHARE = 1e-9
"""Of a heatmap cell, before the logarithm."""


ROWS_AT_ONCE = 8
"""Pictures whose maps down to stride 8 are made together outside training: those of more leave the processor's cache,
and above 32 MiB the C library fetches their memory anew each time. 24 at once take 1.1 to 1.5 times as long."""


def in_chunks(picture: Float[Tensor, "B 3 S S"]) -> tuple[Float[Tensor, "_ 3 S S"], ...]:
    """ROWS_AT_ONCE pictures each; all of them on other devices than a CPU."""
    return picture.split(ROWS_AT_ONCE if picture.device.type == "cpu" else max(1, len(picture)))


class RectifiedConv(nn.Conv2d):
    """Convolution, optionally plus another map, then ReLU: one pass over the memory in the inference form."""

    def forward(self, x: Tensor, plus: Tensor | None = None) -> Tensor:
        """plus: of the shape of the result."""
        out = super().forward(x)
        return functional.relu(out if plus is None else plus + out)


class LiteTrunk(nn.Module):
    """The first stages of a small network of timm's: maps at strides 8, 16 and, if deep, 32."""

    def __init__(self, *, deep: bool, kind: str = "lite0") -> None:
        """kind: of TRUNKS."""
        super().__init__()
        net, widths = TRUNKS[kind].network(), TRUNKS[kind].widths
        self.conv_stem, self.bn1 = net.conv_stem, net.bn1
        self.blocks = net.blocks[: STRIDE_32 if deep else STRIDE_16]
        ends = (STRIDE_8, STRIDE_16, STRIDE_32) if deep else (STRIDE_8, STRIDE_16)
        self.ends = tuple(end - 1 for end in ends)
        self.widths = tuple(widths[end] for end in ends)
        self.finest = widths[STRIDE_4]

    def forward(self, picture: Float[Tensor, "B 3 S S"]) -> list[Float[Tensor, "B _ _ _"]]:
        """Maps from fine to coarse, the one at stride 4 first."""
        maps = self.early_maps(picture)
        return maps + self.late_maps(maps[-1])

    def early(self, picture: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B _ s s"]:
        """The stages up to stride 8; they may stay as ImageNet made them."""
        return self.early_maps(picture)[-1]

    def early_maps(self, picture: Float[Tensor, "B 3 S S"]) -> list[Float[Tensor, "B _ _ _"]]:
        """The maps at strides 4 and 8."""
        x, maps = self.bn1(self.conv_stem(picture)), []
        for i, stage in enumerate(self.blocks[:STRIDE_8], start=1):
            x = stage(x)
            if i in (STRIDE_4, STRIDE_8):
                maps.append(x)
        return maps

    def late_maps(self, early: Float[Tensor, "B _ s s"]) -> list[Float[Tensor, "B _ _ _"]]:
        """The maps at stride 16 and, if deep, 32, from the one at stride 8."""
        return self.kept(early, lambda block, x: block(x))

    def kept(self, x: Tensor, through: Callable[[Any, Tensor], Tensor]) -> list[Float[Tensor, "B _ _ _"]]:
        """As `late_maps`, with another way through each block."""
        maps = []
        for i, stage in enumerate(self.blocks[STRIDE_8:], start=STRIDE_8):
            for block in stage:
                x = through(block, x)
            if i in self.ends:
                maps.append(x)
        return maps


class PointBackbone(nn.Module):
    """Trunk, a pyramid down to stride 8, heatmaps there or at stride 4, and a feature vector for the regressor."""

    twins: Tensor

    def __init__(
        self,
        *,
        num_points: int,
        deep: bool,
        kind: str = "lite0",
        fine: int = 0,
        twins: Sequence[int] = (),
        closer: float = 0.0,
        depth: bool = False,
        width: int = 96,
        pooled: int = 256,
        read: int = 24,
    ) -> None:
        """deep, kind: of the trunk.  width: of the pyramid.  pooled: numbers from the coarsest map.

        read: numbers read at each point.
        fine: width of the map at stride 4 that sharpens the heatmaps; 0: they stay at stride 8.
        twins: the point that takes each one's place in a mirror: outside training, heatmaps are the mean of what the
        picture and its mirror image say. Empty: the picture alone.
        closer: share of the side, around the middle, that another look takes in, outside training too. 0: none.
        depth: each point's depth is told as well.

        Raises ConfigError without points.
        """
        super().__init__()
        if num_points < 1:
            raise ConfigError("a PointBackbone needs at least one point")
        self.closer = closer
        self.register_buffer("twins", torch.tensor(twins, dtype=torch.int64), persistent=False)
        self.trunk = LiteTrunk(deep=deep, kind=kind)
        finest, *others = self.trunk.widths
        self.lateral = nn.ModuleList([RectifiedConv(finest, width, 1), *(nn.Conv2d(c, width, 1) for c in others)])
        self.smooth = RectifiedConv(width, width, 3, padding=1)
        self.deepen = nn.ModuleList([RectifiedConv(width, width, 3, padding=n, dilation=n) for n in (1, 2)])
        for layer in self.deepen:  # residual: they start as nothing
            nn.init.zeros_(layer.weight)  # type: ignore[arg-type]
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        self.heat = nn.Conv2d(width, num_points, 1)
        self.fine = fine
        if fine:
            self.rise = nn.Conv2d(width, 4 * fine, 1)
            self.edge = RectifiedConv(self.trunk.finest, fine, 1)
            self.sharpen = RectifiedConv(fine, fine, 3, padding=1)
            self.heat_fine = nn.Conv2d(fine, num_points, 1)
            nn.init.zeros_(self.heat_fine.weight)  # it starts as nothing
            nn.init.zeros_(self.heat_fine.bias)  # type: ignore[arg-type]
        self.read = nn.Conv2d(width, read, 1)
        self.pool = nn.Linear(self.trunk.widths[-1], pooled)
        self.num_features = pooled + num_points * (read + 3 + 2 * depth)
        if depth:
            self.depth_here = nn.Conv2d(width, 2 * num_points, 1)
            self.depth_all = nn.Linear(pooled, 2 * num_points)
            for layer in (self.depth_here, self.depth_all):  # they start as nothing
                nn.init.zeros_(layer.weight)
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        self.depth = depth
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # half the time on a CPU

    def freeze_early(self) -> None:
        """Keep the trunk up to stride 8 as it is: no gradient, less than half the time of a step."""
        for module in (self.trunk.conv_stem, self.trunk.bn1, *self.trunk.blocks[:STRIDE_8]):
            module.requires_grad_(requires_grad=False)

    def freeze_depthwise(self) -> None:
        """Keep the trunk's depthwise filters and the scales of their batch norms.

        Their gradients are a large part of a backward pass on a CPU.
        """
        for stage in self.trunk.blocks:
            for block in stage:
                norm = block.bn2 if hasattr(block, "conv_pwl") else block.bn1
                for weight in (block.conv_dw.weight, norm.weight):
                    weight.requires_grad_(requires_grad=False)

    def forward(self, picture: Float[Tensor, "B 3 S S"]) -> tuple[Float[Tensor, "B F"], Points]:
        """Features for the regressor, and the points. Normalised RGB, S a multiple of 32."""
        B, looks = len(picture), [picture] if self.training else self._looks(picture)
        x, logits, coarse = self.maps(torch.cat(looks))
        x, coarse = x[:B], coarse[:B]
        if len(looks) > 1:
            logits = (self._agreed(logits.unflatten(0, (len(looks), B)).unbind()) + _LEAST_SHARE).log()
        share = _shares(logits)
        at_u = expected_u(share)
        if self.fine:  # cells at stride 8
            share = share[..., ::2] + share[..., 1::2]
            share = share[..., ::2, :] + share[..., 1::2, :]
        points = Points(logits, at_u, _peak(share))
        there = torch.einsum("bkn,bcn->bkc", share.flatten(2), self.read(x).float().flatten(2))
        pooled = functional.relu(self.pool(coarse.float().mean((2, 3))))
        # Where a point is may pull on the parameters, but parameters must not bend the heatmaps.
        known = torch.cat([points.at_u.detach(), points.peak.detach()[..., None]], -1)
        features = [pooled, known.flatten(1), there.flatten(1)]
        if self.depth:
            depth_u, doubt_u = self._depths(share.detach(), x, pooled)
            points = replace(points, depth_u=depth_u, doubt_u=doubt_u)
            features += [depth_u.detach(), doubt_u.detach()]
        return torch.cat(features, -1), points

    def maps(
        self, picture: Float[Tensor, "B 3 S S"]
    ) -> tuple[Float[Tensor, "B C h w"], Float[Tensor, "B K _ _"], Float[Tensor, "B _ _ _"]]:
        """What `drawn` gives, in float32, and the coarsest map.

        Outside training fine maps are made of a few rows at a time, coarse ones of all: they are small.
        """
        picture = picture.contiguous(memory_format=torch.channels_last)
        if self.training:
            finest, *maps = self.trunk(picture)
            x, logits = self.drawn(finest, maps)
            return x.float(), logits.float(), maps[-1]
        early = [self.trunk.early_maps(rows) for rows in in_chunks(picture)]
        late = self.trunk.late_maps(torch.cat([maps[-1] for maps in early]))  # small maps: all at once
        sizes = [len(maps[-1]) for maps in early]
        done = [
            self.drawn(finest, [eighth, *coarser])
            for (finest, eighth), *coarser in zip(early, *(m.split(sizes) for m in late), strict=True)
        ]
        x, logits = (torch.cat(every).float() for every in zip(*done, strict=True))
        return x, logits, late[-1]

    def _looks(self, picture: Float[Tensor, "B 3 S S"]) -> list[Float[Tensor, "B 3 S S"]]:
        """The picture, its mirror image, and its middle, as far as they are looked at."""
        mirrored = [picture.flip(-1)] if len(self.twins) else []
        return [picture, *mirrored, *([_middle(picture, self.closer)] if self.closer else [])]

    def _agreed(self, logits: Sequence[Float[Tensor, "B K h w"]]) -> Float[Tensor, "B K h w"]:
        """The mean of the heatmaps' shares as `_looks` say, in the place of the picture itself."""
        first, *others = (_shares(seen) for seen in logits)
        shares = [first]
        if len(self.twins):
            shares.append(others.pop(0).flip(-1)[:, self.twins])
        if self.closer:
            shares.append(_middle(others.pop(0), 1 / self.closer, outside="zeros"))
        return torch.stack(shares).mean(0)

    def drawn(
        self, finest: Float[Tensor, "B _ H W"], maps: Sequence[Float[Tensor, "B _ _ _"]]
    ) -> tuple[Float[Tensor, "B C h w"], Float[Tensor, "B K _ _"]]:
        """The pyramid's map at stride 8, and the heatmaps before the softmax. maps: the trunk's from stride 8 on."""
        x = self.lateral[-1](maps[-1])
        for lateral, finer in zip(reversed(self.lateral[1:-1]), reversed(maps[1:-1]), strict=True):
            x = lateral(finer) + functional.interpolate(x, scale_factor=2.0, mode="nearest")
        x = self.smooth(self.lateral[0](maps[0], functional.interpolate(x, scale_factor=2.0, mode="nearest")))
        for layer in self.deepen:
            x = layer(x, x)
        return x, self._sharpened(self.heat(x), x, finest)

    def _depths(
        self, share: Float[Tensor, "B K h w"], x: Float[Tensor, "B C h w"], pooled: Float[Tensor, "B P"]
    ) -> tuple[Float[Tensor, "B K"], Float[Tensor, "B K"]]:
        """Read off under each heatmap, plus what the whole picture says; and how far off that is."""
        B, K = share.shape[:2]
        maps = self.depth_here(x).float().view(B, 2, K, -1)
        here = torch.einsum("bkn,bjkn->bjk", share.flatten(2), maps)
        depth_u, log_doubt = (here + self.depth_all(pooled).view(B, 2, K)).unbind(1)
        return depth_u, _USUAL_DOUBT_U * log_doubt.clamp(-3, 3).exp()

    def _sharpened(self, logits: Tensor, x: Tensor, finest: Tensor) -> Tensor:
        if not self.fine:
            return logits
        y = self.edge(finest, functional.pixel_shuffle(self.rise(x), 2))
        coarse = functional.interpolate(logits, scale_factor=2.0, mode="bilinear", align_corners=False)
        out: Tensor = coarse + self.heat_fine(self.sharpen(y))
        return out


def _shares(logits: Float[Tensor, "B K h w"]) -> Float[Tensor, "B K h w"]:
    """Of each cell."""
    return logits.flatten(2).softmax(-1).view_as(logits)


def _middle(maps: Float[Tensor, "B C h w"], share: float, outside: str = "border") -> Float[Tensor, "B C h w"]:
    """The middle of maps, enlarged to their size; the whole, made smaller, if share > 1."""
    T = maps.new_tensor([[share, 0.0, 0.0], [0.0, share, 0.0]]).expand(len(maps), 2, 3)
    grid = functional.affine_grid(T, list(maps.shape), align_corners=False)
    return functional.grid_sample(maps, grid, align_corners=False, padding_mode=outside)


def expected_u(share: Float[Tensor, "B K h w"]) -> Float[Tensor, "B K 2"]:
    """Mean place of distributions over the cells, in [-1, 1] over the crop: -1 is the centre of the first pixel.

    The difference between cell centres and pixel centres (half a pixel of a crop) is ignored by -1 and 1 alike:
    cells cover [-1, 1] evenly.
    """
    h, w = share.shape[-2:]
    x = (torch.arange(w, device=share.device, dtype=share.dtype) + 0.5) / w * 2 - 1
    y = (torch.arange(h, device=share.device, dtype=share.dtype) + 0.5) / h * 2 - 1
    return torch.stack([share.sum(-2) @ x, share.sum(-1) @ y], -1)


def _peak(share: Float[Tensor, "B K h w"]) -> Float[Tensor, "B K"]:
    """The most that any 3 x 3 cells hold."""
    wide = functional.pad(share, (1, 1, 1, 1))
    rows = wide[:, :, :-2] + wide[:, :, 1:-1] + wide[:, :, 2:]
    return (rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]).flatten(2).amax(-1)
