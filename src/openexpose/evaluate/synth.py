"""Synthetic people: the fixed test sets, scored as a whole body, as hands alone, and as heads alone.

Truth is FreeBody itself in the drawn parameters (50 expression components, eyes turned), so every vertex is known.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from openexpose.body import BodyModel, Posed
from openexpose.evaluate.networks import (
    CROP_SCALE,
    BodyAnswer,
    Networks,
    PartAnswer,
    bodies,
    mean_body,
    mean_part,
    parts,
    picture_of,
    pose_of,
    square_of_points,
)
from openexpose.evaluate.score import Outcome
from openexpose.evaluate.synth_cache import RenderedSet, Truth
from openexpose.evaluate.variants import MEAN, OWN, Columns, joined_columns, side_by_side
from openexpose.geometry.crop import Crop
from openexpose.metrics import mpjpe_mm, pve_mm
from openexpose.nets.attention import HEAD_POINTS, LEFT_HAND_POINTS, RIGHT_HAND_POINTS
from openexpose.skeleton import Skeleton
from openexpose.synth.mannequin import free_with_whole_face

PartName = Literal["hand", "head"]
HIPS = (2, 3)
"""Of the 14 LSP joints; their middle is the root."""
REGIONS = {"RIGHT_HAND": "right_hand", "LEFT_HAND": "left_hand", "FACE": "head"}
"""Figure -> FreeBody's vertex list; FACE is every vertex of FreeHead, eyeballs and teeth included, as for EHF."""
SEEN_SHARE = 0.5
"""A hand or face counts as seen if at least this share of its keypoints is visible."""
SEEN_JOINTS = 12
"""People of whom at least so many of the 14 joints are visible are scored on their own too."""
_JOINTS = (1, 2, 4, 5, 7, 8, 12, 15, 16, 17, 18, 19, 20, 21)
"""Hips, knees, ankles, neck, head, shoulders, elbows, wrists among SMPL-X's keypoints."""
_SEEN_POINTS = {
    "right_hand": (RIGHT_HAND_POINTS, SEEN_SHARE),
    "left_hand": (LEFT_HAND_POINTS, SEEN_SHARE),
    "head": (HEAD_POINTS, SEEN_SHARE),
    "body": (_JOINTS, SEEN_JOINTS / len(_JOINTS)),
}


@dataclass(frozen=True, eq=False)
class Figure:
    """The body model that truth is made with."""

    model: BodyModel

    @classmethod
    def free(cls) -> "Figure":
        """FreeBody with the whole face."""
        return cls(BodyModel(free_with_whole_face()))

    def posed(self, truths: Sequence[Truth]) -> Posed:
        """True bodies about their own origin, in camera axes."""
        stacked = {n: torch.from_numpy(np.stack([getattr(t, n) for t in truths])) for n in ("betas", "expression")}
        R = torch.from_numpy(np.stack([t.R_parent_child for t in truths]))
        return self.model.shape(stacked["betas"], stacked["expression"]).pose(R)

    @cached_property
    def regions(self) -> Mapping[str, Tensor]:
        """Vertex rows by figure."""
        return {name: self.model.regions[region] for name, region in REGIONS.items()}


def body_errors_mm(pred: Posed, true: Posed, regions: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Errors of whole bodies of one topology, one number each for B people.

    PA-MPJPE and MPJPE are over the 14 LSP joints that the model regresses from its vertices; MPJPE puts the middle of
    the hips on the true one. Parts are cut out of the mesh and Procrustes-aligned on their own.
    """
    j, k = pred.regressed_m("j14"), true.regressed_m("j14")
    v, w = pred.skin().vertices_m, true.skin().vertices_m
    out = {
        "PA-MPJPE": mpjpe_mm(j, k, align="procrustes"),
        "MPJPE": mpjpe_mm(j, k, align="root", root=HIPS),
        "PA-PVE": pve_mm(v, w, align="procrustes"),
    }
    own = {f"{name} PA-PVE": pve_mm(v, w, align="procrustes", ids=ids) for name, ids in regions.items()}
    return out | {"HANDS PA-PVE": (own["RIGHT_HAND PA-PVE"] + own["LEFT_HAND PA-PVE"]) / 2} | own


@dataclass(frozen=True, eq=False)
class Scored:
    """Outcomes of one set, a name for each of their samples, and the answers to draw from."""

    outcomes: tuple[Outcome, ...]
    names: Mapping[str, tuple[str, ...]]
    """Benchmark -> name of each sample."""
    answers: tuple[BodyAnswer | PartAnswer[Any], ...]


def body_crops(people: RenderedSet, crop_px: int, *, scale: float = CROP_SCALE) -> list[Crop]:
    """Where the body network looks: the square around each true box."""
    boxes = [people.truth(i).box_px.astype(float).tolist() for i in range(len(people))]
    return [Crop.around(box, scale=scale, size_px=crop_px) for box in boxes]


def score_bodies(
    nets: Networks, people: RenderedSet, *, scale: float = CROP_SCALE, done: Callable[[int], object] = int
) -> Scored:
    """The whole model on whole people. done: told after each batch how many are done.

    Raises WeightsError without a body network.
    """
    nets.need("body")
    figure, model = Figure.free(), nets.models["body"]
    crops = body_crops(people, nets.need("body").crop_px, scale=scale)
    answers: list[BodyAnswer] = []
    columns: dict[str, list[Columns]] = {"": [], OWN: [], MEAN: []}
    seen: dict[str, list[np.ndarray]] = {part: [] for part in _SEEN_POINTS}
    for answer in bodies(nets, people.photo, crops):
        truths = [people.truth(i) for i in answer.rows]
        true = figure.posed(truths)
        guesses = {"": answer.params, OWN: answer.own, MEAN: mean_body(model, len(truths))}
        for variant, params in guesses.items():
            with torch.inference_mode():
                columns[variant].append(body_errors_mm(pose_of(model, params), true, figure.regions))
        for part, (points, least) in _SEEN_POINTS.items():
            seen[part].append(np.array([t.visible[list(points)].mean() >= least for t in truths]))
        answers.append(answer)
        done(answer.rows[-1] + 1)
    variants = {v: joined_columns(c) for v, c in columns.items()}
    return _body_scored(nets, people, variants, {p: np.concatenate(s) for p, s in seen.items()}, tuple(answers), scale)


def _body_scored(
    nets: Networks,
    people: RenderedSet,
    variants: dict[str, dict[str, Tensor]],
    seen: Mapping[str, np.ndarray],
    answers: tuple[BodyAnswer, ...],
    scale: float,
) -> Scored:
    if nets.whole is None:
        del variants[""]
        variants = {"": variants.pop(OWN), **variants}
    said = [
        f"box: surface with clothes, cut at the photo's border; crop side {scale:g} times its longer side",
        "joints: 14 of LSP regressed from vertices; MPJPE: middle of the hips on the true one",
        "each part is cut out and Procrustes-aligned on its own; HANDS is the mean of both, seen or not",
        f"{MEAN}: FreeBody's mean pose and shape, facing the camera",
    ]
    said += [] if nets.whole else ["these weights hold the body network alone: nothing is looked at again"]
    gains = ("HANDS PA-PVE", "RIGHT_HAND PA-PVE", "LEFT_HAND PA-PVE", "FACE PA-PVE")
    names = tuple(people.name(i) for i in range(len(people)))
    outcomes = [side_by_side("synth-body", variants, unit="mm", said=said, gains=gains)]
    all_names = {"synth-body": names}
    sides = {"right_hand": "RIGHT_HAND", "left_hand": "LEFT_HAND"}
    hands = _seen_only(variants, seen, sides, "HANDS PA-PVE")
    face = _seen_only(variants, seen, {"head": "FACE"}, "FACE PA-PVE")
    for benchmark, picked, places in (("synth-body-hands", hands, sides), ("synth-body-faces", face, {"head": ""})):
        chosen = tuple(f"{names[i]} {part}" for part in places for i in np.flatnonzero(seen[part]))
        if chosen:
            what = f"only parts of which at least {100 * SEEN_SHARE:g} % of the keypoints are visible"
            outcomes.append(side_by_side(benchmark, picked, unit="mm", said=[what], gains=tuple(picked[""])))
            all_names[benchmark] = chosen
    if seen["body"].any():
        few = torch.from_numpy(seen["body"])
        picked = {v: {n: c[n][few] for n in ("PA-MPJPE", "MPJPE", "PA-PVE")} for v, c in variants.items()}
        what = f"only people of whom at least {SEEN_JOINTS} of the 14 joints are visible"
        outcomes.append(side_by_side("synth-body-seen", picked, unit="mm", said=[what]))
        all_names["synth-body-seen"] = tuple(names[i] for i in np.flatnonzero(seen["body"]))
    return Scored(tuple(outcomes), all_names, answers)


def _seen_only(
    variants: Mapping[str, Columns], seen: Mapping[str, np.ndarray], parts_: Mapping[str, str], figure: str
) -> dict[str, dict[str, Tensor]]:
    """One figure over the parts that are seen, part after part."""
    return {
        v: {figure: torch.cat([c[f"{name} PA-PVE"][torch.from_numpy(seen[p])] for p, name in parts_.items()])}
        for v, c in variants.items()
    }


def part_errors_mm(pred: Posed, true: Posed, part: PartName) -> dict[str, Tensor]:
    """Errors of hands or heads alone (FreeHand, FreeHead) against the same part of true bodies; B numbers each.

    Everything is Procrustes-aligned: PA-PVE over the part's vertices, PA-MPJPE over 21 points of the hand or the 68
    landmarks of the face.
    """
    own, points = ("mano", "freihand") if part == "hand" else ("flame", "ibug68")
    common = Skeleton.read(points)
    here, there = Skeleton(own, pred.shaped.model.keypoint_names), Skeleton.read("smplx")
    j = here.map_to(common)(pred.keypoints_m())
    k = there.map_to(common)(true.keypoints_m())
    region = true.shaped.model.regions["right_hand" if part == "hand" else "head"]
    v, w = pred.skin().vertices_m, true.skin().vertices_m[:, region]
    return {"PA-PVE": pve_mm(v, w, align="procrustes"), "PA-MPJPE": mpjpe_mm(j, k, align="procrustes")}


def score_parts(nets: Networks, people: RenderedSet, part: PartName, *, done: Callable[[int], object] = int) -> Scored:
    """The hand network alone on right hands, or the head network alone on heads; see `score_bodies`."""
    nets.need(part)
    figure, model = Figure.free(), nets.models[part]
    points = RIGHT_HAND_POINTS if part == "hand" else HEAD_POINTS
    scale = nets.config.zoom.hand_scale if part == "hand" else nets.config.zoom.head_scale
    px = np.stack([people.truth(i).keypoints_px[list(points)] for i in range(len(people))])
    answers: list[PartAnswer[Any]] = []
    columns: dict[str, list[Columns]] = {"": [], MEAN: []}
    for answer in parts(nets, part, people.photo, square_of_points(px, scale)):
        true = figure.posed([people.truth(i) for i in answer.rows])
        mean = mean_part(model, part, nets.models.get("body"), len(answer.rows))
        for variant, params in (("", answer.params), (MEAN, mean)):
            with torch.inference_mode():
                columns[variant].append(part_errors_mm(pose_of(model, params), true, part))
        answers.append(answer)
        done(answer.rows[-1] + 1)
    benchmark = people.test_set.name
    said = (
        f"the {part} network alone, starting from its own mean, in the square of {scale:g} times the true points' box"
        + ("; fingers fitted to its heatmaps, if the weights say so" if part == "hand" else ""),
        f"PA-MPJPE: {'21 points of the hand' if part == 'hand' else '68 landmarks of the face'}",
        f"{MEAN}: {'the mean' if part == 'hand' else 'a neutral'} {part}; all figures are Procrustes-aligned",
    )
    outcome = side_by_side(benchmark, {v: joined_columns(c) for v, c in columns.items()}, unit="mm", said=said)
    names = {benchmark: tuple(people.name(i) for i in range(len(people)))}
    return Scored((outcome,), names, tuple(answers))


def picture(nets: Networks, people: RenderedSet, scored: Scored, row: int) -> UInt8[np.ndarray, "_ _ 3"]:
    """One sample for the gallery."""
    part = people.test_set.part
    answer = next(a for a in scored.answers if row in a.rows)
    truth = people.truth(row)
    skeleton, own = {"body": ("smplx", "smplx"), "hand": ("freihand", "mano"), "head": ("ibug68", "flame")}[part]
    common, model = Skeleton.read(skeleton), nets.models[part]
    true = Skeleton.read("smplx").map_to(common)(truth.keypoints_px)
    here = Skeleton(own, model.keypoint_names)
    photo = people.photo(row)
    return picture_of(
        answer, row, model, photo, true_px=true, points_m=lambda posed: here.map_to(common)(posed.keypoints_m())
    )
