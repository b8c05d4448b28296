"""Distances between predicted and true points: MPJPE, PVE, V2V, PCK, AUC, NME, F-score. One number per person.

Inputs are metres (3D) or pixels (2D), results millimetres or shares in 0..1; every call names its alignment. All sums
run in float64.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from openexpose.errors import ConfigError, DataError, ShapeError
from openexpose.metrics.align import Align, aligned, same_shape

MM = 1000.0
"""Millimetres in a metre."""
OUTER_EYES_68 = (36, 45)
"""Outer eye corners among the 68 iBUG points; their distance is the inter-ocular distance of 300-W."""


def point_errors_mm(
    pred_m: Float[Tensor, "N P 3"],
    true_m: Float[Tensor, "N P 3"],
    *,
    align: Align,
    root: int | Sequence[int] | None = None,
    fit_on: Bool[Tensor, "N P"] | None = None,
) -> Float[Tensor, "N P"]:
    """Distance of each point from the truth in millimetres, after alignment (see `aligned`, also for errors)."""
    moved = aligned(pred_m, true_m, align=align, root=root, fit_on=fit_on)
    return (moved - true_m.double()).norm(dim=-1) * MM


def mpjpe_mm(
    pred_m: Float[Tensor, "N J 3"],
    true_m: Float[Tensor, "N J 3"],
    *,
    align: Align,
    root: int | Sequence[int] | None = None,
    visible: Bool[Tensor, "N J"] | None = None,
    fit: Literal["all", "visible"] = "all",
) -> Float[Tensor, " N"]:
    """Mean distance over joints in millimetres, one number per person; align="procrustes" makes it PA-MPJPE.

    visible: joints that count, all when None; a person without any gets NaN. fit: whether scale and Procrustes look
    at all joints (the reference, also where it masks) or only at the visible ones. Errors: see `aligned`.
    """
    on = visible if fit == "visible" else None
    return visible_mean(point_errors_mm(pred_m, true_m, align=align, root=root, fit_on=on), visible)


def pve_mm(
    pred_m: Float[Tensor, "N V 3"],
    true_m: Float[Tensor, "N V 3"],
    *,
    align: Align,
    ids: Int[Tensor, " K"] | None = None,
) -> Float[Tensor, " N"]:
    """Mean distance over vertices in millimetres, one number per person; align="procrustes" makes it PA-PVE.

    ids: vertices of one part; the part is then cut out first and aligned *on its own*. Same as V2V in the paper.
    Raises ShapeError when the meshes differ in their number of vertices (another body model), ConfigError for bad ids.
    """
    same_shape(pred_m, true_m)
    if ids is not None:
        if ids.numel() == 0 or int(ids.min()) < 0 or int(ids.max()) >= pred_m.shape[-2]:
            raise ConfigError(f"vertex ids of the part do not fit a mesh of {pred_m.shape[-2]} vertices")
        pred_m, true_m = pred_m[:, ids.to(pred_m.device)], true_m[:, ids.to(true_m.device)]
    return point_errors_mm(pred_m, true_m, align=align).mean(-1)


def tr_v2v_mm(
    pred_m: Float[Tensor, "N V 3"],
    true_m: Float[Tensor, "N V 3"],
    *,
    pred_root_m: Float[Tensor, "N 3"],
    true_root_m: Float[Tensor, "N 3"],
) -> Float[Tensor, " N"]:
    """TR-V2V: mean vertex distance in millimetres after moving the root joint onto the true one, nothing else.

    Roots: pelvis for whole and body, wrist for a hand, neck for the face. Source: ExPose paper, EHF table.
    """
    same_shape(pred_m, true_m)
    pred = pred_m.double() - pred_root_m.double()[:, None]
    true = true_m.double() - true_root_m.double()[:, None]
    return (pred - true).norm(dim=-1).mean(-1) * MM


def visible_mean(values: Float[Tensor, "N P"], visible: Bool[Tensor, "N P"] | None = None) -> Float[Tensor, " N"]:
    """Mean over the visible points of each person, NaN where none is visible."""
    if visible is None:
        return values.mean(-1)
    seen = visible.to(values.dtype)
    return torch.where(visible, values, 0.0).sum(-1) / seen.sum(-1)


def pck3d_01(
    errors_mm: Float[Tensor, "N P"], *, at_mm: float, visible: Bool[Tensor, "N P"] | None = None
) -> Float[Tensor, " N"]:
    """Share of points closer than `at_mm` (strictly), one number per person in 0..1. Take `point_errors_mm` first."""
    return visible_mean((errors_mm < at_mm).double(), visible)


def auc3d_01(
    errors_mm: Float[Tensor, "N P"],
    *,
    up_to_mm: float = 150.0,
    steps: int = 31,
    visible: Bool[Tensor, "N P"] | None = None,
) -> Float[Tensor, " N"]:
    """Mean of `pck3d_01` over `steps` thresholds from 0 to `up_to_mm`, both ends included. Source: MPI-INF-3DHP."""
    thresholds = torch.linspace(0.0, up_to_mm, steps, dtype=torch.float64).tolist()
    return torch.stack([pck3d_01(errors_mm, at_mm=t, visible=visible) for t in thresholds]).mean(0)


def pck_01(
    pred_px: Float[Tensor, "N P 2"],
    true_px: Float[Tensor, "N P 2"],
    *,
    size_px: Float[Tensor, " N"],
    at: float,
    visible: Bool[Tensor, "N P"] | None = None,
) -> Float[Tensor, " N"]:
    """Share of points within `at` times the person's size (inclusive), one number per person in 0..1.

    PCK@0.2 torso: size_px = `segment_px(true_px, shoulder, opposite hip)`, at=0.2. PCKh@0.5: size_px = the head's
    size, at=0.5. A person without a visible point, or of size 0, gets NaN. Raises ShapeError.
    """
    same_shape(pred_px, true_px)
    if bool((size_px < 0).any()) or not bool(torch.isfinite(size_px).all()):
        raise DataError("size_px must be finite and not negative: it is what the errors are divided by")
    error = (pred_px.double() - true_px.double()).norm(dim=-1)
    size = size_px.double()
    share = visible_mean((error <= at * size[:, None]).double(), visible)
    return torch.where(size > 0, share, torch.nan)


def segment_px(points_px: Float[Tensor, "N P 2"], start: int, end: int) -> Float[Tensor, " N"]:
    """Length of the segment between two points of each person, in pixels (a torso, a head, an inter-ocular line)."""
    count = points_px.shape[-2]
    if not (0 <= start < count and 0 <= end < count):
        raise ConfigError(f"segment {start}-{end} does not exist among {count} points")
    return (points_px[:, start].double() - points_px[:, end].double()).norm(dim=-1)


def nme_01(
    pred_px: Float[Tensor, "N P 2"],
    true_px: Float[Tensor, "N P 2"],
    *,
    eyes: tuple[int, int] = OUTER_EYES_68,
    visible: Bool[Tensor, "N P"] | None = None,
) -> Float[Tensor, " N"]:
    """Mean point error over the true inter-ocular distance, one number per face (0.05 is 5 %).

    eyes: the outer eye corners; the default is for the 68 iBUG points. A face whose eyes coincide gets NaN.
    Raises ShapeError, ConfigError (eyes are not among the points). Source: 300-W.
    """
    same_shape(pred_px, true_px)
    size = segment_px(true_px, *eyes)
    error = visible_mean((pred_px.double() - true_px.double()).norm(dim=-1), visible)
    return torch.where(size > 0, error / size, torch.nan)


def f_score_01(pred_m: Float[Tensor, "N V 3"], true_m: Float[Tensor, "N W 3"], *, at_mm: float) -> Float[Tensor, " N"]:
    """F-score between two point sets: harmonic mean of precision and recall at a distance, one number per person.

    Precision: share of predicted points with a true point closer than `at_mm` (strictly); recall: the other way
    round. Align the prediction first if the protocol says so. Source: Knapitsch 2017, as FreiHAND scores it.
    """
    if pred_m.shape[0] != true_m.shape[0] or 0 in (pred_m.shape[1], true_m.shape[1]):
        raise ShapeError(f"{tuple(pred_m.shape)} and {tuple(true_m.shape)} are not two point sets of the same people")
    out = []
    for pred, true in zip(pred_m.double(), true_m.double(), strict=True):
        apart = torch.cdist(pred, true, compute_mode="donot_use_mm_for_euclid_dist") * MM
        precision = (apart.amin(1) < at_mm).double().mean()
        recall = (apart.amin(0) < at_mm).double().mean()
        both = precision + recall
        out.append(torch.where(both > 0, 2 * precision * recall / both.clamp(min=torch.finfo(both.dtype).tiny), 0.0))
    return torch.stack(out) if out else pred_m.new_zeros(0, dtype=torch.float64)
