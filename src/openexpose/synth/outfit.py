"""What a person wears and looks like, as a row of named numbers: drawn here, read by geometry and colour."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

COLOURED = (
    "skin", "hairs", "lips", "iris", "topa", "topb", "shirt", "lega", "legb", "shoes", "sock", "hats", "rim", "held",
)  # fmt: skip
"""What has a colour of its own."""
NAMES: tuple[str, ...] = (
    # shirt, jacket or dress; lengths in metres of the mean body at rest
    "top", "sleeve_x", "sleeve_loose", "hem_y", "neck_r", "neck_v", "collar", "top_loose", "top_flare", "jacket",
    "jacket_gap", "jacket_sleeve",
    "trousers", "leg_y", "waist_y", "leg_loose", "leg_flare", "tucked",
    "skirt", "skirt_length", "skirt_flare", "pleats",
    "shoe_y", "shoe", "sock_y", "glove",
    "fold_m", "fold_size",
    "hair", "hair_m", "hair_curl", "long_hair", "hair_length", "hair_wide", "bun", "bun_y", "bun_z", "bun_m",
    "hat", "hat_m", "brim", "brim_m", "glasses", "glass_r", "lens", "beard", "brow", "beard_m",
    "held_left", "held_right", "held_a", "held_b", "held_c", "held_round",
    "freckles", "blush", "eye_r", "shine", "cloth_shine", "seed",
    "pattern_top", "pattern_leg", "pattern_scale_top", "pattern_scale_leg", "pattern_turn",
    *(f"{what}_{c}" for what in COLOURED for c in "rgb"),
)  # fmt: skip
"""Columns of an outfit; colours are linear light."""
INDEX: Mapping[str, int] = {n: i for i, n in enumerate(NAMES)}

SKIN_TONES = np.array(
    [[0.92, 0.76, 0.68], [0.88, 0.69, 0.58], [0.82, 0.62, 0.50], [0.73, 0.52, 0.39], [0.60, 0.41, 0.30],
     [0.46, 0.30, 0.21], [0.33, 0.21, 0.15], [0.22, 0.14, 0.10]]
)  # fmt: skip
"""sRGB from light to dark; a person is between two neighbours."""
HAIR_TONES = np.array(
    [[0.06, 0.05, 0.05], [0.10, 0.07, 0.05], [0.20, 0.13, 0.08], [0.33, 0.21, 0.12], [0.52, 0.37, 0.21],
     [0.75, 0.60, 0.38], [0.45, 0.18, 0.09], [0.55, 0.54, 0.52], [0.85, 0.84, 0.82]]
)  # fmt: skip
IRIS_TONES = np.array(
    [[0.25, 0.14, 0.07], [0.33, 0.21, 0.10], [0.30, 0.38, 0.25], [0.30, 0.45, 0.58], [0.45, 0.5, 0.52]]
)


class Outfit:
    """Rows of outfits in torch, read by name: `outfit["hem_y"]` has one number a row, or one a pixel."""

    def __init__(self, values: Tensor, row: Tensor | None = None) -> None:
        """values: (N, len(NAMES)).   row: which of the N each pixel belongs to; None: one number a row."""
        self.values, self.row = values, row

    def __getitem__(self, name: str) -> Tensor:
        column = self.values[..., INDEX[name]]
        return column if self.row is None else column[self.row]

    def colour(self, name: str) -> Tensor:
        """(N, 3) linear light, or (pixels, 3)."""
        first = INDEX[f"{name}_r"]
        colour = self.values[..., first : first + 3]
        return colour if self.row is None else colour[self.row]

    def at(self, row: Tensor) -> "Outfit":
        """The same, read pixel by pixel; columns are gathered only when asked for."""
        return Outfit(self.values, row)

    def over(self) -> "Outfit":
        """The same with an axis to broadcast over vertices."""
        return Outfit(self.values[:, None])


def draw_outfit(rng: np.random.Generator) -> NDArray[np.float32]:
    """(len(NAMES),) one person's looks and clothes."""
    p: dict[str, float] = dict.fromkeys(NAMES, 0.0)
    p["seed"] = float(rng.uniform(0, 8))
    _body_colours(p, rng)
    _hair(p, rng)
    style = rng.choice(["shirt", "dress", "sport", "bare", "coat"], p=[0.56, 0.12, 0.16, 0.05, 0.11])
    _top(p, str(style), rng)
    _legs(p, str(style), rng)
    _feet(p, rng)
    _things(p, rng)
    p["fold_m"], p["fold_size"] = rng.uniform(0.002, 0.012), rng.uniform(5, 14)
    p["cloth_shine"] = rng.choice([0.0, 0.03, 0.15], p=[0.6, 0.3, 0.1])
    for part in ("top", "leg"):
        p[f"pattern_{part}"] = float(rng.choice(8, p=[0.50, 0.11, 0.05, 0.08, 0.07, 0.08, 0.05, 0.06]))
        p[f"pattern_scale_{part}"] = np.exp(rng.uniform(np.log(8), np.log(60)))
    p["pattern_turn"] = rng.uniform(0, 3.14) if rng.random() < 0.2 else 0.0
    return np.array([p[n] for n in NAMES], np.float32)


def cloth_colour(rng: np.random.Generator) -> NDArray[np.float64]:
    """sRGB of a piece of cloth: black, white, grey, denim and faded colours are commoner than strong ones."""
    kind = rng.random()
    if kind < 0.16:
        return rng.uniform(0.02, 0.16, 1) * (1 + rng.normal(0, 0.06, 3))
    if kind < 0.32:
        return np.clip(rng.uniform(0.75, 0.97, 1) + rng.normal(0, 0.02, 3), 0, 1)
    if kind < 0.42:
        return np.clip(rng.uniform(0.2, 0.7, 1) + rng.normal(0, 0.02, 3), 0, 1)
    if kind < 0.55:
        return np.array([0.22, 0.30, 0.45]) * rng.uniform(0.4, 1.6) * (1 + rng.normal(0, 0.08, 3))
    return hsv(rng.random(), rng.beta(2.0, 1.6), rng.uniform(0.15, 0.98))


def hsv(hue: float, saturation: float, value: float) -> NDArray[np.float64]:
    """sRGB of hue (0..1), saturation and value (0..1). Source: Smith 1978."""
    k = (np.array([5.0, 3.0, 1.0]) + 6 * hue) % 6
    return np.asarray(value * (1 - saturation * np.clip(np.minimum(k, 4 - k), 0, 1)))


def _put(p: dict[str, float], what: str, srgb: NDArray[np.float64]) -> None:
    linear = np.clip(srgb, 0.0, 1.0) ** 2.2
    for c, value in zip("rgb", linear, strict=True):
        p[f"{what}_{c}"] = float(value)


def _between(tones: NDArray[np.float64], at: float) -> NDArray[np.float64]:
    k = int(np.clip(at, 0, len(tones) - 1.001))
    return np.asarray(tones[k] + (at - k) * (tones[k + 1] - tones[k]))


def _body_colours(p: dict[str, float], rng: np.random.Generator) -> None:
    tone = rng.uniform(0, len(SKIN_TONES) - 1)
    skin = _between(SKIN_TONES, tone) * (1 + rng.normal(0, 0.03, 3))
    _put(p, "skin", skin)
    made_up = rng.random() < 0.25
    red = hsv(rng.uniform(-0.04, 0.02) % 1, rng.uniform(0.5, 0.9), rng.uniform(0.4, 0.85))
    _put(p, "lips", 0.35 * skin + 0.65 * red if made_up else skin * [0.93, 0.66, 0.66] + [0.01, 0, 0])
    _put(p, "iris", IRIS_TONES[rng.integers(2 if tone > 3 else len(IRIS_TONES))] * rng.uniform(0.7, 1.3))
    p["freckles"] = rng.uniform(0, 1) if rng.random() < 0.2 else 0.0
    p["blush"], p["eye_r"], p["shine"] = rng.uniform(0.2, 1.0), rng.uniform(0.36, 0.46), rng.uniform(0.03, 0.22)


def _hair(p: dict[str, float], rng: np.random.Generator) -> None:
    dark = rng.random() < 0.55
    tone = rng.uniform(0, 2) if dark else rng.uniform(0, len(HAIR_TONES) - 1)
    hair = _between(HAIR_TONES, tone)
    if rng.random() < 0.03:
        hair = hsv(rng.random(), 0.7, 0.7)
    _put(p, "hairs", hair)
    kind = rng.choice(
        ["bald", "shaved", "short", "full", "afro", "long", "bun"], p=[0.05, 0.07, 0.28, 0.17, 0.06, 0.27, 0.10]
    )
    p["hair"] = 0.0 if kind == "bald" else 1.0
    thick = {"bald": (0, 0.001), "shaved": (0.001, 0.003), "short": (0.008, 0.022), "full": (0.018, 0.045)}
    p["hair_m"] = rng.uniform(
        *(thick | {"afro": (0.04, 0.11), "long": (0.008, 0.025), "bun": (0.005, 0.012)})[str(kind)]
    )
    p["hair_curl"] = rng.uniform(0.1, 0.5) if kind != "afro" else rng.uniform(0.3, 0.7)
    p["long_hair"] = float(kind == "long")
    p["hair_length"] = rng.uniform(0.16, 0.55)
    p["hair_wide"] = rng.uniform(0.7, 1.6)
    p["bun"] = float(kind == "bun" or (kind == "full" and rng.random() < 0.1))
    p["bun_y"], p["bun_z"], p["bun_m"] = rng.uniform(0.26, 0.40), rng.uniform(-0.10, -0.05), rng.uniform(0.025, 0.05)
    if rng.random() < 0.3:
        p["beard"], p["beard_m"] = rng.uniform(0.2, 1.0), rng.choice([0.001, 0.004, 0.015, 0.03])
    p["brow"] = rng.uniform(0.4, 1.0)


def _top(p: dict[str, float], style: str, rng: np.random.Generator) -> None:
    p["top"] = float(style != "bare" or rng.random() < 0.2)
    long_sleeve = rng.random() < (0.85 if style == "coat" else 0.42)
    short = rng.choice([0.155, 0.28, 0.36, 0.46], p=[0.2, 0.35, 0.35, 0.1])
    p["sleeve_x"] = rng.uniform(0.60, 0.66) if long_sleeve else short + rng.normal(0, 0.015)
    p["hem_y"] = rng.choice([-0.12, -0.34, -0.44], p=[0.06, 0.5, 0.44]) + rng.normal(0, 0.025)
    p["neck_r"] = rng.uniform(0.085, 0.135)
    p["neck_v"] = rng.uniform(0.02, 0.14) if rng.random() < 0.35 else 0.0
    if rng.random() < 0.15:
        p["collar"], p["neck_r"], p["neck_v"] = rng.uniform(0.03, 0.065), 0.0, 0.0
    tight = style == "sport" or rng.random() < 0.3
    p["top_loose"] = rng.uniform(0.001, 0.006) if tight else rng.uniform(0.006, 0.028)
    p["top_flare"] = 0.0 if tight else rng.uniform(0.0, 0.05)
    p["sleeve_loose"] = p["top_loose"] * 0.6 if tight else rng.uniform(0.005, 0.035)
    if style == "coat" or (style == "shirt" and rng.random() < 0.15):
        p["jacket"] = 1.0
        p["jacket_gap"] = rng.choice([-0.1, 0.01, 0.05]) + rng.uniform(0, 0.03)
        p["jacket_sleeve"] = rng.uniform(0.58, 0.66)
        p["sleeve_x"] = p["jacket_sleeve"]
        p["hem_y"] = rng.uniform(-0.62, -0.36)
        p["top_loose"], p["sleeve_loose"] = rng.uniform(0.014, 0.035), rng.uniform(0.012, 0.035)
    if style == "dress":
        p["hem_y"], p["skirt"] = -0.45, 1.0
    for what in ("topa", "topb", "shirt"):
        _put(p, what, cloth_colour(rng))


def _legs(p: dict[str, float], style: str, rng: np.random.Generator) -> None:
    p["waist_y"] = rng.uniform(-0.33, -0.22)
    p["tucked"] = float(rng.random() < 0.3 and style != "coat")
    if style != "dress" and rng.random() < 0.10:
        p["skirt"], p["tucked"] = 1.0, 1.0
    p["skirt_length"] = rng.choice([0.30, 0.48, 0.75, 0.92], p=[0.25, 0.35, 0.25, 0.15]) + rng.normal(0, 0.04)
    p["skirt_flare"], p["pleats"] = rng.uniform(0.02, 0.45), rng.uniform(0, 0.02)
    p["trousers"] = 1.0
    short = rng.random() < (0.55 if style in ("sport", "bare") else 0.25)
    p["leg_y"] = rng.uniform(-0.82, -0.52) if short else rng.uniform(-1.24, -1.05)
    if p["skirt"] and rng.random() < 0.7:
        p["leg_y"] = -0.46  # underwear; leggings otherwise
    tight = style == "sport" or rng.random() < 0.4
    p["leg_loose"] = rng.uniform(0.001, 0.006) if tight else rng.uniform(0.006, 0.025)
    p["leg_flare"] = 0.0 if tight else rng.uniform(0, 0.05)
    for what in ("lega", "legb"):
        _put(p, what, cloth_colour(rng))
    if p["skirt"] and style == "dress":
        for name in ("lega", "legb"):
            for c in "rgb":
                p[f"{name}_{c}"] = p[f"top{name[-1]}_{c}"]


def _feet(p: dict[str, float], rng: np.random.Generator) -> None:
    p["shoe"] = float(rng.random() < 0.85)
    p["shoe_y"] = rng.choice([-1.235, -1.19, -1.02], p=[0.6, 0.25, 0.15]) + rng.normal(0, 0.01)
    p["sock_y"] = rng.choice([-1.3, -1.17, -0.92], p=[0.4, 0.45, 0.15])
    p["glove"] = float(rng.random() < 0.03)
    _put(p, "shoes", cloth_colour(rng))
    _put(p, "sock", cloth_colour(rng) if rng.random() < 0.4 else rng.choice([0.08, 0.9]) * np.ones(3))


def _things(p: dict[str, float], rng: np.random.Generator) -> None:
    if rng.random() < 0.16:
        p["hat"], p["hat_m"] = 1.0, rng.uniform(0.008, 0.05)
        p["brim"] = rng.choice([0.0, 1.0, 2.0], p=[0.3, 0.4, 0.3])  # none, a cap's, all round
        p["brim_m"] = rng.uniform(0.04, 0.10)
        p["hair_m"] = min(p["hair_m"], 0.01)
    _put(p, "hats", cloth_colour(rng))
    if rng.random() < 0.18:
        p["glasses"], p["glass_r"] = 1.0, rng.uniform(0.016, 0.026)
        p["lens"] = float(rng.random() < 0.3)
    _put(p, "rim", cloth_colour(rng) * rng.uniform(0.1, 0.7))
    for side in ("left", "right"):
        p[f"held_{side}"] = float(rng.random() < 0.07)
    p["held_a"], p["held_b"], p["held_c"] = np.exp(rng.uniform(np.log(0.012), np.log(0.09), 3))
    p["held_round"] = rng.choice([0.15, 0.4, 1.0])
    _put(p, "held", hsv(rng.random(), rng.random(), rng.uniform(0.1, 0.95)))
