"""How well a detector finds people: recall, precision and average precision of boxes; pure functions."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from openexpose.errors import DataError

MATCH_IOU = 0.5


@dataclass(frozen=True, eq=False)
class FoundPeople:
    """What was found in one photo, compared with who is there."""

    scores: Float[np.ndarray, " n"]
    """Of the boxes found, surest first; those that lie on ignored people are left out."""
    right: Bool[np.ndarray, " n"]
    """Whether a box is one of the people, and no surer box is the same one."""
    best_iou: Float[np.ndarray, " m"]
    """Of each person in the photo, the overlap with the box that was matched; 0 if missed."""
    score_of: Float[np.ndarray, " m"]
    """Score of that box; 0 if missed."""


@dataclass(frozen=True)
class PeopleScore:
    """Of many photos."""

    people: int
    recall: float
    """Share of the people who were found."""
    precision: float
    """Share of the boxes that are somebody; 1 if there are none."""
    average_precision: float
    """Area under precision over recall, all points, of all boxes whatever their score."""
    iou: float
    """Mean overlap of the people found; 0 if there are none."""


def compare_people(
    boxes_px: Float[np.ndarray, "n 4"],
    scores: Float[np.ndarray, " n"],
    people_px: Float[np.ndarray, "m 4"],
    ignored_px: Float[np.ndarray, "k 4"],
    *,
    iou: float = MATCH_IOU,
) -> FoundPeople:
    """Match boxes to people, surest first, each to the free person it overlaps most.

    A box that matches nobody and lies half or more in an ignored person does not count at all.
    Raises DataError for an `iou` that is not between 0 and 1.
    """
    if not 0 < iou <= 1:
        raise DataError(f"boxes match at an overlap between 0 and 1, not {iou}")
    order = np.argsort(-scores, kind="stable")
    best_iou, score_of = np.zeros(len(people_px)), np.zeros(len(people_px))
    free = np.ones(len(people_px), bool)
    kept, right = [], []
    overlap, _ = _overlaps(boxes_px, people_px)
    _, inside = _overlaps(boxes_px, ignored_px)
    for i in order:
        row = np.where(free, overlap[i], -1.0)
        k = int(row.argmax()) if len(row) else -1
        hit = k >= 0 and row[k] >= iou
        if not hit and len(ignored_px) and inside[i].max() >= 0.5:
            continue
        if hit:
            free[k], best_iou[k], score_of[k] = False, row[k], scores[i]
        kept.append(scores[i])
        right.append(hit)
    return FoundPeople(np.array(kept, np.float64), np.array(right, bool), best_iou, score_of)


def score_people(photos: Sequence[FoundPeople], *, min_score: float = 0.0) -> PeopleScore:
    """Sum up photos. recall, precision and iou are those of boxes with at least `min_score`.

    Raises DataError if there is nobody to find.
    """
    people = sum(len(p.best_iou) for p in photos)
    if not people:
        raise DataError("nobody is in these photos: recall and precision mean nothing")
    scores = np.concatenate([p.scores for p in photos])
    right = np.concatenate([p.right for p in photos])
    overlap = np.concatenate([p.best_iou for p in photos])
    found = (np.concatenate([p.score_of for p in photos]) >= min_score) & (overlap > 0)
    used = scores >= min_score
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(right[order])
    precision = hits / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return PeopleScore(
        people=people,
        recall=float(found.sum()) / people,
        precision=float(right[used].mean()) if used.any() else 1.0,
        average_precision=float(envelope[right[order]].sum()) / people,
        iou=float(overlap[found].mean()) if found.any() else 0.0,
    )


def _overlaps(a: Float[np.ndarray, "n 4"], b: Float[np.ndarray, "m 4"]) -> tuple[np.ndarray, np.ndarray]:
    """Intersection over union, and over the first one's area, of every pair."""
    low, high = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.maximum(high - low, 0).prod(-1)
    area_a, area_b = (a[:, 2:] - a[:, :2]).prod(-1)[:, None], (b[:, 2:] - b[:, :2]).prod(-1)[None]
    return shared / np.maximum(area_a + area_b - shared, 1e-9), shared / np.maximum(area_a, 1e-9)
