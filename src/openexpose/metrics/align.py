"""Rigid and similarity alignment of point sets: what "PA" means, in closed form and batched."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from openexpose.errors import ConfigError, DataError, ShapeError

Align = Literal["none", "root", "centroid", "scale", "procrustes"]
"""How a prediction is moved onto the truth before distances are taken.

none: not at all. root: translation that puts the root point (or the mean of several) on the true one. centroid:
translation of the mean of all points. scale: one factor about the origin. procrustes: rotation, translation, scale.
"""


@dataclass(frozen=True)
class Similarity:
    """Similarity transforms x -> scale R x + t, one for each point set."""

    R: Float[Tensor, "*B 3 3"]
    """Proper rotations (determinant +1), target from source."""
    scale: Float[Tensor, "*B"]
    t: Float[Tensor, "*B 3"]
    """Translation in the unit of the points."""

    def __call__(self, points: Float[Tensor, "*B P 3"]) -> Float[Tensor, "*B P 3"]:
        """Points in the target's frame, float64."""
        turned = points.double() @ self.R.mT
        return self.scale[..., None, None] * turned + self.t[..., None, :]


def fit_similarity(
    source: Float[Tensor, "*B P 3"], target: Float[Tensor, "*B P 3"], *, weight: Float[Tensor, "*B P"] | None = None
) -> Similarity:
    """The similarity that brings each source set closest to its target (least squares), in float64.

    Never mirrors: where the best orthogonal map is a reflection, the best rotation is returned. A source whose points
    all coincide keeps scale 1. weight: how much each point counts (>= 0), equal when None.
    Raises DataError for numbers that are not finite, and for sets whose weights are all 0.
    Source: Umeyama 1991; spec section 8 (Z = diag(1, 1, sign det UV^T)).
    """
    x, y = source.double(), target.double()
    _finite(x, "source")
    _finite(y, "target")
    w = torch.ones_like(x[..., 0]) if weight is None else weight.double()
    total = w.sum(-1, keepdim=True)
    if bool((total <= 0).any()):
        raise DataError(f"rows {_rows(total[..., 0] <= 0)} have no point to align on; leave them out")
    w = (w / total)[..., None]
    mean_x, mean_y = (w * x).sum(-2, keepdim=True), (w * y).sum(-2, keepdim=True)
    x, y = x - mean_x, y - mean_y
    K = x.mT @ (w * y)
    U, S, Vh = torch.linalg.svd(K)
    sign = torch.where(torch.linalg.det(U @ Vh) < 0, -1.0, 1.0)
    Z = torch.ones_like(S)
    Z[..., 2] = sign
    R = Vh.mT @ (Z[..., None] * U.mT)
    spread = (w * x * x).sum((-2, -1))
    some = spread > 0
    scale = torch.where(some, (S * Z).sum(-1) / torch.where(some, spread, 1.0), 1.0)
    t = mean_y[..., 0, :] - scale[..., None] * (R @ mean_x.mT)[..., 0]
    return Similarity(R, scale, t)


def aligned(
    pred_m: Float[Tensor, "*B P 3"],
    true_m: Float[Tensor, "*B P 3"],
    *,
    align: Align,
    root: int | Sequence[int] | None = None,
    fit_on: Bool[Tensor, "*B P"] | None = None,
) -> Float[Tensor, "*B P 3"]:
    """The prediction moved onto the truth, float64, in the unit of the inputs.

    root: index of the root point, or several whose mean is the root; required for align="root", refused otherwise.
    fit_on: points that scale, centroid and Procrustes may look at; all when None. Every point is moved.
    Raises ConfigError (align and root contradict each other, unknown align), ShapeError, DataError (not finite).
    """
    same_shape(pred_m, true_m)
    if (align == "root") != (root is not None):
        raise ConfigError(f"align={align!r} with root={root!r}: a root belongs to align='root', and only to it")
    pred, true = pred_m.double(), true_m.double()
    if align == "none":
        return pred
    if align == "root":
        assert root is not None
        rows = torch.as_tensor([root] if isinstance(root, int) else list(root), device=pred.device)
        if rows.numel() == 0 or int(rows.min()) < 0 or int(rows.max()) >= pred.shape[-2]:
            raise ConfigError(f"root={root!r} is outside the {pred.shape[-2]} points")
        return pred - pred[..., rows, :].mean(-2, keepdim=True) + true[..., rows, :].mean(-2, keepdim=True)
    weight = None if fit_on is None else fit_on.double()
    if align == "procrustes":
        return fit_similarity(pred, true, weight=weight)(pred)
    w = torch.ones_like(pred[..., :1]) if weight is None else weight[..., None]
    if align == "centroid":
        return pred + (w * (true - pred)).sum(-2, keepdim=True) / w.sum(-2, keepdim=True)
    if align == "scale":
        return pred * (w * pred * true).sum((-2, -1), keepdim=True) / (w * pred * pred).sum((-2, -1), keepdim=True)
    raise ConfigError(f"align={align!r} is not known; choose none, root, centroid, scale or procrustes")


def same_shape(pred: Tensor, true: Tensor) -> None:
    """Raise ShapeError unless both point sets have the same shape, with at least one point."""
    if pred.shape != true.shape or pred.ndim < 2 or pred.shape[-2] == 0:
        raise ShapeError(
            f"prediction {tuple(pred.shape)} and truth {tuple(true.shape)} must be the same points of the same people; "
            "map keypoints by name first (openexpose.skeleton)"
        )


def _finite(points: Tensor, name: str) -> None:
    bad = ~torch.isfinite(points).all(-1).all(-1)
    if bool(bad.any()):
        raise DataError(f"{name}: rows {_rows(bad)} hold NaN or infinity; such people cannot be measured")


def _rows(bad: Tensor) -> str:
    rows = bad.reshape(-1).nonzero()[:, 0].tolist()
    return ", ".join(map(str, rows[:5])) + (f" and {len(rows) - 5} more" if len(rows) > 5 else "")
