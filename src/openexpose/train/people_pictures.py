"""Pictures that the people detector learns from: photos cut, joined and pasted, with the boxes of everybody in them.

A card is a photo with the boxes that are known. A picture is drawn from (seed, index): one card from edge to edge, a
mosaic of several, or small ones pasted onto another. Where a card may hold people whom nobody labelled (around the
person of LSPET, for instance) its background counts little.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, get_args, runtime_checkable

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from openexpose.detect.network import STRIDE
from openexpose.errors import ConfigError

Layout = Literal["single", "mosaic", "paste"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)
LEAST_SEEN = 0.4
"""A person of whose box less than this share is left after a cut is ignored, neither found nor missed."""
LEAST_PX = 10.0
"""Longer side of the smallest person that counts."""


@dataclass(frozen=True, eq=False)
class Card:
    """A photo and who is known to be in it."""

    rgb: UInt8[np.ndarray, "h w 3"]
    boxes_px: Float[np.ndarray, "n 4"]
    """x0, y0, x1, y1, cut at the photo's border."""
    counts: Bool[np.ndarray, " n"]
    """Whether a person is to be found; the others are ignored."""
    background: float = 1.0
    """Weight of what is outside the boxes: less than 1 where people may be unlabelled."""


@runtime_checkable
class Deck(Protocol):
    """Cards of one kind, by number."""

    def __len__(self) -> int:
        """How many cards there are."""
        ...

    def card(self, index: int) -> Card:
        """One card."""
        ...


@dataclass(frozen=True)
class PictureConfig:
    """What the pictures are like."""

    single: float = 0.45
    """Share of pictures of one card; the three shares are normalised."""
    mosaic: float = 0.35
    paste: float = 0.20
    empty: float = 0.15
    """Share of a mosaic's cells, and of what is pasted, without anybody."""

    def __post_init__(self) -> None:
        """Raises ConfigError for shares that make no choice."""
        shares = [self.single, self.mosaic, self.paste]
        if min(shares) < 0 or sum(shares) <= 0 or not 0 <= self.empty <= 1:
            raise ConfigError(f"detector pictures: shares from 0 up, not all 0, and empty up to 1, got {self}")


@dataclass(eq=False)
class Picture:
    """A picture while it is put together, and when it is done."""

    rgb: UInt8[np.ndarray, "S S 3"]
    filled_px: tuple[int, int]
    """Height and width of what is photo; the rest, right or below, is nothing."""
    weight: Float[np.ndarray, "s s"]
    """Of each point of the heatmap, for points where nobody's middle is."""
    boxes_px: list[Float[np.ndarray, "4"]] = field(default_factory=list)


class Pictures:
    """Draws pictures: `pictures.draw(seed, index)`."""

    def __init__(self, decks: Sequence[tuple[Deck, float]], empties: UInt8[np.ndarray, "C s s 3"], cfg: PictureConfig):
        """decks: with how often each is drawn from. empties: photos without people (`crops_without_people`).

        Raises ConfigError if there is no deck, or an empty one.
        """
        if not decks or any(len(deck) == 0 or share <= 0 for deck, share in decks) or not len(empties):
            raise ConfigError("the detector's pictures need cards: every deck with a share above 0, and empties")
        self.decks, self.empties, self.cfg = [d for d, _ in decks], empties, cfg
        shares = np.array([s for _, s in decks])
        self._shares = shares / shares.sum()
        layouts = np.array([getattr(cfg, name) for name in LAYOUTS])
        self._layouts = layouts / layouts.sum()

    def draw(self, seed: int, index: int, *, size_px: int = 320) -> Picture:
        """The picture of this seed and index; pixels are RGB, not normalised.

        size_px: its longer side, a multiple of 32; it is filled up to a square with nothing.
        """
        rng = np.random.default_rng((seed, index))
        S = size_px
        shape = [S, S]
        if rng.random() < 0.6:
            shape[int(rng.integers(2))] = int(S * rng.uniform(0.5, 1.0))
        h, w = shape
        picture = Picture(np.zeros((S, S, 3), np.uint8), (h, w), np.ones((S // STRIDE, S // STRIDE), np.float32))
        layout = LAYOUTS[int(rng.choice(len(LAYOUTS), p=self._layouts))]
        if layout == "mosaic":
            for rect in cells(rng, w, h):
                self._lay(picture, self._card(rng, self.cfg.empty), rect, rng)
        else:
            bare = layout == "paste" and rng.random() < 0.5
            self._lay(picture, self._card(rng, 1.0 if bare else 0.03), (0, 0, w, h), rng)
        if layout == "paste":
            for _ in range(int(rng.integers(1, 6))):
                side = float(np.exp(rng.uniform(np.log(0.07), np.log(0.4)))) * S
                pw, ph = int(side * rng.uniform(0.6, 1.0)) + 8, int(side) + 8
                x, y = int(rng.uniform(0, max(w - pw, 1))), int(rng.uniform(0, max(h - ph, 1)))
                rect = (x, y, min(x + pw, w), min(y + ph, h))
                self._lay(picture, self._card(rng, self.cfg.empty), rect, rng, soft=True)
        picture.rgb[:h, :w] = damaged(picture.rgb[:h, :w], rng)
        return picture

    def _card(self, rng: np.random.Generator, empty: float) -> Card:
        if rng.random() < empty:
            rgb = self.empties[int(rng.integers(len(self.empties)))]
            return Card(rgb, np.zeros((0, 4)), np.zeros(0, bool), 0.7)
        deck = self.decks[int(rng.choice(len(self.decks), p=self._shares))]
        return deck.card(int(rng.integers(len(deck))))

    def _lay(
        self,
        picture: Picture,
        card: Card,
        rect: tuple[int, int, int, int],
        rng: np.random.Generator,
        *,
        soft: bool = False,
    ) -> None:
        """Cut a window out of a card and put it into a rectangle of the picture, over what is there."""
        x0, y0, x1, y1 = rect
        w, h = x1 - x0, y1 - y0
        if w < 8 or h < 8:
            return
        card = mirrored(card) if rng.random() < 0.5 else card
        window = window_of(card, w / h, rng, tight=0.75 if soft else 0.4)
        left, top, right, bottom = window
        part = card.rgb[top:bottom, left:right]
        shrinks = part.shape[1] > w
        part = cv2.resize(part, (w, h), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
        there = picture.rgb[y0:y1, x0:x1]
        picture.rgb[y0:y1, x0:x1] = _blended(there, part, rng) if soft else part
        if picture.boxes_px:
            picture.boxes_px = [b for b in picture.boxes_px if _covered(b, rect) < 0.6]
        scale = np.array([w / (right - left), h / (bottom - top)] * 2)
        cut = np.array([left, top, right, bottom]) - 0.5
        put_weight(picture.weight, np.array(rect) - 0.5, card.background)
        for box, counts in zip(card.boxes_px, card.counts, strict=True):
            seen = np.concatenate([np.maximum(box[:2], cut[:2]), np.minimum(box[2:], cut[2:])])
            size = np.maximum(seen[2:] - seen[:2], 0)
            share = size.prod() / max(float((box[2:] - box[:2]).prod()), 1e-6)
            if share <= 0.02:
                continue
            out = (seen - np.tile(cut[:2], 2)) * scale + np.array([x0, y0] * 2) - 0.5
            fills = size.prod() / float((cut[2:] - cut[:2]).prod()) > 0.6 and share > 0.15
            good = bool(counts) and (share >= LEAST_SEEN or fills) and float((out[2:] - out[:2]).max()) >= LEAST_PX
            put_weight(picture.weight, out, 1.0 if good else 0.0)
            if good:
                picture.boxes_px.append(out)


def cells(rng: np.random.Generator, width: int, height: int) -> list[tuple[int, int, int, int]]:
    """A picture cut into up to 4 columns of up to 4 cells of uneven sizes; few are likelier than many."""
    most = int(rng.choice([2, 3, 4], p=[0.55, 0.3, 0.15]))

    def cuts(length: int, parts: int) -> list[int]:
        even = np.arange(parts + 1) / parts
        even[1:-1] += rng.uniform(-0.25, 0.25, parts - 1) / parts
        return [round(float(v) * length) for v in even]

    out = []
    columns = cuts(width, int(rng.integers(1, most + 1)))
    for x0, x1 in zip(columns, columns[1:], strict=False):
        rows = cuts(height, int(rng.integers(1 if len(columns) > 2 else 2, most + 1)))
        out += [(x0, y0, x1, y1) for y0, y1 in zip(rows, rows[1:], strict=False)]
    return out


def window_of(card: Card, aspect: float, rng: np.random.Generator, *, tight: float) -> tuple[int, int, int, int]:
    """A window of a card, whole pixels, of about this ratio of width to height, that mostly shows somebody.

    tight: the smallest window's share of the largest that fits. Returns left, top, right, bottom, the last two outside.
    """
    H, W = card.rgb.shape[:2]
    aspect *= float(np.exp(rng.normal(0, 0.06)))
    largest = np.array([min(W, H * aspect), min(H, W / aspect)])
    size = largest * (1.0 if rng.random() < 0.35 else rng.uniform(tight, 1.0))
    box = card.boxes_px[int(rng.integers(len(card.boxes_px)))] if len(card.boxes_px) else None
    if box is not None and rng.random() < 0.6:
        size = np.minimum(np.maximum(size, 1.04 * float((box[2:] - box[:2]).max())), largest)
    size = np.maximum(np.round(size), 4).astype(int)
    free = np.array([W, H]) - size
    at = rng.uniform(0, 1, 2) * free
    if box is not None and rng.random() < 0.95:
        upper = min(rng.uniform(0.1, 0.7), rng.uniform(0.1, 0.7))  # heads oftener than feet
        share = np.array([rng.uniform(0.3, 0.7), upper])
        at = box[:2] + share * (box[2:] - box[:2]) - size * np.array([rng.uniform(0.3, 0.7), upper])
    left, top = np.clip(np.round(at), 0, np.maximum(free, 0)).astype(int)
    return int(left), int(top), int(min(left + size[0], W)), int(min(top + size[1], H))


def mirrored(card: Card) -> Card:
    """The card seen in a mirror."""
    x = card.rgb.shape[1] - 1 - card.boxes_px[:, [2, 0]]
    boxes = np.stack([x[:, 0], card.boxes_px[:, 1], x[:, 1], card.boxes_px[:, 3]], 1)
    return Card(card.rgb[:, ::-1], boxes, card.counts, card.background)


def put_weight(weight: Float[np.ndarray, "s s"], box_px: Float[np.ndarray, "4"], value: float) -> None:
    """Set the weights of the points inside a box of picture pixels."""
    low = np.ceil((box_px[:2] - (STRIDE - 1) / 2) / STRIDE).astype(int).clip(0)
    high = np.floor((box_px[2:] - (STRIDE - 1) / 2) / STRIDE).astype(int) + 1
    weight[low[1] : max(high[1], 0), low[0] : max(high[0], 0)] = value


def damaged(rgb: UInt8[np.ndarray, "h w 3"], rng: np.random.Generator) -> UInt8[np.ndarray, "h w 3"]:
    """Other light, colours and sharpness; sometimes grey, noisy, or badly compressed."""
    x = rgb.astype(np.float32) / 255
    if rng.random() < 0.12:
        x = np.repeat(x.mean(-1, keepdims=True), 3, -1)
    else:
        grey = x.mean(-1, keepdims=True)
        x = grey + (x - grey) * np.float32(rng.uniform(0.6, 1.4))
        x = x * np.exp(rng.normal(0, 0.06, 3)).astype(np.float32)
    x = np.clip(x, 0, 1) ** np.float32(np.exp(rng.normal(0, 0.2))) * np.float32(np.exp(rng.normal(0, 0.15)))
    if rng.random() < 0.25:
        x = cv2.GaussianBlur(x, (0, 0), float(rng.uniform(0.4, 1.5)))
    if rng.random() < 0.25:
        x = x + rng.normal(0, rng.uniform(0.005, 0.05), x.shape).astype(np.float32)
    out = (np.clip(x, 0, 1) * 255).round().astype(np.uint8)
    if rng.random() < 0.25:
        done, data = cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 90))])
        out = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8) if done else out
    return out


def _blended(
    there: UInt8[np.ndarray, "h w 3"], part: UInt8[np.ndarray, "h w 3"], rng: np.random.Generator
) -> UInt8[np.ndarray, "h w 3"]:
    """Softly pasted, so that a sharp edge does not give away that somebody is inside."""
    h, w = part.shape[:2]
    edge = float(rng.uniform(0.03, 0.2)) * min(h, w)
    x = np.minimum(np.arange(w), np.arange(w)[::-1])[None] / edge
    y = np.minimum(np.arange(h), np.arange(h)[::-1])[:, None] / edge
    alpha = np.clip(np.minimum(x, y), 0, 1)[..., None].astype(np.float32)
    return np.asarray(there * (1 - alpha) + part * alpha, np.float32).round().astype(np.uint8)


def _covered(box: Float[np.ndarray, "4"], rect: tuple[int, int, int, int]) -> float:
    size = np.minimum(box[2:], rect[2:]) - np.maximum(box[:2], rect[:2])
    return float(np.maximum(size, 0).prod() / max(float((box[2:] - box[:2]).prod()), 1e-6))
