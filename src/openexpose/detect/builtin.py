"""The detector that ships: a small network looks at the whole photo, strongly and less reduced; docs/detector.md."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional

from openexpose.detect import Detection
from openexpose.detect.network import MULTIPLE, PeopleNet, boxes_of, fold_norms
from openexpose.errors import ConfigError, WeightsError
from openexpose.geometry.crop import MEAN_RGB, STD_RGB
from openexpose.readers import read_safetensors, write_safetensors

SHIPPED = Path(__file__).with_name("people.safetensors")
LOOKS_PX = (128, 256)
"""Longer side of the reduced photos: people who fill the photo are found in the first, smaller ones in the second."""
MIN_SCORE = 0.4
SAME_IOU, INSIDE = 0.4, 0.85
"""Of boxes that overlap more than the first, or lie in each other by the second share, only the surest stays."""
MOST = 100
_FORMAT = {"openexpose": "people detector 1"}


@dataclass(frozen=True, eq=False)
class Reduced:
    """A photo made small enough for the network."""

    pixels: Float[Tensor, "1 3 h w"]
    """Normalised; zero right of and below the photo."""
    scale: float
    """Reduced pixels to a photo pixel."""


class BuiltinDetector:
    """Finds people in a photo. Looks at each photo alone, so its answers depend on nothing else; keeps no state."""

    label = "builtin"

    def __init__(self, network: PeopleNet, *, min_score: float = MIN_SCORE, looks_px: Sequence[int] = LOOKS_PX) -> None:
        """Use `load`. network: in evaluation mode. looks_px: longer sides of the reduced photos, multiples of 32.

        Raises ConfigError for a network that trains, or settings out of range.
        """
        if network.training:
            raise ConfigError("call .eval() on the people detector first: in training mode it answers by its batch")
        if not 0 < min_score < 1 or not looks_px or any(px < MULTIPLE or px % MULTIPLE for px in looks_px):
            raise ConfigError(f"min_score={min_score} (0 to 1), looks_px={looks_px} (each a multiple of {MULTIPLE})")
        self.network, self.min_score, self.looks_px = network, min_score, tuple(looks_px)

    @classmethod
    def load(
        cls, path: Path | None = None, *, min_score: float = MIN_SCORE, looks_px: Sequence[int] = LOOKS_PX
    ) -> "BuiltinDetector":
        """From a file of `save_people`; None takes the one that ships.

        Raises AssetError if the file is missing or damaged, WeightsError if it is of another network.
        """
        network = PeopleNet()
        load_people(network, SHIPPED if path is None else path)
        network.eval().requires_grad_(False)
        fold_norms(network)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return cls(network, min_score=min_score, looks_px=looks_px)

    def __call__(self, photo: UInt8[np.ndarray, "H W 3"]) -> list[Detection]:
        """All people of an upright RGB photo, surest first; boxes end at the photo's border.

        Sides lie between pixels: rounding differs with the number of threads, and must not move what is looked at.
        """
        looks = [self._look(photo, px) for px in self.looks_px]
        boxes, scores = np.concatenate([b for b, _ in looks]), np.concatenate([s for _, s in looks])
        kept = [i for i in distinct(boxes, scores) if (boxes[i, 2:] - boxes[i, :2]).min() >= 1]
        return [Detection(_four(boxes[i]), float(scores[i])) for i in kept]

    def _look(
        self, photo: UInt8[np.ndarray, "H W 3"], look_px: int
    ) -> tuple[Float[np.ndarray, "n 4"], Float[np.ndarray, " n"]]:
        """Boxes in photo pixels, cut at the border, and scores, from one reduced photo."""
        reduced = reduce(photo, look_px)
        with torch.inference_mode():
            heat, sides = self.network(reduced.pixels)
            boxes, scores = peaks(heat[0], sides[0], self.min_score)
        height, width = photo.shape[:2]
        last = np.array([width, height, width, height]) - 0.5
        return (((boxes + 0.5) / reduced.scale).round() - 0.5).clip(-0.5, last), scores


def reduce(photo: UInt8[np.ndarray, "H W 3"], look_px: int) -> Reduced:
    """The photo with `look_px` pixels on its longer side, filled up to multiples of 32."""
    height, width = photo.shape[:2]
    scale = look_px / max(height, width)
    w, h = max(round(width * scale), 1), max(round(height * scale), 1)
    small = cv2.resize(photo, (w, h), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    x = torch.from_numpy(small.reshape(h, w, 3)).permute(2, 0, 1).float()
    x = (x - torch.tensor(MEAN_RGB)[:, None, None]) / torch.tensor(STD_RGB)[:, None, None]
    x = functional.pad(x, (0, -w % MULTIPLE, 0, -h % MULTIPLE))[None]
    return Reduced(x.contiguous(memory_format=torch.channels_last), scale)


def peaks(
    heat: Float[Tensor, "h w"], sides_px: Float[Tensor, "4 h w"], min_score: float
) -> tuple[Float[np.ndarray, "n 4"], Float[np.ndarray, " n"]]:
    """Boxes in picture pixels and scores where the heatmap has a peak of at least `min_score`, surest first."""
    score = heat.sigmoid()
    top = functional.max_pool2d(score[None, None], 3, stride=1, padding=1)[0, 0]
    y, x = torch.nonzero((score == top) & (score >= min_score), as_tuple=True)
    order = torch.argsort(score[y, x], descending=True, stable=True)[:MOST]
    y, x = y[order], x[order]
    boxes = boxes_of(sides_px)[:, y, x].T
    return boxes.numpy().astype(np.float64), score[y, x].numpy().astype(np.float64)


def distinct(boxes: Float[np.ndarray, "n 4"], scores: Float[np.ndarray, " n"]) -> list[int]:
    """Which boxes are different people, surest first."""
    kept: list[int] = []
    for i in np.argsort(-scores, kind="stable"):
        area = _area(boxes[i])
        for k in kept:
            low, high = np.maximum(boxes[i, :2], boxes[k, :2]), np.minimum(boxes[i, 2:], boxes[k, 2:])
            shared, other = _area(np.concatenate([low, high])), _area(boxes[k])
            same = shared > SAME_IOU * (area + other - shared)
            if same or (shared > INSIDE * min(area, other) and _alike(area, other)):
                break
        else:
            kept.append(int(i))
    return kept


def _alike(a: float, b: float) -> bool:
    """Whether one box inside the other is too large to be a person behind or in the arms of another."""
    return min(a, b) > 0.25 * max(a, b)


def _area(box: Float[np.ndarray, "4"]) -> float:
    return float(np.maximum(box[2:] - box[:2], 0).prod())


def _four(box: Float[np.ndarray, "4"]) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = (float(v) for v in box)
    return x0, y0, x1, y1


def load_people(network: PeopleNet, path: Path) -> None:
    """Fill a network from a file of `save_people`. Raises AssetError or WeightsError naming the file."""
    arrays, metadata = read_safetensors(path)
    state = {k: torch.from_numpy(v).float() for k, v in arrays.items()}
    want = {k: v for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")}
    odd = sorted(set(want) ^ set(state)) or [k for k, v in want.items() if v.shape != state[k].shape]
    if metadata.get("openexpose") != _FORMAT["openexpose"] or odd:
        raise WeightsError(f"{path} is no people detector of this version: {len(odd)} tensors differ, {odd[:2]}")
    network.load_state_dict(state, strict=False)  # names were compared above; counters of batches do not matter


def save_people(network: PeopleNet, path: Path) -> None:
    """Write a network's weights in half precision (batch norms in full), the same weights as the same bytes."""
    arrays = {}
    for name, value in network.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            dtype = torch.float16 if value.ndim > 1 else torch.float32
            arrays[name] = value.detach().to(dtype).contiguous().numpy()
    write_safetensors(path, arrays, _FORMAT)
