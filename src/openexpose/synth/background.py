"""What is behind and before people: rooms, ground and sky, clutter, crops of real photos, and things in the way.

Numbers are drawn in numpy (`draw_background`) and painted in torch for many pictures at once.
"""

from collections.abc import Mapping

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from torch import Tensor

from openexpose import images
from openexpose.data.pack import PhotoPack
from openexpose.errors import DataError
from openexpose.synth.noise import Noise, hashed
from openexpose.synth.outfit import cloth_colour, hsv

SHAPES, OCCLUDERS = 14, 3
_SHAPE_NUMBERS = 12
"""Of a shape: x, y, half width, half height (shares of the side), turn, kind, softness, texture, r, g, b, there."""


def draw_background(rng: np.random.Generator, *, bank: int, bank_share: float) -> dict[str, NDArray[np.float32]]:
    """Numbers of one background. bank: how many real crops there are; bank_share: how often one is used."""
    base = np.stack([_surface_colour(rng) for _ in range(6)])
    shapes = np.stack([_shape(rng, rng.random() < 0.62) for _ in range(SHAPES)])
    if rng.random() < 0.12:
        shapes[:, -1] = 0
    occluders = np.stack([_shape(rng, True) for _ in range(OCCLUDERS)])
    count = rng.choice([0, 1, 2, 3], p=[0.62, 0.22, 0.10, 0.06])
    occluders[:, -1] = np.arange(OCCLUDERS) < count
    occluders[:, 2:4] *= 0.75
    edge = rng.random(OCCLUDERS) < 0.5  # many things stick in from the border
    occluders[edge, :2] = np.where(rng.random((int(edge.sum()), 2)) < 0.5, 0.02, 0.98) * np.where(
        rng.random((int(edge.sum()), 2)) < 0.6, 1.0, rng.random((int(edge.sum()), 2))
    )
    use_bank = bank > 0 and rng.random() < bank_share
    return {
        "colours": base.astype(np.float32),
        "shapes": shapes.astype(np.float32),
        "occluders": occluders.astype(np.float32),
        "walls": np.array(
            [rng.random() < 0.7, rng.uniform(-0.2, 0.35), np.exp(rng.uniform(-0.5, 2.6)), rng.uniform(0, 0.9),
             rng.uniform(0, 9), rng.uniform(0.0, 1.0), rng.uniform(0, 4), rng.uniform(0, 0.6)], np.float32
        ),
        "bank": np.array([rng.integers(bank) if use_bank else -1, rng.random() < 0.5, rng.uniform(0.55, 1.0),
                          *rng.uniform(-1, 1, 2), np.exp(rng.normal(0, 0.25))], np.float32),
    }  # fmt: skip


def _surface_colour(rng: np.random.Generator) -> NDArray[np.float64]:
    if rng.random() < 0.6:
        srgb = hsv(rng.normal(0.1, 0.15) % 1, rng.beta(1.2, 3), rng.beta(2, 1.6))
    else:
        srgb = cloth_colour(rng)
    return np.asarray(np.clip(srgb, 0.01, 1) ** 2.2)


def _shape(rng: np.random.Generator, there: bool) -> NDArray[np.float64]:
    size = np.exp(rng.uniform(np.log(0.03), np.log(0.38), 2))
    place = rng.uniform(-0.05, 1.05, 2)
    turn = rng.normal(0, 0.08) if rng.random() < 0.75 else rng.uniform(0, np.pi)
    kind = rng.choice([0, 1, 2], p=[0.55, 0.2, 0.25])  # box, ellipse, ragged blob
    return np.array(
        [*place, *size, turn, kind, rng.choice([0.0, 0.01, 0.05]), rng.integers(5), *_surface_colour(rng), there]
    )


def paint_background(
    numbers: Mapping[str, Tensor],
    rays: Float[Tensor, "B S S 3"],
    up: Float[Tensor, "B 3"],
    floor_m: Float[Tensor, " B"],
    noise: Noise,
    bank: Float[Tensor, "C H W 3"] | None,
) -> tuple[Float[Tensor, "B S S 3"], Float[Tensor, "B S S 3"], Tensor]:
    """Linear colours of B backgrounds, the point of the floor that each pixel shows (metres), and where there is floor.

    rays: of the pixels, z = 1.   up: against gravity, camera axes.   floor_m: height of the floor over the camera.
    """
    B, S = rays.shape[0], rays.shape[1]
    use = (numbers["bank"][:, 0] >= 0)[:, None, None]
    if bank is not None and rays.device.type == "cpu" and bool(use.all()):
        return _from_bank(numbers["bank"], bank, S), rays, torch.zeros(rays.shape[:3], dtype=torch.bool)
    colours, walls = numbers["colours"], numbers["walls"]
    rise = (rays * up[:, None, None]).sum(-1)
    t = floor_m[:, None, None] / torch.where(rise.abs() < 1e-4, torch.full_like(rise, 1e-4), rise)
    point = rays * t[..., None]
    far = walls[:, 2][:, None, None] + 3.0
    floor = (t > 0.1) & (t < far) & (walls[:, 0] > 0)[:, None, None]
    side = torch.nn.functional.normalize(
        torch.linalg.cross(up, torch.tensor([0.0, 0.0, 1.0], device=up.device).expand_as(up)), dim=-1
    )
    ahead = torch.linalg.cross(side, up)
    seed = walls[:, 4][:, None, None]
    u, v = ((point * w[:, None, None]).sum(-1) for w in (side, ahead))
    uneven = screen_noise(noise, walls[:, 4], S)
    place = torch.stack([u * 0.05, v * 0.05, seed.expand_as(u) * 0.1], -1).clamp(-9, 9)
    underfoot = torch.stack([noise.value(place), noise.value(place * 7), noise.value(place * 23)])
    on_floor = _textured(colours[:, 0], colours[:, 1], walls[:, 6], u, v, seed, underfoot)
    direction = torch.nn.functional.normalize(rays, dim=-1)
    a, b = ((direction * w[:, None, None]).sum(-1) for w in (side, up))
    blend = (0.5 + b * (0.6 + walls[:, 3][:, None, None])).clamp(0, 1)[..., None]
    wall = colours[:, 2][:, None, None] * (1 - blend) + colours[:, 3][:, None, None] * blend
    textured = _textured(
        colours[:, 2], colours[:, 4], (walls[:, 6] + 2) % 5, a * far * 0.6, b * far * 0.6, seed + 2, uneven
    )
    wall = wall + (walls[:, 5] > 0.45).float()[:, None, None, None] * 0.7 * (textured - wall)
    out = wall
    grid = (torch.arange(S, device=rays.device) + 0.5) / S
    y, x = torch.meshgrid(grid, grid, indexing="ij")
    x, y = x.expand(B, S, S), y.expand(B, S, S)
    for k in range(SHAPES // 2):
        out = _over(out, numbers["shapes"][:, k], x, y, _turned(uneven, k))
    out = torch.where(floor[..., None], on_floor, out)
    for k in range(SHAPES // 2, SHAPES):
        out = _over(out, numbers["shapes"][:, k], x, y, _turned(uneven, k))
    if bank is not None:
        real = _from_bank(numbers["bank"], bank, S)
        out, floor = torch.where(use[..., None], real, out), floor & ~use
    return out, point, floor


def paint_occluders(
    picture: Float[Tensor, "B S S 3"], occluders: Float[Tensor, "B 3 12"], noise: Noise
) -> tuple[Float[Tensor, "B S S 3"], Float[Tensor, "B S S"]]:
    """The picture with things before everything, and their coverage 0..1."""
    B, S = picture.shape[:2]
    grid = (torch.arange(S, device=picture.device) + 0.5) / S
    y, x = torch.meshgrid(grid, grid, indexing="ij")
    hidden = torch.zeros(picture.shape[:3], device=picture.device)
    if not bool((occluders[..., -1] > 0).any()):
        return picture, hidden
    uneven = screen_noise(noise, occluders[:, 0, 0] * 9, S)
    for k in range(OCCLUDERS):
        mask, colour = _shape_layer(occluders[:, k], x.expand(B, S, S), y.expand(B, S, S), _turned(uneven, k))
        picture = picture + mask[..., None] * (colour - picture)
        hidden = torch.maximum(hidden, mask)
    return picture, hidden


def screen_noise(noise: Noise, seed: Float[Tensor, " B"], S: int) -> Float[Tensor, "3 B S S"]:
    """Noise over the picture in three sizes, for everything that is not in perspective."""
    at = torch.arange(S, device=seed.device) / S
    y, x = torch.meshgrid(at, at, indexing="ij")
    place = torch.stack([x.expand(len(seed), S, S), y.expand(len(seed), S, S), x * 0 + seed.view(-1, 1, 1)], -1)
    place = place * 0.21 + 0.13 * seed.view(-1, 1, 1, 1)
    return torch.stack([noise.value(place), noise.value(place * 3.7), noise.value(place * 11)])


def _turned(uneven: Float[Tensor, "3 B S S"], k: int) -> Float[Tensor, "3 B S S"]:
    """The same noise mirrored and turned in one of eight ways."""
    out = uneven.transpose(-2, -1) if k & 4 else uneven
    axes = [axis for bit, axis in ((1, -1), (2, -2)) if k & bit]
    return out.flip(axes) if axes else out


def _over(out: Tensor, shape: Tensor, x: Tensor, y: Tensor, uneven: Tensor) -> Tensor:
    if shape.device.type == "cpu" and not bool(shape[:, -1].any()):
        return out
    mask, colour = _shape_layer(shape, x, y, uneven)
    return out + mask[..., None] * (colour - out)


def _shape_layer(shape: Float[Tensor, "B 12"], x: Tensor, y: Tensor, uneven: Tensor) -> tuple[Tensor, Tensor]:
    n = [shape[:, k][:, None, None] for k in range(_SHAPE_NUMBERS)]
    dx, dy = x - n[0], y - n[1]
    c, s = torch.cos(n[4]), torch.sin(n[4])
    p, q = (c * dx + s * dy) / n[2], (c * dy - s * dx) / n[3]
    rough = uneven[0]
    far = torch.where(n[5] < 0.5, torch.maximum(p.abs(), q.abs()), torch.sqrt(p * p + q * q))
    far = torch.where(n[5] > 1.5, far + 0.25 * rough, far)
    soft = n[6] / torch.minimum(n[2], n[3]) + 0.02
    mask = ((1 - far) / soft + 0.5).clamp(0, 1) * n[11]
    first = shape[:, 8:11]
    second = first.flip(-1) * 0.5 + 0.05
    kind = shape[:, 7]
    colour = _textured(first, second, kind, p * n[2] * 4, q * n[3] * 4, n[0] * 7, uneven)
    return mask, colour * (1 + 0.12 * rough - 0.12 * q)[..., None].clamp(min=0.2)


def _textured(a: Tensor, b: Tensor, kind: Tensor, u: Tensor, v: Tensor, seed: Tensor, uneven: Tensor) -> Tensor:
    """Colours on a plane with coordinates u, v: plain, tiles, planks, speckles, stripes; always a little uneven."""
    a, b, kind = a[:, None, None], b[:, None, None], kind.long()[:, None, None]
    coarse, fine, tiny = uneven
    scale = 1.2 + seed % 3
    uu, vv = u * scale, v * scale

    def tiles() -> Tensor:
        brick = uu + 0.5 * (torch.floor(vv) % 2)
        joints = ((uu - torch.floor(uu)) < 0.05) | ((vv - torch.floor(vv)) < 0.05)
        return torch.where(joints, 1.0, 0.3 * hashed(seed, torch.floor(brick), torch.floor(vv)))

    shares = (
        lambda: 0.25 * coarse.clamp(-1, 1) + 0.25,
        tiles,
        lambda: 0.7 * hashed(seed, torch.floor(vv * 3), torch.floor(uu * 0.4 + 7 * torch.floor(vv * 3) % 1.7)),
        lambda: (0.5 + 0.45 * fine + 0.3 * tiny).clamp(0, 1),
        lambda: (torch.sin(uu * 6.28) > 0).float(),
    )
    kind = kind.clamp(0, len(shares) - 1)
    if len(kind) == 1 and kind.device.type == "cpu":  # one photo: the others are not needed
        mix = shares[int(kind)]().expand_as(u)
    else:
        mix = torch.stack([share() for share in shares]).gather(0, kind.expand_as(u)[None])[0]
    dirt = (1 + 0.10 * coarse + 0.05 * fine)[..., None].clamp(min=0.3)
    return (a + mix[..., None] * (b - a)) * dirt


def _from_bank(numbers: Float[Tensor, "B 6"], bank: Float[Tensor, "C H W 3"], S: int) -> Float[Tensor, "B S S 3"]:
    pick = numbers[:, 0].long().clamp(min=0)
    crops = bank[pick].permute(0, 3, 1, 2)
    mirror = 1 - 2 * numbers[:, 1]
    zoom = numbers[:, 2]
    shift = numbers[:, 3:5] * (1 - zoom[:, None])
    theta = torch.zeros((len(pick), 2, 3), device=bank.device)
    theta[:, 0, 0], theta[:, 1, 1], theta[:, :, 2] = zoom * mirror, zoom, shift
    grid = torch.nn.functional.affine_grid(theta, [len(pick), 3, S, S], align_corners=False)
    out = torch.nn.functional.grid_sample(crops, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    return out.permute(0, 2, 3, 1) * numbers[:, 5][:, None, None, None]


def crops_without_people(pack: PhotoPack, *, side_px: int = 128, smallest_px: int = 40) -> UInt8[np.ndarray, "C S S 3"]:
    """Square crops of a pack's photos beside the person's box, enlarged to one size: real backgrounds.

    Of each photo the largest strip left, right, above or below the box is taken, if it is wide enough.
    Raises DataError if no photo has one.
    """
    out = []
    for i in range(len(pack)):
        record = pack.row(i)
        if record.box_xywh_px is None:
            continue
        rgb = images.read_rgb(pack.photo(i), name=record.photo)
        h, w = rgb.shape[:2]
        x, y, bw, bh = record.box_xywh_px
        strips = [(0, 0, x, h), (x + bw, 0, w, h), (0, 0, w, y), (0, y + bh, w, h)]
        x0, y0, x1, y1 = max(strips, key=lambda s: min(s[2] - s[0], s[3] - s[1]))
        side = int(min(x1 - x0, y1 - y0))
        if side >= smallest_px:
            left, top = int((x0 + x1 - side) / 2), int((y0 + y1 - side) / 2)
            part = rgb[top : top + side, left : left + side]
            out.append(np.asarray(cv2.resize(part, (side_px, side_px), interpolation=cv2.INTER_CUBIC), np.uint8))
    if not out:
        raise DataError(f"{pack.name}: no photo has {smallest_px} px beside its person; give another pack")
    return np.stack(out)
