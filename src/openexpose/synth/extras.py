"""Meshes that the body does not have: skirt, long hair, bun, brim, glasses, held things; grids shaped by an outfit.

All live in the rest pose of the mean body; each vertex follows the shape of one body vertex and is carried by its own
mixture of joints.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

from openexpose.skeleton import Skeleton
from openexpose.synth.outfit import NAMES as OUTFIT_NAMES
from openexpose.synth.outfit import Outfit

SKIRT, HAIR, BUN, BRIM, GLASSES, LENS, HELD_LEFT, HELD_RIGHT = range(4, 12)
"""Pieces beyond those of the body (`anatomy`)."""
PIECES = 12
_GRIDS = {
    SKIRT: (56, 16), HAIR: (36, 16), BUN: (16, 10), BRIM: (40, 4), GLASSES: (24, 14), LENS: (24, 6),
    HELD_LEFT: (16, 10), HELD_RIGHT: (16, 10),
}  # fmt: skip
"""Columns (round) and rows of each piece's grid."""
_NAMES = Skeleton.read("smplx").names
_F64 = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Extras:
    """Constants of the extra pieces. X vertices, G faces."""

    piece: Int[np.ndarray, " X"]
    at: Float[np.ndarray, "X 2"]
    """Where on its grid a vertex is: round (0..1) and along (0..1)."""
    faces: Int[np.ndarray, "G 3"]
    """Over the extra vertices alone."""
    follows: Int[np.ndarray, " X"]
    """Body vertex whose shape displacement it takes."""
    weights: Float[np.ndarray, "X 55"]


def build_extras(vertices_m: Float[np.ndarray, "V 3"], body_weights: Float[np.ndarray, "V 55"]) -> Extras:
    """The extra pieces of a body whose rest vertices are given."""
    piece, at, faces = [], [], []
    first = 0
    for name, (columns, rows) in _GRIDS.items():
        u, t = np.meshgrid(np.arange(columns) / (columns - 1), np.arange(rows) / (rows - 1), indexing="ij")
        at.append(np.stack([u.ravel(), t.ravel()], 1))
        piece.append(np.full(columns * rows, name))
        i, j = np.meshgrid(np.arange(columns - 1), np.arange(rows - 1), indexing="ij")
        a = (first + i * rows + j).ravel()
        b, c, d = a + rows, a + 1, a + rows + 1
        faces.append(np.concatenate([np.stack([a, c, b], 1), np.stack([b, c, d], 1)]))
        first += columns * rows
    pieces, places = np.concatenate(piece), np.concatenate(at)
    nominal = _nominal(pieces, places)
    _, follows = cKDTree(vertices_m).query(_anchor(pieces, nominal))
    weights = _weights(pieces, places, nominal, body_weights[follows])
    every = np.concatenate(faces)
    kept = every[_within_parts(places, pieces, every)]
    return Extras(pieces, places.astype(np.float32), kept, follows, weights)


def _nominal(piece: NDArray[np.int64], at: _F64) -> _F64:
    outfit = Outfit(torch.zeros((1, len(OUTFIT_NAMES))))
    for name, number in {
        "waist_y": -0.28, "skirt_length": 0.6, "skirt_flare": 0.1, "hair_length": 0.4, "hair_wide": 1.0, "bun_y": 0.33,
        "bun_z": -0.07, "bun_m": 0.03, "brim": 2.0, "brim_m": 0.05, "glass_r": 0.02, "held_a": 0.03, "held_b": 0.03,
        "held_c": 0.03, "held_round": 1.0,
    }.items():  # fmt: skip
        outfit[name][:] = number
    return place_extras(torch.tensor(piece), torch.tensor(at, dtype=torch.float32), outfit)[0].double().numpy()


def _anchor(piece: NDArray[np.int64], nominal: _F64) -> _F64:
    """Where the body is to be asked for the shape displacement: a skirt hangs from the hips, hair from the skull."""
    out = nominal.copy()
    out[piece == SKIRT, 1] = np.maximum(out[piece == SKIRT, 1], -0.45)
    for name, low in ((HAIR, 0.25), (BUN, 0.25)):
        out[piece == name, 1] = np.maximum(out[piece == name, 1], low)
    out[(piece == GLASSES) | (piece == LENS)] = [0.0, 0.285, 0.135]
    out[piece == BRIM] = [0.0, 0.345, 0.13]
    for name, side in ((HELD_LEFT, 1.0), (HELD_RIGHT, -1.0)):
        out[piece == name] = [0.74 * side, 0.055, 0.01]
    return out


def _weights(piece: NDArray[np.int64], at: _F64, nominal: _F64, own: _F64) -> _F64:
    out = np.zeros_like(own)
    joint = {n: k for k, n in enumerate(_NAMES[:55])}
    head = np.isin(piece, [HAIR, BUN, BRIM, GLASSES, LENS])
    out[head, joint["head"]] = 1.0
    low = np.clip((0.21 - nominal[:, 1]) / 0.16, 0, 1) * (piece == HAIR)
    out[:, joint["head"]] -= low
    out[:, joint["spine_3"]] += low
    for name, side in ((HELD_LEFT, "left"), (HELD_RIGHT, "right")):
        out[piece == name, joint[f"{side}_wrist"]] = 1.0
    skirt = piece == SKIRT
    t = at[:, 1]
    legs = 0.85 * np.clip(t / 0.45, 0, 1) ** 1.2
    left = np.clip(nominal[:, 0] / 0.22 + 0.5, 0, 1)
    left = left * left * (3 - 2 * left)
    knees = 0.55 * np.clip((t - 0.75) / 0.25, 0, 1)
    shares = {
        "pelvis": (1 - legs) * 0.8, "spine_1": (1 - legs) * 0.2,
        "left_hip": legs * left * (1 - knees), "right_hip": legs * (1 - left) * (1 - knees),
        "left_knee": legs * left * knees, "right_knee": legs * (1 - left) * knees,
    }  # fmt: skip
    for above, share in shares.items():
        out[skirt, joint[above]] = share[skirt]
    return out


def place_extras(piece: Int[Tensor, " X"], at: Float[Tensor, "X 2"], outfit: Outfit) -> Float[Tensor, "N X 3"]:
    """Rest positions in metres of the extra vertices for N outfits, on the mean body."""
    o = outfit.over() if outfit.values.dim() == 2 else outfit
    makers = {SKIRT: _skirt, HAIR: _long_hair, BUN: _bun, BRIM: _brim, GLASSES: _glasses, LENS: _lenses}
    out = []
    for name in _GRIDS:
        here = at[piece == name]
        u, t = here[None, :, 0], here[None, :, 1]
        if name in makers:
            out.append(makers[name](o, u, t))
        else:
            out.append(_held(o, u, t, 1.0 if name == HELD_LEFT else -1.0))
    return torch.cat(out, 1)


def _xyz(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    return torch.stack(torch.broadcast_tensors(x, y, z), -1)


def _skirt(o: Outfit, u: Tensor, t: Tensor) -> Tensor:
    phi = u * 2 * torch.pi
    drop = t * o["skirt_length"]
    y = o["waist_y"] + 0.012 - drop
    hips = ((-0.24 - y) / 0.19).clamp(0, 1)
    hips = hips * hips * (3 - 2 * hips)
    wide, deep = 0.160 + 0.040 * hips, 0.118 + 0.018 * hips
    spread = o["skirt_flare"] * (drop - 0.08).clamp(min=0) + o["pleats"] * t * torch.sin(phi * 11 + o["seed"])
    middle = 0.024 * (1 - hips) - 0.002
    return _xyz((wide + spread + 0.006) * torch.sin(phi), y, middle + (deep + spread + 0.008) * torch.cos(phi))


def _long_hair(o: Outfit, u: Tensor, t: Tensor) -> Tensor:
    phi = (u - 0.5) * 4.0  # 0 is the back, the ends hang before the ears
    y = 0.36 - t * (o["hair_length"] + 0.06)
    top = ((y - 0.30) / 0.09).clamp(0, 1)
    low = ((0.20 - y) / 0.20).clamp(0, 1)
    wide = (0.083 + 0.006 * o["hair_wide"]) * (1 - 0.35 * top) + 0.02 * low * o["hair_wide"]
    deep = 0.100 * (1 - 0.25 * top) + 0.022 * low
    wave = 0.004 * torch.sin(phi * 9 + o["seed"] * 3 + t * 9) * (0.4 + t)
    back = torch.cos(phi).clamp(min=-0.15)
    return _xyz((wide + wave) * torch.sin(phi), y, 0.038 - (deep + wave) * back)


def _ball(u: Tensor, t: Tensor, power: Tensor | float) -> Tensor:
    """Directions over a superellipsoid: power 1 is a ball, near 0 a box (Barr 1981)."""
    a, b = u * 2 * torch.pi, (t - 0.5) * torch.pi

    def bent(x: Tensor) -> Tensor:
        return torch.sign(x) * x.abs().clamp(min=1e-6) ** power

    return _xyz(bent(torch.cos(b)) * bent(torch.cos(a)), bent(torch.sin(b)), bent(torch.cos(b)) * bent(torch.sin(a)))


def _bun(o: Outfit, u: Tensor, t: Tensor) -> Tensor:
    centre = _xyz(torch.zeros_like(o["bun_y"]), o["bun_y"], o["bun_z"])
    return centre + o["bun_m"][..., None] * _ball(u, t, 1.0)


def _brim(o: Outfit, u: Tensor, t: Tensor) -> Tensor:
    phi = u * 2 * torch.pi
    front = torch.cos(phi)
    cap = (front - 0.25).clamp(min=0) ** 0.5 * 1.1
    reach = torch.where(o["brim"] > 1.5, torch.ones_like(front), cap) * o["brim_m"] * t
    y = 0.348 + o["hat_m"] * 0.2 - 0.25 * reach
    return _xyz((0.080 + reach) * torch.sin(phi), y, 0.038 + (0.100 + reach) * front)


def _glasses(o: Outfit, u: Tensor, t: Tensor) -> Tensor:
    """Rows 0-4 go round the tube of the left rim, 5-9 round the right one; 10-11 and 12-13 are edges of the temples."""
    row = torch.round(t * 13)
    left = torch.where(row < 5, 1.0, -1.0)
    angle = u * 2 * torch.pi
    ring = row % 5
    tube = 0.0016 * torch.stack([torch.cos(ring * 1.5708), torch.sin(ring * 1.5708)])
    r = o["glass_r"] + tube[0]
    rim = _xyz(left * 0.031 + r * torch.cos(angle), 0.284 + 0.85 * r * torch.sin(angle), 0.146 + tube[1])
    bar = row - 10  # 0, 1: left temple; 2, 3: right temple
    side = torch.where(bar < 2, 1.0, -1.0)
    upper = torch.where(bar % 2 < 1, 0.0015, -0.0015)
    outer = 0.031 + o["glass_r"]
    temple = _xyz(side * (outer + (0.084 - outer) * u), 0.288 + upper - 0.004 * u, 0.145 - 0.105 * u)
    return torch.where((row < 10)[..., None], rim, temple)


def _lenses(o: Outfit, u: Tensor, t: Tensor) -> Tensor:
    row = torch.round(t * 5)
    left = torch.where(row < 3, 1.0, -1.0)
    r = o["glass_r"] * (row % 3) / 2
    angle = u * 2 * torch.pi
    return _xyz(left * 0.031 + r * torch.cos(angle), 0.284 + 0.85 * r * torch.sin(angle), torch.full_like(u, 0.1455))


def _held(o: Outfit, u: Tensor, t: Tensor, side: float) -> Tensor:
    half = _xyz(o["held_a"], o["held_b"], o["held_c"] * 1.6)
    low = 0.060 - 0.8 * o["held_b"].clamp(max=0.04)
    centre = _xyz(torch.full_like(low, 0.755 * side), low, torch.full_like(low, 0.012))
    return centre + half * _ball(u, t, o["held_round"][..., None].squeeze(-1))


def _within_parts(at: _F64, piece: NDArray[np.int64], faces: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which faces to keep: those of glasses and lenses do not join left and right, rim and temple."""
    row = np.where(piece == GLASSES, np.rint(at[:, 1] * 13), np.where(piece == LENS, np.rint(at[:, 1] * 5), 0))
    group = np.where(piece == GLASSES, np.select([row < 5, row < 10, row < 12], [0, 1, 2], 3), np.where(row < 3, 0, 1))
    corners = group[faces]
    return np.asarray((corners == corners[:, :1]).all(1))
