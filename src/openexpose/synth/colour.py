"""The colour of each pixel of a person: skin, lips, brows, eyes, hair, cloth, by where it lies on the rest body."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from openexpose.synth.anatomy import EYE, SKIN, TEETH, TONGUE
from openexpose.synth.cloth import Cover, cover, fold_place, step
from openexpose.synth.extras import BRIM, BUN, GLASSES, HAIR, HELD_LEFT, LENS, SKIRT
from openexpose.synth.noise import Noise, hashed
from openexpose.synth.outfit import Outfit


@dataclass(frozen=True, eq=False)
class Skin:
    """What light meets; P pixels."""

    albedo: Float[Tensor, "P 3"]
    """Linear light."""
    gloss: Float[Tensor, " P"]
    """Strength of the highlight."""
    soft: Float[Tensor, " P"]
    """1 where light goes round corners as on skin, 0 on cloth."""
    bump: Float[Tensor, "P 3"]
    """To be added to the normal before it is made a unit again."""


def colours(
    o: Outfit,
    fields: Float[Tensor, "P 8"],
    piece: Int[Tensor, " P"],
    eye_m: Float[Tensor, "2 3"],
    noise: Noise,
) -> Skin:
    """Colour and surface of pixels. o: read pixel by pixel; fields: `anatomy.FIELDS` at the pixel."""
    place = fields[:, :3] + (o["seed"] * 0.17)[:, None]
    coarse, fine, grain = noise(place * 1.1), noise(place * 4.3), noise(place * 17.0)
    c = cover(o, fields, noise)
    albedo, gloss, soft = _bare(o, fields, c, coarse, fine, grain)
    bump = 0.10 * grain[:, 1:] * soft[:, None]
    cloth = torch.zeros_like(gloss)
    streak = noise(fields[:, :3] * torch.tensor([13.0, 2.2, 13.0], device=fields.device) + o["seed"][:, None])
    hairy = hair_colour(o, streak[:, 0], grain[:, 0])
    for mask, colour, shine, is_cloth in _layers(o, fields, c, coarse, fine, grain, hairy):
        albedo = albedo + mask[:, None] * (colour - albedo)
        gloss = gloss + mask * (shine - gloss)
        soft = soft * (1 - mask)
        cloth = cloth * (1 - mask) + mask * is_cloth
    albedo, gloss, soft, cloth = _other_pieces(o, fields, piece, eye_m, (albedo, gloss, soft, cloth), hairy, fine)
    folds = noise(fold_place(fields) * (o["fold_size"] * 0.19)[:, None] + o["seed"][:, None])
    depth = (o["fold_m"] / 0.010)[:, None]
    bump = bump + cloth[:, None] * (0.45 * depth * folds[:, 1:] + 0.12 * fine[:, 1:] * depth + 0.06 * grain[:, 1:])
    hair_share = torch.maximum(step(c.hair, 0.01), step(c.beard, 0.006)) * (piece == SKIN) * (1 - step(c.hat, 0.004))
    hair_share = torch.where((piece == HAIR) | (piece == BUN), torch.ones_like(hair_share), hair_share)
    bump = bump + (0.45 * hair_share)[:, None] * streak[:, 1:]
    return Skin(albedo.clamp(0.002, 0.95), gloss, soft, bump)


def hair_colour(o: Outfit, streak: Tensor, grain: Tensor) -> Float[Tensor, "P 3"]:
    """Hair in strands of different brightness."""
    return o.colour("hairs") * (0.85 + 0.30 * streak + 0.15 * grain).clamp(0.25, 1.9)[:, None]


def _bare(o: Outfit, f: Tensor, c: Cover, coarse: Tensor, fine: Tensor, grain: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Naked skin with lips, brows and the inside of the mouth."""
    skin = o.colour("skin") * (1 + 0.05 * coarse[:, 0] + 0.05 * fine[:, 0] + 0.02 * grain[:, 0])[:, None]
    face = step(f[:, 1] - 0.19, 0.02) * step(f[:, 2] - 0.06, 0.03)
    cheeks = face * torch.exp(-(((f[:, 1] - 0.255) / 0.03) ** 2))
    hands = step(f[:, 0].abs() - 0.70, 0.05)
    red = o["blush"] * (0.5 * cheeks + 0.35 * hands * (1 + fine[:, 0]).clamp(0, 2) + 0.2 * (coarse[:, 0] > 0.8))
    skin = skin * (1 - red[:, None] * torch.tensor([0.04, 0.22, 0.20], device=f.device))
    spots = o["freckles"] * step(grain[:, 0] - 1.3, 0.5) * (0.3 + 0.7 * face)
    skin = skin * (1 - 0.35 * spots)[:, None]
    stubble = step(f[:, 6], 0.01) * (o["beard"] > 0) * 0.25
    skin = skin * (1 - stubble)[:, None]
    lip = step(f[:, 3] + 0.0004, 0.0016)[:, None]
    skin = skin + lip * (o.colour("lips") * (1 + 0.1 * grain[:, :1]) - skin)
    brow = (step(f[:, 4] + 0.0007 * grain[:, 0], 0.0030) * o["brow"])[:, None]
    skin = skin + brow * (o.colour("hairs") * 0.9 - skin)
    inner = step(f[:, 7], 0.003)[:, None]
    skin = skin + inner * (skin * torch.tensor([0.30, 0.10, 0.10], device=f.device) - skin)
    gloss = o["shine"] * (0.6 + 0.8 * face) + 0.25 * lip[:, 0] * o["blush"]
    return skin, gloss, torch.ones_like(gloss)


def _layers(
    o: Outfit, f: Tensor, c: Cover, coarse: Tensor, fine: Tensor, grain: Tensor, hairy: Tensor
) -> list[tuple[Tensor, Tensor, Tensor, float]]:
    """What lies over the skin, innermost first: mask 0..1, colour, gloss, whether it is cloth."""
    zero = torch.zeros_like(c.top)
    shine = o["cloth_shine"]
    edge = 0.0025
    worn = (1 + 0.05 * fine[:, 0] + 0.04 * grain[:, 0])[:, None]
    top_a, top_b = o.colour("topa"), o.colour("topb")
    legs = patterned(o, "leg", o.colour("lega"), o.colour("legb"), f, fine)
    top = patterned(o, "top", top_a, top_b, f, fine)
    seam = 1 - 0.35 * (torch.minimum(c.top, c.trousers.abs()).abs() < 0.004).float()[:, None]
    shoe = torch.where((f[:, 1] < -1.276)[:, None], o.colour("sock"), o.colour("shoes"))
    laces = (
        (f[:, 2] > 0.0) & (f[:, 1] > -1.26) & (torch.sin(f[:, 2] * 420) > 0.2) & ((f[:, 0].abs() - 0.125).abs() < 0.02)
    )
    shoe = torch.where(laces[:, None], 1.0 - 0.8 * shoe, shoe)
    tucked = o["tucked"] > 0
    over_trousers = step(c.top, edge) * torch.where(tucked, 1 - step(c.trousers, edge), torch.ones_like(shine))
    hem = 1 - 0.25 * ((c.top > 0.002) & (c.top < 0.016) & (torch.sin(f[:, 1] * 900) > -0.6)).float()[:, None]
    button = (
        (o["jacket"] < 1)
        & (f[:, 2] > 0.05)
        & (f[:, 0].abs() < 0.004)
        & (o["neck_v"] > 0)
        & (torch.sin(f[:, 1] * 90) > 0.9)
    )
    top = torch.where(button[:, None], top_b, top)
    return [
        (step(c.sock, edge), o.colour("sock") * worn, zero, 1.0),
        (step(c.trousers, edge), legs * worn * seam, shine, 1.0),
        (step(c.shirt, edge), o.colour("shirt") * worn, zero, 1.0),
        (over_trousers, top * worn * hem, shine, 1.0),
        (step(c.glove, edge), o.colour("shoes") * worn, zero, 1.0),
        (step(c.shoe, edge), shoe * worn, shine + 0.08, 0.4),
        (step(c.beard, 0.004) * (0.35 + 0.65 * o["beard"]), hairy, zero + 0.05, 0.0),
        (step(c.hair, 0.005), hairy, zero + 0.12, 0.0),
        (step(c.hat, 0.002), o.colour("hats") * worn, zero, 1.0),
    ]


def patterned(o: Outfit, part: str, a: Tensor, b: Tensor, f: Tensor, fine: Tensor) -> Float[Tensor, "P 3"]:
    """Cloth in two colours: plain, stripes, checks, dots, blotches, a print on the chest, two halves."""
    kind, scale = o[f"pattern_{part}"], o[f"pattern_scale_{part}"]
    x, y, z = f[:, 0], f[:, 1], f[:, 2]
    arm = x.abs() > 0.19
    legs = y < -0.42
    middle = torch.where(legs, torch.sign(x) * 0.122, torch.zeros_like(x))
    around = torch.where(arm, torch.atan2(y - 0.08, z - 0.012) * 0.05, torch.atan2(x - middle, z) * 0.13)
    along = torch.where(arm, x.abs(), y)
    turn = o["pattern_turn"]
    u = (around * torch.cos(turn) - along * torch.sin(turn)) * scale
    v = (around * torch.sin(turn) + along * torch.cos(turn)) * scale

    def wave(t: Tensor) -> Tensor:
        return step(torch.sin(t * 2 * torch.pi) + 0.2, 0.3)

    cell = torch.stack([u, v], -1)
    dot = 1 - step(((cell - torch.floor(cell)) - 0.5).norm(dim=-1) - 0.22, 0.08)
    letters = hashed(o["seed"] * 3 + kind, torch.floor(x * 70), torch.floor(y * 45)) > 0.5
    panel = (z > 0.03) & (x.abs() < 0.04 + 0.0012 * scale) & ((y + 0.06).abs() < 0.02 + 0.001 * scale)
    share = torch.stack([
        torch.zeros_like(u), wave(v), wave(u), 0.5 * wave(u) + 0.5 * wave(v), dot,
        step(fine[:, 0] - 0.25, 0.25), (panel & (letters | (scale < 20))).float(),
        step(y + 0.12 + 0.002 * scale, 0.004),
    ])  # fmt: skip
    mix = share.gather(0, kind.long().clamp(0, 7)[None])[0]
    return a + mix[:, None] * (b - a)


def _other_pieces(
    o: Outfit, f: Tensor, piece: Tensor, eye_m: Tensor, skin: tuple[Tensor, Tensor, Tensor, Tensor], hairy: Tensor,
    fine: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Eyes, teeth, tongue and the pieces that the body has not."""
    albedo, gloss, soft, cloth = skin
    one = torch.ones_like(gloss)
    u, t = f[:, 0], f[:, 1]
    strand = (0.7 + 0.5 * torch.sin(u * 260 + 6 * torch.sin(t * 5 + u * 40)) * 0.5 + 0.2 * torch.sin(u * 97))[:, None]
    pleat = patterned(
        o, "leg", o.colour("lega"), o.colour("legb"), torch.stack([u * 0 + 0.12, -0.45 - t * 0.6, u], -1), fine
    )
    held = o.colour("held") * torch.where(torch.sin(t * 40 * o["held_round"]) > 0.7, 0.5, 1.0)[:, None]

    def plain(*rgb: float) -> Tensor:
        return torch.tensor(rgb, device=f.device).expand_as(albedo)

    table = [
        (piece == EYE, eye_colour(o, f, eye_m), one * 0.9, one * 0.3, 0 * one),
        (piece == TEETH, plain(0.62, 0.59, 0.53), one * 0.3, one * 0.5, 0 * one),
        (piece == TONGUE, plain(0.40, 0.12, 0.11), one * 0.2, one, 0 * one),
        (piece == SKIRT, pleat, o["cloth_shine"], 0 * one, one),
        ((piece == HAIR) | (piece == BUN), o.colour("hairs") * strand, one * 0.15, 0 * one, 0 * one),
        (piece == BRIM, o.colour("hats"), 0 * one, 0 * one, one * 0.3),
        (piece == GLASSES, o.colour("rim"), one * 0.4, 0 * one, 0 * one),
        (piece == LENS, one[:, None] * 0.012, one, 0 * one, 0 * one),
        (piece >= HELD_LEFT, held, one * 0.2, 0 * one, one * 0.1),
    ]  # fmt: skip
    for mask, colour, shine, wrap, is_cloth in table:
        albedo = torch.where(mask[:, None], colour, albedo)
        gloss = torch.where(mask, shine, gloss)
        soft = torch.where(mask, wrap, soft)
        cloth = torch.where(mask, is_cloth, cloth)
    return albedo, gloss, soft, cloth


def eye_colour(o: Outfit, f: Tensor, eye_m: Float[Tensor, "2 3"]) -> Float[Tensor, "P 3"]:
    """White with a reddish rim, iris with rays and a dark border, black pupil."""
    centre = torch.where((f[:, 0] > 0)[:, None], eye_m[0], eye_m[1])
    d = f[:, :3] - centre
    off_axis = torch.atan2(torch.hypot(d[:, 0], d[:, 1]), d[:, 2])
    turn = torch.atan2(d[:, 1], d[:, 0])
    rays = 0.8 + 0.25 * torch.sin(turn * 17) + 0.15 * torch.sin(turn * 41 + o["seed"])
    white = torch.tensor([0.78, 0.72, 0.70], device=f.device) * (1 - 0.25 * step(off_axis - 0.7, 0.6))[:, None]
    inside = off_axis / o["eye_r"]
    iris = o.colour("iris") * (rays * (1.15 - 0.5 * step(inside - 0.75, 0.25)))[:, None]
    out = torch.where((inside < 1)[:, None], iris, white)
    return torch.where((off_axis < 0.15)[:, None], torch.full_like(out, 0.006), out)
