"""Real sports photos with 14 joints (LSP and LSPET): are the limbs where people marked them? PCK@0.2 of the torso."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from openexpose import images
from openexpose.body import BodyModel
from openexpose.data.pack import BOX_SCALE, PhotoPack
from openexpose.data.splits import body_packs, lspet_validation
from openexpose.errors import DataError
from openexpose.evaluate.networks import (
    CROP_SCALE,
    BodyAnswer,
    Networks,
    bodies,
    boxed_px,
    heat_rows,
    mean_body,
    picture_of,
    pose_of,
)
from openexpose.evaluate.score import Outcome, Score
from openexpose.evaluate.variants import HEAT, MEAN, named
from openexpose.geometry.crop import Crop
from openexpose.metrics import segment_px
from openexpose.readers.mat import read_mat
from openexpose.skeleton import Skeleton

AT = 0.2
"""A joint is right within this share of the torso's length."""
TORSOS = (
    ("right_shoulder", "left_hip_extra"),
    ("left_shoulder", "right_hip_extra"),
    ("right_shoulder", "right_hip_extra"),
    ("left_shoulder", "left_hip_extra"),
    ("neck_extra", "right_hip_extra"),
    ("neck_extra", "left_hip_extra"),
)
"""Ends of the torso: the diagonal as is usual; the next one where an end is not marked. The later are shorter."""
JOINTS = Skeleton.read("lspet")
FIGURE = "PCK@0.2"
_TEST_HALF = 1000
"""LSP's own split: the first thousand photos are for training, the second for tests."""


@dataclass(frozen=True, eq=False)
class People:
    """Photos with one marked person each."""

    names: tuple[str, ...]
    source: str
    """Which rows of which data these are, for the report."""
    points_px: Float[np.ndarray, "N 14 2"]
    """LSP order, photo pixels; not-a-number where nobody marked the joint."""
    photo: Callable[[int], UInt8[np.ndarray, "_ _ 3"]]
    """Row -> pixels."""

    def __len__(self) -> int:
        return len(self.names)

    @property
    def torso_px(self) -> Float[np.ndarray, " N"]:
        """Length of each person's torso, not-a-number where none of `TORSOS` is marked."""
        points = torch.from_numpy(self.points_px)
        out = np.full(len(self), np.nan)
        for a, b in TORSOS:
            length = segment_px(points, JOINTS.index(a), JOINTS.index(b)).numpy()
            out = np.where(np.isnan(out), length, out)
        return out

    def some(self, rows: Sequence[int]) -> "People":
        """These rows only."""
        kept = list(rows)
        photo = self.photo
        return People(tuple(self.names[i] for i in kept), self.source, self.points_px[kept], lambda i: photo(kept[i]))

    def crops(self, crop_px: int, *, scale: float = CROP_SCALE) -> list[Crop]:
        """The square around each person, `scale` times their box's longer side.

        The box is that of the marked joints with both sides times `BOX_SCALE`.
        """
        low, high = np.nanmin(self.points_px, 1), np.nanmax(self.points_px, 1)
        boxes = np.concatenate([low, high], 1).tolist()
        return [Crop.around(box, scale=scale * BOX_SCALE, size_px=crop_px) for box in boxes]


def read(path: Path) -> People:
    """People to validate on: the last 500 rows of the pack, or a folder `images/` + `joints.mat` as distributed.

    Of LSP its test half (the second thousand), of LSPET the photos that the pack's last rows come from.
    People without a marked torso are left out, and `source` says how many.
    Raises AssetError or DataError for anything else.
    """
    people = _of_folder(path) if path.is_dir() else _of_pack(body_packs(path)[1])
    rows = np.flatnonzero(people.torso_px > 0).tolist()
    if not rows:
        raise DataError(
            f"{path}: nobody in it has a shoulder or the neck marked together with a hip; PCK needs a torso"
        )
    left = len(people) - len(rows)
    kept = people.some(rows)
    said = people.source + (f"; {left} people without a marked torso are left out" if left else "")
    return People(kept.names, said, kept.points_px, kept.photo)


def _of_pack(pack: PhotoPack) -> People:
    records = [pack.row(i) for i in range(len(pack))]
    marked = [r.keypoints2d.as_skeleton(JOINTS).xyc for r in records if r.keypoints2d is not None]
    points = np.stack([np.where(m[:, 2:] > 0, m[:, :2], np.nan) for m in marked])
    names, source = tuple(r.photo for r in records), f"the last {len(pack)} rows of {pack.path.name}"
    return People(names, source, points, lambda i: images.read_rgb(pack.photo(i), name=names[i]))


def _of_folder(folder: Path) -> People:
    """LSP (3, 14, N; third row: hidden) or LSPET (14, 3, N; third column: annotated) as distributed."""
    file = folder / "joints.mat"
    joints = _read_joints(file)
    photos = images.list_photos(folder / "images")
    if len(photos) != joints.shape[2]:
        raise DataError(f"{folder / 'images'} holds {len(photos)} photos, {file} marks {joints.shape[2]} people")
    if joints.shape[:2] == (3, 14):
        points = joints[:2].transpose(2, 1, 0)
        rows = np.arange(max(0, len(photos) - _TEST_HALF), len(photos))
        source = f"the last {len(rows)} photos of LSP, its test half"
    elif joints.shape[:2] == (14, 3):
        flat = joints.transpose(2, 0, 1)
        points = np.where(flat[..., 2:] > 0, flat[..., :2], np.nan)
        rows = lspet_validation()
        rows = rows[rows < len(photos)]
        source = f"{len(rows)} photos of LSPET: those of the pack's last rows"
    else:
        raise DataError(f"{file}: joints {joints.shape} are neither LSP's (3, 14, N) nor LSPET's (14, 3, N)")
    chosen = [photos[i] for i in rows]
    points = np.ascontiguousarray(points[rows], np.float64) - 1.0  # MATLAB counts pixels from 1
    return People(tuple(p.name for p in chosen), source, points, lambda i: images.read_rgb(chosen[i]))


def _read_joints(file: Path) -> np.ndarray:
    joints = read_mat(file, ["joints"])["joints"]
    if not isinstance(joints, np.ndarray) or joints.ndim != 3 or joints.dtype.kind not in "fiu":
        raise DataError(f"{file} has no three-dimensional array 'joints'; is it LSP or LSPET as distributed?")
    return joints.astype(np.float64)


@dataclass(frozen=True, eq=False)
class Scored:
    """The outcome, and the answers to draw from."""

    outcome: Outcome
    answers: tuple[BodyAnswer, ...]


def pck_outcome(people: People, places_px: dict[str, Float[Tensor, "N 14 2"]], *, said: Sequence[str] = ()) -> Outcome:
    """PCK@0.2 torso of one or more variants, in per cent, with bars by joint; the variant "" is the answer.

    The figure is the share of all marked joints of all people that are right (inclusive); each person has their own.
    places_px: variant -> predicted joints, LSP order, photo pixels. Raises DataError (shape, not finite).
    """
    true, torso = torch.from_numpy(people.points_px), torch.from_numpy(people.torso_px)
    marked = ~torch.isnan(true).any(-1)
    at = torch.where(marked[..., None], true, 0.0)
    scores, parts = [], {}
    for variant, pred in places_px.items():
        if pred.shape != at.shape or not bool(torch.isfinite(pred).all()):
            raise DataError(f"{variant or 'answer'}: places {tuple(pred.shape)} must be finite and {tuple(at.shape)}")
        right = 100.0 * ((pred.double() - at).norm(dim=-1) <= AT * torso[:, None]).double()
        each = [r[m].numpy() for r, m in zip(right, marked, strict=True)]
        scores.append(Score.pooled(named(FIGURE, variant), each, "mean", unit="%", more_is_better=True))
        by_joint = (right * marked).sum(0) / marked.sum(0).clamp(min=1)
        parts[f"{named(FIGURE, variant)} by joint [%]"] = dict(zip(JOINTS.names, by_joint.tolist(), strict=True))
    return Outcome("lsp", "openexpose", tuple(scores), (people.source, *said), parts)


def score(nets: Networks, people: People, *, scale: float = CROP_SCALE, done: Callable[[int], object] = int) -> Scored:
    """The model on marked people. Joints are those that the body model regresses from its vertices (14 of LSP).

    done: told after each batch how many are done. Raises WeightsError without a body network.
    """
    nets.need("body")
    model = nets.models["body"]
    answers: list[BodyAnswer] = []
    places: list[Tensor] = []
    heat: list[Tensor] = []
    heatmaps = heat_rows(nets.config.part("body").points, JOINTS.names)
    for answer in bodies(nets, people.photo, people.crops(nets.need("body").crop_px, scale=scale)):
        with torch.inference_mode():
            places.append(answer.photo_px(pose_of(model, answer.params).regressed_m("j14")))
        seen_px = answer.heat_px()
        if heatmaps is not None and seen_px is not None:
            heat.append(seen_px[:, heatmaps])
        answers.append(answer)
        done(answer.rows[-1] + 1)
    found = {"": torch.cat(places)} | ({HEAT: torch.cat(heat)} if heat else {}) | {MEAN: mean_places_px(model, people)}
    said = (
        "a joint is right within 0.2 of the torso: right shoulder to left hip; where an end is unmarked left to right, "
        "then one side, then neck to hip",
        f"box: the marked joints' times {BOX_SCALE:g}, crop side {scale:g} times its longer side",
        f"{MEAN}: FreeBody's mean pose facing the camera, its joints' box on the marked joints' box",
    )
    return Scored(pck_outcome(people, found, said=said), tuple(answers))


def mean_places_px(model: BodyModel, people: People) -> Float[Tensor, "N 14 2"]:
    """Joints of the mean pose in each person's box."""
    joints = pose_of(model, mean_body(model, len(people))).regressed_m("j14")
    return boxed_px(joints, torch.from_numpy(people.points_px))


def picture(nets: Networks, people: People, scored: Scored, row: int) -> UInt8[np.ndarray, "_ _ 3"]:
    """One sample for the gallery."""
    answer = next(a for a in scored.answers if row in a.rows)
    true, photo = people.points_px[row], people.photo(row)
    model = nets.models["body"]
    return picture_of(answer, row, model, photo, true_px=true, points_m=lambda posed: posed.regressed_m("j14"))
