"""Light on people, for both renderers: lamps with a soft shadow map, sky and ground, crevices, highlights."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from openexpose.render.raster import Fragments
from openexpose.synth.colour import Skin

LAMP_FAR_M = 14.0
SHADOW_PX = 144
SHADOW_REACH_M = 1.7
"""Half the width that the shadow map covers around the main person."""


@dataclass(frozen=True, eq=False)
class Lights:
    """Light of B pictures; directions are unit and in camera axes (x right, y down, z away), colours linear."""

    key: Float[Tensor, "B 3"]
    """Towards the main lamp, which casts the shadow."""
    key_rgb: Float[Tensor, "B 3"]
    second: Float[Tensor, "B 3"]
    second_rgb: Float[Tensor, "B 3"]
    sky_rgb: Float[Tensor, "B 3"]
    ground_rgb: Float[Tensor, "B 3"]
    up: Float[Tensor, "B 3"]
    """Against gravity."""
    exposure: Float[Tensor, " B"]
    shadow: Float[Tensor, " B"]
    """0: the lamp is so wide that it casts none; 1: hard."""


@dataclass(frozen=True, eq=False)
class ShadowMap:
    """What the main lamps see; S pixels a side."""

    depth_m: Float[Tensor, "B S S"]
    R_lamp_camera: Float[Tensor, "B 3 3"]
    t_lamp_m: Float[Tensor, "B 3"]
    focal_px: float


def lamp_frames(lights: Lights, middle_m: Float[Tensor, "B 3"]) -> tuple[Tensor, Tensor, Tensor]:
    """Rotation, translation (camera -> lamp frame, metres) and K of cameras that stand where the main lamps are."""
    z = -lights.key
    helper = torch.tensor([0.31, 0.87, 0.38], device=z.device).expand_as(z)
    x = torch.nn.functional.normalize(torch.linalg.cross(helper, z), dim=-1)
    R = torch.stack([x, torch.linalg.cross(z, x), z], 1)
    t = -(R @ (middle_m + LAMP_FAR_M * lights.key)[..., None])[..., 0]
    focal = 0.5 * SHADOW_PX / SHADOW_REACH_M * LAMP_FAR_M
    K = torch.tensor(
        [[focal, 0, (SHADOW_PX - 1) / 2], [0, focal, (SHADOW_PX - 1) / 2], [0, 0, 1]], device=z.device
    ).expand(len(z), 3, 3)
    return R, t, K


def lit_share(
    shadow: ShadowMap, points_m: Float[Tensor, "P 3"], picture: Int[Tensor, " P"], bias_m: float
) -> Float[Tensor, " P"]:
    """Share of the main lamp's light that arrives: the map is asked at 4 x 4 places. Points of the camera frame."""
    # written out: a product of tiny matrices for each pixel is slow on every device
    q = (shadow.R_lamp_camera[picture] * points_m[:, None]).sum(-1) + shadow.t_lamp_m[picture]
    S = shadow.depth_m.shape[-1]
    px = shadow.focal_px * q[:, :2] / q[:, 2:] + (S - 1) / 2
    flat = shadow.depth_m.flatten()
    lit = torch.zeros_like(q[:, 0])
    nearest = q[:, 2] - bias_m
    columns, rows = (
        [torch.round(px[:, axis] + dx).long().clamp(0, S - 1) for dx in (-1.5, -0.5, 0.5, 1.5)] for axis in (0, 1)
    )
    for row in rows:
        start = (picture * S + row) * S
        for column in columns:
            lit = lit + (flat[start + column] > nearest)
    return lit / 16


def openness(seen: Fragments, focal_px: Float[Tensor, " B"], pixels: Int[Tensor, " P"]) -> Float[Tensor, " P"]:
    """How free of near surfaces the pixels are, 0..1, from the picture's own depth (Mittring 2007).

    pixels: positions in the flattened picture. Places within 9 cm in front darken.
    """
    B, H, W = seen.depth_m.shape
    flat = torch.where(torch.isinf(seen.depth_m), 1e6, seen.depth_m).flatten()
    z = flat[pixels]
    picture = torch.div(pixels, H * W, rounding_mode="floor")
    row, column = torch.div(pixels, W, rounding_mode="floor") % H, pixels % W
    blocked = torch.zeros_like(z)
    taps = 12
    for k in range(taps):
        share, angle = ((k + 0.5) / taps) ** 0.5, 2.39996 * k + (row * 3 + column * 7) % 4 * 0.4
        reach_px = (focal_px[picture] * 0.07 * share / z).clamp(1.0, 0.2 * H)
        x = (column + torch.round(reach_px * torch.cos(angle))).long().clamp(0, W - 1)
        y = (row + torch.round(reach_px * torch.sin(angle))).long().clamp(0, H - 1)
        ahead = z - flat[(picture * H + y) * W + x]
        blocked = blocked + ((ahead - 0.012) / 0.05).clamp(0, 1) * (1 - ((ahead - 0.12) / 0.1).clamp(0, 1))
    return 1 - 0.75 * blocked / taps


def lit(
    skin: Skin,
    normals: Float[Tensor, "P 3"],
    points_m: Float[Tensor, "P 3"],
    picture: Int[Tensor, " P"],
    lights: Lights,
    lamp_share: Float[Tensor, " P"],
    open_share: Float[Tensor, " P"],
) -> Float[Tensor, "P 3"]:
    """Linear light that leaves the surface towards the camera at the origin.

    Wrapped Lambert for skin (red goes furthest), Blinn-Phong highlights, a sheen at grazing angles.
    """
    eye = torch.nn.functional.normalize(-points_m, dim=-1)
    n = torch.where(((normals * eye).sum(-1) < 0)[:, None], -normals, normals)
    n = torch.nn.functional.normalize(n + skin.bump, dim=-1)
    wrap = skin.soft[:, None] * torch.tensor([0.35, 0.18, 0.14], device=n.device) + 0.06
    height = 0.5 + 0.5 * (n * lights.up[picture]).sum(-1, keepdim=True)
    ground, sky = lights.ground_rgb[picture], lights.sky_rgb[picture]
    light = (ground + height * (sky - ground)) * open_share[:, None]
    gloss = torch.zeros_like(light)
    keep = 1 - lights.shadow[picture] * (1 - lamp_share)
    for towards, rgb, share in (
        (lights.key[picture], lights.key_rgb[picture], keep * (0.4 + 0.6 * open_share)),
        (lights.second[picture], lights.second_rgb[picture], open_share),
    ):
        cosine = (n * towards).sum(-1, keepdim=True)
        light = light + rgb * share[:, None] * ((cosine + wrap) / (1 + wrap) ** 2).clamp(min=0)
        half = torch.nn.functional.normalize(eye + towards, dim=-1)
        sharp = 12 + 60 * skin.gloss
        spot = (n * half).sum(-1).clamp(min=0) ** sharp * skin.gloss * (cosine[:, 0] > 0) * share
        gloss = gloss + spot[:, None] * rgb
    grazing = (1 - (n * eye).sum(-1).clamp(0, 1)) ** 3
    sheen = 0.12 * grazing[:, None] * sky * open_share[:, None]
    return skin.albedo * light + gloss + sheen
