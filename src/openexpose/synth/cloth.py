"""Where cloth is: signed distances to the borders of garments as functions of the rest position.

The same functions serve vertices (how far the surface stands off the skin) and pixels (which colour it has), so that a
hem is as sharp as the picture and the silhouette agrees with it.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from openexpose.synth.noise import Noise
from openexpose.synth.outfit import Outfit


@dataclass(frozen=True, eq=False)
class Cover:
    """Signed distances in metres, positive where the garment is."""

    top: Tensor
    shirt: Tensor
    """Under an open jacket."""
    trousers: Tensor
    shoe: Tensor
    sock: Tensor
    glove: Tensor
    hair: Tensor
    beard: Tensor
    hat: Tensor


def cover(o: Outfit, fields: Float[Tensor, "*N 8"], noise: Noise) -> Cover:
    """Which garment covers which place. fields: columns of `anatomy.FIELDS`; broadcasts against the outfits' rows."""
    x, y, z = fields[..., 0], fields[..., 1], fields[..., 2]
    across = x.abs()
    off = torch.full_like(x, -0.1)
    wobble = 0.004 * noise.value(fields[..., :3] * 1.7 + (o["seed"] * 0.13)[..., None])
    trunk = top_field(o, x, y, z) + wobble
    sleeve = torch.where(o["jacket"] > 0, o["jacket_sleeve"], o["sleeve_x"])
    top = torch.minimum(trunk, sleeve + wobble - across)
    front = z > 0.02
    gap = o["jacket_gap"] + 0.06 * (0.05 - y).clamp(min=-0.1)
    opening = torch.where(front & (o["jacket"] > 0), gap - across, off)
    shirt = torch.where((o["jacket"] > 0) & (o["top"] > 0), torch.minimum(top_field(o, x, y, z), opening), off)
    top = torch.where(o["top"] > 0, torch.minimum(top, -opening), off)
    legs = torch.minimum(o["waist_y"] + wobble - y, y - o["leg_y"] + wobble)
    trousers = torch.where((o["trousers"] > 0) & (across < 0.3), legs, off)
    low = across < 0.3
    shoe = torch.where((o["shoe"] > 0) & low, o["shoe_y"] + 0.3 * (z - 0.0).clamp(0, 0.06) - y, off)
    sock = torch.where(low, o["sock_y"] - y, off)
    glove = torch.where(o["glove"] > 0, across - 0.66, off)
    hair, beard = hair_fields(o, fields, noise)
    crown = torch.where(o["hat"] > 0, (y - 0.338) + 0.10 * (z - 0.04).abs(), off)
    return Cover(top, shirt, trousers, shoe, sock, glove, hair, beard, crown)


def top_field(o: Outfit, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """Distance to hem and neckline of what covers the trunk."""
    across = x.abs()
    neck = torch.sqrt(x * x + (y - 0.165) ** 2 + (z - 0.015) ** 2)
    front = ((z - 0.03) / 0.05).clamp(0, 1) * (1 - across / 0.09).clamp(0, 1)
    neckline = torch.minimum(neck - o["neck_r"] - o["neck_v"] * front, 0.145 + o["collar"] - y)
    return torch.minimum(neckline, torch.where(across < 0.25, y - o["hem_y"], torch.full_like(y, 0.2)))


def hair_fields(o: Outfit, fields: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
    """Distances inside the hairline and inside the beard, both ragged."""
    ragged = noise.value(fields[..., :3] * 4.0 + (o["seed"] * 0.31)[..., None])
    off = torch.full_like(ragged, -0.1)
    hair = torch.where(o["hair"] > 0, fields[..., 5] + 0.004 * ragged, off)
    beard = torch.where(o["beard"] > 0, fields[..., 6] - 0.012 * (1 - o["beard"]) + 0.002 * ragged, off)
    return hair, beard


def step(x: Tensor, soft: float) -> Tensor:
    """0 below zero, 1 above `soft`, smooth between."""
    t = (x / soft).clamp(0, 1)
    return t * t * (3 - 2 * t)


def fold_place(fields: Float[Tensor, "*N 8"]) -> Float[Tensor, "*N 3"]:
    """Rest positions, squeezed along the limb and turned a little: folds run along it and are longer than wide."""
    x, y, z = fields[..., 0], fields[..., 1], fields[..., 2]
    on_arm = step(x.abs() - 0.17, 0.06)
    long_x, long_y = 1 - 0.55 * on_arm, 0.45 + 0.55 * on_arm
    return torch.stack([x * long_x + 0.25 * y, y * long_y - 0.2 * x.abs(), z], -1)


def stand_off(o: Outfit, fields: Float[Tensor, "*N 8"], c: Cover, noise: Noise) -> Float[Tensor, "*M"]:
    """How far the surface stands off the skin, metres: cloth, folds, hair, shoes, hats."""
    x, y = fields[..., 0], fields[..., 1]
    across = x.abs()
    folds = noise.value(fold_place(fields) * (o["fold_size"] * 0.09)[..., None] + (o["seed"] * 0.37)[..., None])
    fold_m = o["fold_m"] * (folds + 0.5)
    on_arm = step(across - 0.19, 0.05)
    down = ((0.05 - y) / (0.05 - o["hem_y"])).clamp(0, 1)
    along = ((across - 0.2) / 0.35).clamp(0, 1)
    top_m = (1 - on_arm) * (o["top_loose"] + o["top_flare"] * down**1.5) + on_arm * (
        0.4 * o["top_loose"] + o["sleeve_loose"] * along**0.7
    )
    top_m = (0.003 + top_m + fold_m * (0.3 + top_m * 40).clamp(max=1.5)).clamp(min=0.001)
    below = ((-0.35 - y) / 0.6).clamp(0, 1)
    leg_m = 0.003 + o["leg_loose"] * (0.6 + 0.4 * below) + o["leg_flare"] * below**1.5
    leg_m = (leg_m + fold_m * (0.3 + leg_m * 40).clamp(max=1.2)).clamp(min=0.001)
    curls = noise.value(fields[..., :3] * 3.2 + (o["seed"] * 0.7)[..., None])
    rough_m = o["hair_curl"] * o["hair_m"].clamp(max=0.022)
    hair_m = (o["hair_m"] + rough_m * curls).clamp(min=0) * step(c.hair, 0.03)
    hair_m = torch.where(o["hat"] > 0, hair_m * step(0.345 - y, 0.02), hair_m)
    sole = 0.006 + 0.012 * step(-1.265 - y, 0.01)
    parts = [
        step(c.top, 0.008) * top_m,
        step(c.shirt, 0.008) * 0.004,
        step(c.trousers, 0.008) * leg_m,
        step(c.shoe, 0.006) * sole,
        step(torch.minimum(c.sock, -c.shoe), 0.006) * 0.003,
        step(c.glove, 0.006) * 0.003,
        hair_m,
        step(c.beard, 0.012) * (o["beard_m"] * (1 + 0.4 * curls)).clamp(min=0),
        step(c.hat, 0.01) * (0.006 + o["hat_m"] * step(y - 0.345, 0.05)),
    ]
    return torch.stack(parts).amax(0)
