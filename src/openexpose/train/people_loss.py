"""What the people detector is told: a heatmap with a soft hill at each person's middle, and boxes around the hills."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from openexpose.detect.network import STRIDE, boxes_of

HILL = 0.09
"""Standard deviation of a hill as a share of the box's side (TTFNet's 0.54 / 6)."""
REACH = 0.27
"""How far a hill goes, as a share of the side."""
SIDES_SHARE = 4.0
"""Weight of the boxes in the whole loss."""


@dataclass(frozen=True, eq=False)
class Targets:
    """For B pictures; each point of the maps."""

    heat: Float[Tensor, "B h w"]
    """1 at the point nearest to a person's middle, falling off around it."""
    weight: Float[Tensor, "B h w"]
    """How much a point counts where it should not be a middle."""
    boxes_px: Float[Tensor, "B 4 h w"]
    """x0, y0, x1, y1 of the person whose hill it is."""
    matters: Float[Tensor, "B h w"]
    """How much the box named at a point counts; sums to one for each person, more for large ones."""


def targets_of(boxes_px: Sequence[Float[np.ndarray, "4"]], weight: Float[np.ndarray, "h w"]) -> Targets:
    """The targets of one picture (B = 1) from the boxes in it; where hills meet the smaller person has the point."""
    h, w = weight.shape
    heat, matters = np.zeros((h, w), np.float32), np.zeros((h, w), np.float32)
    boxes = np.zeros((4, h, w), np.float32)
    for box in sorted(boxes_px, key=lambda b: -float((b[2:] - b[:2]).prod())):
        middle = ((box[:2] + box[2:]) / 2 - (STRIDE - 1) / 2) / STRIDE
        size = (box[2:] - box[:2]) / STRIDE
        x0, y0 = np.round(middle).astype(int).clip(0, [w - 1, h - 1])
        sigma = np.maximum(HILL * size, 0.5)
        reach = np.maximum(REACH * size, 0.75)
        x, y = np.arange(w) - x0, np.arange(h) - y0
        gx = np.exp(-0.5 * (x / sigma[0]) ** 2) * (np.abs(x) <= reach[0])
        gy = np.exp(-0.5 * (y / sigma[1]) ** 2) * (np.abs(y) <= reach[1])
        hill = gy[:, None] * gx[None]
        on = hill > 0
        heat = np.maximum(heat, hill).astype(np.float32)
        boxes[:, on] = box[:, None]
        matters[on] = (hill / hill.sum() * np.log1p(size.prod()))[on]
    return Targets(*(torch.from_numpy(np.asarray(a, np.float32))[None] for a in (heat, weight, boxes, matters)))


def stacked(targets: Sequence[Targets]) -> Targets:
    """Targets of several pictures as one."""
    return Targets(*(torch.cat([getattr(t, n) for t in targets]) for n in ("heat", "weight", "boxes_px", "matters")))


def people_loss(
    heat: Float[Tensor, "B h w"], sides_px: Float[Tensor, "B 4 h w"], targets: Targets
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Loss of the heatmap (focal, a person) and of the boxes (generalised IoU, 0 to 2)."""
    p = heat.sigmoid().clamp(1e-5, 1 - 1e-5)
    peak = targets.heat >= 1 - 1e-6
    people = peak.sum().clamp(min=1)
    found = -(((1 - p) ** 2) * p.log())[peak].sum()
    silent = -((1 - targets.heat) ** 4 * p**2 * (1 - p).log() * targets.weight)[~peak].sum()
    apart = 1 - generalised_iou(boxes_of(sides_px), targets.boxes_px)
    return (found + silent) / people, (apart * targets.matters).sum() / targets.matters.sum().clamp(min=1e-6)


def generalised_iou(a: Float[Tensor, "B 4 h w"], b: Float[Tensor, "B 4 h w"]) -> Float[Tensor, "B h w"]:
    """Intersection over union, minus the share of the hull that neither box fills; -1 to 1."""

    def area(low: Tensor, high: Tensor) -> Tensor:
        return (high - low).clamp(min=0).prod(1)

    shared = area(torch.maximum(a[:, :2], b[:, :2]), torch.minimum(a[:, 2:], b[:, 2:]))
    union = area(a[:, :2], a[:, 2:]) + area(b[:, :2], b[:, 2:]) - shared
    hull = area(torch.minimum(a[:, :2], b[:, :2]), torch.maximum(a[:, 2:], b[:, 2:]))
    return shared / union.clamp(min=1e-6) - (hull - union) / hull.clamp(min=1e-6)
