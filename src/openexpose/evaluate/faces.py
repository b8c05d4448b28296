"""Real faces with 68 marked points: the head network's error over the distance of the outer eye corners."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from openexpose import images
from openexpose.body import Posed
from openexpose.data.pack import PhotoPack
from openexpose.data.splits import face_packs
from openexpose.errors import DataError
from openexpose.evaluate.networks import (
    Networks,
    PartAnswer,
    boxed_px,
    heat_rows,
    mean_part,
    parts,
    picture_of,
    pose_of,
    square_of_points,
)
from openexpose.evaluate.score import Outcome
from openexpose.evaluate.variants import HEAT, MEAN, named, side_by_side
from openexpose.metrics import OUTER_EYES_68, nme_01
from openexpose.skeleton import Skeleton

POINTS = Skeleton.read("ibug68")
FIGURE = "NME"
CONTOUR = 17
"""The first so many points are the jaw's contour, the other 51 lie inside the face."""
HEAD_OVER_FACE = 1.13
"""Longer side of the box of all points by which attention finds a head, over that of its 68 landmarks (rest pose)."""
GROUPS = {
    "contour": range(17), "brows": range(17, 27), "nose": range(27, 36), "eyes": range(36, 48), "mouth": range(48, 68),
}  # fmt: skip
"""Of the 68 points, for the bars."""


@dataclass(frozen=True, eq=False)
class Faces:
    """Photos with one marked face each."""

    names: tuple[str, ...]
    source: str
    points_px: Float[np.ndarray, "N 68 2"]
    """iBUG order, photo pixels; not-a-number where a point is not marked."""
    photo: Callable[[int], UInt8[np.ndarray, "_ _ 3"]]

    def __len__(self) -> int:
        return len(self.names)


def read(path: Path) -> Faces:
    """The 200 validation faces of the pack: people whom training never sees (`data.splits.face_split`).

    Faces without both outer eye corners are left out, and `source` says how many.
    Raises AssetError or DataError for another file.
    """
    pack = face_packs(path)[1]
    marked = [_marked(pack, i) for i in range(len(pack))]
    rows = [i for i, points in enumerate(marked) if np.isfinite(points[list(OUTER_EYES_68)]).all()]
    if not rows:
        raise DataError(
            f"{path}: no validation face has both outer eye corners; the error has nothing to be divided by"
        )
    left = len(pack) - len(rows)
    source = f"{len(rows)} faces of {pack.path.name} of people whom training never sees"
    names = tuple(pack.row(i).photo for i in rows)
    points = np.stack([marked[i] for i in rows])
    said = source + (f"; {left} without marked eyes are left out" if left else "")
    return Faces(names, said, points, lambda i: images.read_rgb(pack.photo(rows[i]), name=names[i]))


def _marked(pack: PhotoPack, row: int) -> Float[np.ndarray, "68 2"]:
    keypoints = pack.row(row).keypoints2d
    assert keypoints is not None
    xyc = keypoints.as_skeleton(POINTS).xyc
    return np.where(xyc[:, 2:] > 0, xyc[:, :2], np.nan)


def landmarks_m(posed: Posed) -> Float[Tensor, "B 68 3"]:
    """The 68 landmarks of heads (FLAME's keypoints) or whole bodies (SMPL-X's), iBUG order, mapped by name."""
    names = posed.shaped.model.keypoint_names
    return Skeleton("model", tuple(names)).map_to(POINTS)(posed.keypoints_m())


def nme_outcome(faces: Faces, places_px: dict[str, Float[Tensor, "N 68 2"]], *, said: Sequence[str] = ()) -> Outcome:
    """68-point error over the inter-ocular distance, per cent, of one or more variants; the variant "" is the answer.

    Also over the 51 inner points alone, and bars by group of points.
    places_px: variant -> predicted points, photo pixels. Raises ShapeError, DataError (not finite).
    """
    true = torch.from_numpy(faces.points_px)
    marked = ~torch.isnan(true).any(-1)
    at = torch.where(marked[..., None], true, 0.0)
    rows = torch.arange(len(POINTS))
    subsets = {FIGURE: rows >= 0, "NME 51 inner": rows >= CONTOUR}
    columns, bars = {}, {}
    for variant, pred in places_px.items():
        columns[variant] = {n: 100 * nme_01(pred.double(), at, visible=marked & of) for n, of in subsets.items()}
        groups = {g: torch.isin(rows, torch.tensor(list(ids))) for g, ids in GROUPS.items()}
        bars[f"{named(FIGURE, variant)} [%]"] = {
            g: float((100 * nme_01(pred.double(), at, visible=marked & of)).nanmean()) for g, of in groups.items()
        }
    return side_by_side("faces", columns, unit="%", said=[faces.source, *said], parts=bars)


@dataclass(frozen=True, eq=False)
class Scored:
    """The outcome, and the answers to draw from."""

    outcome: Outcome
    answers: tuple[PartAnswer[Any], ...]


def score(nets: Networks, faces: Faces, *, scale: float | None = None, done: Callable[[int], object] = int) -> Scored:
    """The head network alone on marked faces.

    scale: side of its square over the longer side of the 68 points' box; None: what attention would take, the zoom of
    the weights times `HEAD_OVER_FACE`. done: told after each batch how many are done.
    Raises WeightsError without a head network.
    """
    network_scale = nets.config.zoom.head_scale * HEAD_OVER_FACE if scale is None else scale
    nets.need("head")
    model = nets.models["head"]
    answers: list[PartAnswer[Any]] = []
    places: list[Tensor] = []
    heat: list[Tensor] = []
    heatmaps = heat_rows(nets.config.part("head").points, POINTS.names)
    for answer in parts(nets, "head", faces.photo, square_of_points(faces.points_px, network_scale)):
        with torch.inference_mode():
            places.append(answer.photo_px(landmarks_m(pose_of(model, answer.params))))
        seen_px = answer.heat_px()
        if heatmaps is not None and seen_px is not None:
            heat.append(seen_px[:, heatmaps])
        answers.append(answer)
        done(answer.rows[-1] + 1)
    rest = landmarks_m(pose_of(model, mean_part(model, "head", None, len(faces))))
    found = {"": torch.cat(places)} | ({HEAT: torch.cat(heat)} if heat else {})
    found |= {MEAN: boxed_px(rest, torch.from_numpy(faces.points_px))}
    said = (
        "error: mean distance over the marked points, over the distance of the true outer eye corners",
        f"the head network alone, in the square of {network_scale:.3g} times the marked points' box",
        f"{MEAN}: a neutral head that looks into the camera, its points' box on the marked points' box",
    )
    return Scored(nme_outcome(faces, found, said=said), tuple(answers))


def picture(nets: Networks, faces: Faces, scored: Scored, row: int) -> UInt8[np.ndarray, "_ _ 3"]:
    """One sample for the gallery."""
    answer = next(a for a in scored.answers if row in a.rows)
    true, photo = faces.points_px[row], faces.photo(row)
    return picture_of(answer, row, nets.models["head"], photo, true_px=true, points_m=landmarks_m)
