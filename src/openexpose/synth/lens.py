"""From linear light to pixels that look taken: exposure, tone, colour cast, blur, low resolution, noise, JPEG."""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from openexpose.synth.noise import hashed

NAMES = (
    "blur_px",
    "motion_px",
    "motion_rad",
    "shrink",
    "noise",
    "quality",
    "contrast",
    "saturation",
    "r",
    "g",
    "b",
    "seed",
    "vignette",
)
_LUMA = np.array(
    [[16, 11, 10, 16, 24, 40, 51, 61], [12, 12, 14, 19, 26, 58, 60, 55], [14, 13, 16, 24, 40, 57, 69, 56],
     [14, 17, 22, 29, 51, 87, 80, 62], [18, 22, 37, 56, 68, 109, 103, 77], [24, 35, 55, 64, 81, 104, 113, 92],
     [49, 64, 78, 87, 103, 121, 120, 101], [72, 92, 95, 98, 112, 100, 103, 99]]
)  # fmt: skip
"""Quantisation of brightness in the JPEG standard (ITU T.81, annex K)."""


def draw_lens(rng: np.random.Generator) -> NDArray[np.float32]:
    """(len(NAMES),) numbers of one camera and its file."""
    p = dict.fromkeys(NAMES, 0.0)
    p["blur_px"] = rng.uniform(0.3, 1.6) if rng.random() < 0.45 else 0.0
    if rng.random() < 0.12:
        p["motion_px"], p["motion_rad"] = rng.uniform(2, 7), rng.uniform(0, np.pi)
    p["shrink"] = rng.uniform(1.3, 4.0) if rng.random() < 0.30 else 1.0
    p["noise"] = rng.uniform(0.0, 0.04) if rng.random() < 0.5 else 0.0
    p["quality"] = rng.uniform(18, 95) if rng.random() < 0.75 else 0.0
    p["contrast"], p["saturation"] = rng.uniform(0.75, 1.3), rng.uniform(0.6, 1.35)
    if rng.random() < 0.05:
        p["saturation"] = 0.0
    p["r"], p["g"], p["b"] = np.exp(rng.normal(0, 0.06, 3))
    p["seed"], p["vignette"] = rng.uniform(0, 1000), rng.uniform(0, 0.35) if rng.random() < 0.3 else 0.0
    return np.array([p[n] for n in NAMES], np.float32)


def developed(
    linear: Float[Tensor, "B S S 3"], lens: Float[Tensor, "B 13"], exposure: Float[Tensor, " B"]
) -> Float[Tensor, "B S S 3"]:
    """sRGB 0..1 of a picture in linear light, before damage: exposure, white balance, contrast, saturation."""
    p = _columns(lens)
    x = linear * exposure[:, None, None, None] * torch.stack([p["r"], p["g"], p["b"]], -1).view(-1, 1, 1, 3)
    S = linear.shape[1]
    at = torch.linspace(-1, 1, S, device=linear.device)
    x = x * (1 - p["vignette"].view(-1, 1, 1) * 0.5 * (at[:, None] ** 2 + at**2))[..., None]
    x = x.clamp(min=0)
    over = (x - 0.7).clamp(min=0)
    x = x.clamp(max=0.7) + over / (1 + over * 3.3)
    srgb = torch.where(x <= 0.0031308, 12.92 * x, 1.055 * x.clamp(min=1e-6) ** (1 / 2.4) - 0.055)
    srgb = 0.5 + (srgb - 0.5) * p["contrast"].view(-1, 1, 1, 1)
    grey = srgb.mean(-1, keepdim=True)
    return (grey + (srgb - grey) * p["saturation"].view(-1, 1, 1, 1)).clamp(0, 1)


def damaged(srgb: Float[Tensor, "B S S 3"], lens: Float[Tensor, "B 13"]) -> Float[Tensor, "B S S 3"]:
    """The picture blurred, shrunk and enlarged, with sensor noise and JPEG blocks; each picture on its own."""
    p = _columns(lens)
    out = srgb.permute(0, 3, 1, 2)
    out = _shaken(_blurred(out, p["blur_px"]), p["motion_px"], p["motion_rad"])
    out = _shrunk(out, p["shrink"])
    B, _, S, _ = out.shape
    y, x = torch.meshgrid(torch.arange(S, device=out.device), torch.arange(S, device=out.device), indexing="ij")
    grain = torch.stack([
        sum((hashed(p["seed"].view(-1, 1, 1) + 10 * c + 31 * k, x, y) for k in range(3)), start=torch.zeros(())) - 1.5
        for c in range(3)
    ], 1)  # fmt: skip
    out = (out + 2.0 * grain * p["noise"].view(-1, 1, 1, 1) * (0.4 + out)).clamp(0, 1)
    return jpeg_blocks(out, p["quality"]).permute(0, 2, 3, 1)


def _columns(lens: Tensor) -> Mapping[str, Tensor]:
    return dict(zip(NAMES, lens.unbind(-1), strict=True))


def _blurred(x: Float[Tensor, "B 3 S S"], sigma_px: Float[Tensor, " B"]) -> Tensor:
    """Each picture with its own Gaussian, up to 2 px."""
    at = torch.arange(-4, 5, device=x.device).float()
    kernel = torch.exp(-0.5 * (at / sigma_px.clamp(min=0.05)[:, None]) ** 2)
    kernel = (kernel / kernel.sum(-1, keepdim=True)).repeat_interleave(3, 0)
    B, C, H, W = x.shape
    flat = torch.nn.functional.pad(x.reshape(1, B * C, H, W), (4, 4, 4, 4), mode="replicate")
    flat = torch.nn.functional.conv2d(flat, kernel[:, None, None, :], groups=B * C)
    flat = torch.nn.functional.conv2d(flat, kernel[:, None, :, None], groups=B * C)
    return flat.view(B, C, H, W)


def _shaken(x: Float[Tensor, "B 3 S S"], length_px: Float[Tensor, " B"], angle_rad: Float[Tensor, " B"]) -> Tensor:
    """Mean over a straight path of the given length."""
    if not bool((length_px > 0).any()):
        return x
    S, taps = x.shape[-1], 7
    theta = torch.eye(2, 3, device=x.device).repeat(len(x), 1, 1)
    total = torch.zeros_like(x)
    for k in range(taps):
        shift = (k / (taps - 1) - 0.5) * length_px * 2 / S
        theta[:, 0, 2], theta[:, 1, 2] = shift * torch.cos(angle_rad), shift * torch.sin(angle_rad)
        grid = torch.nn.functional.affine_grid(theta, list(x.shape), align_corners=False)
        total = total + torch.nn.functional.grid_sample(x, grid, padding_mode="border", align_corners=False)
    return torch.where((length_px > 0).view(-1, 1, 1, 1), total / taps, x)


def _shrunk(x: Float[Tensor, "B 3 S S"], factor: Float[Tensor, " B"]) -> Tensor:
    """Sampled at a coarser grid (after averaging) and drawn again at full size."""
    S = x.shape[-1]
    smooth = _blurred(x, 0.42 * (factor - 1))
    at = torch.arange(S, device=x.device).float()
    coarse = (at + 0.5) / factor[:, None] - 0.5  # place on the coarse grid
    low = torch.floor(coarse)
    share = coarse - low
    places = [((low + k + 0.5) * factor[:, None] - 0.5).round().long().clamp(0, S - 1) for k in (0, 1)]

    def along(picture: Tensor, axis: int) -> Tensor:
        shape = [len(picture), 1, 1, 1]
        shape[axis] = S
        full = list(picture.shape)
        a, b = (picture.gather(axis, p.view(shape).expand(full)) for p in places)
        return a + share.view(shape) * (b - a)

    return torch.where((factor > 1.01).view(-1, 1, 1, 1), along(along(smooth, 2), 3), x)


def jpeg_blocks(x: Float[Tensor, "B 3 S S"], quality: Float[Tensor, " B"]) -> Float[Tensor, "B 3 S S"]:
    """What JPEG of each picture's quality (1..100; 0: none) leaves: 8 x 8 cosine blocks, quantised.

    Colour is kept at full resolution; its quantisation is twice the brightness's. Sides must be multiples of 8: other
    pictures keep their last rows and columns undamaged.
    """
    B, _, H, W = x.shape
    h, w = H // 8 * 8, W // 8 * 8
    D = _cosines(x.device)
    M = torch.tensor([[0.299, 0.587, 0.114], [-0.1687, -0.3313, 0.5], [0.5, -0.4187, -0.0813]], device=x.device)
    ycc = torch.einsum("ij,bjhw->bihw", M, x[:, :, :h, :w] * 255 - 128 * torch.ones((), device=x.device))
    blocks = ycc.reshape(B, 3, h // 8, 8, w // 8, 8).permute(0, 1, 2, 4, 3, 5)
    frequencies = D @ blocks @ D.T
    q = quality.clamp(1, 100)
    scale = torch.where(q < 50, 5000 / q, 200 - 2 * q) / 100
    table = torch.tensor(_LUMA, dtype=x.dtype, device=x.device)
    steps = (
        table * scale.view(-1, 1, 1, 1, 1, 1) * torch.tensor([1.0, 2.0, 2.0], device=x.device).view(1, 3, 1, 1, 1, 1)
    ).clamp(1, 255)
    blocks = D.T @ (torch.round(frequencies / steps) * steps) @ D
    ycc = blocks.permute(0, 1, 2, 4, 3, 5).reshape(B, 3, h, w)
    out = x.clone()
    out[:, :, :h, :w] = ((torch.einsum("ij,bjhw->bihw", torch.linalg.inv(M), ycc) + 128) / 255).clamp(0, 1)
    return torch.where((quality > 0).view(-1, 1, 1, 1), out, x)


def _cosines(device: torch.device) -> Float[Tensor, "8 8"]:
    """The orthonormal discrete cosine transform of eight numbers."""
    k = torch.arange(8, device=device).float()
    D = torch.cos((2 * k[None] + 1) * k[:, None] * torch.pi / 16) * 0.5
    D[0] = D[0] / 2**0.5
    return D
