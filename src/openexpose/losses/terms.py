"""The single losses: each one a sum and the number it is divided by (spec 7.2).

Every function takes estimates, targets and one weight per sample (0 = this target is unknown for this sample), so
that batches may mix samples with different labels. Estimates are expected in float32.
"""

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from openexpose.errors import ConfigError

EPSILON = 1e-7
"""Keeps an empty sum at 0 instead of 0 / 0; below float32 resolution for every count from 1 on."""
COSINE_LIMIT = 1 - 1e-7
"""acos has an infinite slope at 1; the reference stops here, and so the gradient of a perfect match is 0."""


class Term(NamedTuple):
    """One loss: `summed / over`. Both are kept because processes must share the divisor before they divide."""

    summed: Float[Tensor, ""]
    over: Float[Tensor, ""]
    """How many samples, joints or coefficients were summed."""

    @property
    def value(self) -> Float[Tensor, ""]:
        """The loss of this process's batch alone; 0 when nothing was labelled."""
        return self.summed / (self.over + EPSILON)


def total(
    terms: Mapping[str, Term],
    weights: Mapping[str, float],
    share: Callable[[Tensor], Tensor] = torch.Tensor.detach,
) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
    """The weighted sum to minimise, and each weighted loss by name.

    share: mean over all processes of the vector of divisors. With it, the mean of the processes' losses (and, under
           DDP, of their gradients) is exactly that of one process with the whole batch, whoever holds which labels.
    Raises ConfigError if a term has no weight, or a weight names no term.
    """
    if set(terms) != set(weights):
        raise ConfigError(
            f"losses and weights differ: {sorted(set(terms) ^ set(weights))}. Give every computed loss a weight."
        )
    over = share(torch.stack([term.over for term in terms.values()]))
    parts = {name: weights[name] * term.summed / (over[i] + EPSILON) for i, (name, term) in enumerate(terms.items())}
    return torch.stack(list(parts.values())).sum(), parts


def keypoints2d(
    points_u: Float[Tensor, "B K 2"],
    target_px: Float[Tensor, "B K 3"],
    weight: Float[Tensor, " B"],
    *,
    crop_px: int,
) -> Term:
    """L1 distance of projected keypoints, summed over a person's points, per labelled person.

    points_u: projections in [-1, 1] over the crop.   target_px: x, y in crop pixels (0 .. crop_px - 1), confidence.
    """
    target_u = 2 * target_px[..., :2] / (crop_px - 1) - 1
    distance = (points_u - target_u).abs().sum(dim=-1)
    return Term((weight[:, None] * target_px[..., 2] * distance).sum(), people(weight))


def keypoints3d(
    points_m: Float[Tensor, "B K 3"],
    target_m: Float[Tensor, "B K 4"],
    weight: Float[Tensor, " B"],
    *,
    root: tuple[int, int],
) -> Term:
    """L1 distance of 3D keypoints seen from the middle of two of them (hips; a wrist twice), metres, summed per person.

    target_m: x, y, z, confidence. `root` are the two indices whose mean is the origin of either side.
    """
    centred_m = points_m - points_m[:, list(root)].mean(dim=1, keepdim=True)
    wanted_m = target_m[..., :3] - target_m[:, list(root), :3].mean(dim=1, keepdim=True)
    distance = (centred_m - wanted_m).abs().sum(dim=-1)
    return Term((weight[:, None] * target_m[..., 3] * distance).sum(), people(weight))


def angle_rad(R_a: Float[Tensor, "*B 3 3"], R_b: Float[Tensor, "*B 3 3"]) -> Float[Tensor, "*B"]:
    """Angle of the rotation between two rotations, radians, 0 to pi (a little less at both ends: COSINE_LIMIT)."""
    cosine = ((R_a * R_b).sum(dim=(-2, -1)) - 1) / 2
    return torch.acos(cosine.clamp(-COSINE_LIMIT, COSINE_LIMIT))


def rotations(R: Float[Tensor, "B J 3 3"], target: Float[Tensor, "B J 3 3"], weight: Float[Tensor, " B"]) -> Term:
    """Angles to the true rotations, radians, summed over joints, per labelled person."""
    return Term((weight[:, None] * angle_rad(R, target)).sum(), people(weight))


def trusted_rotations(
    R: Float[Tensor, "B J 3 3"], target: Float[Tensor, "B J 3 3"], weight: Float[Tensor, "B J"]
) -> Term:
    """Angles to the true rotations, radians, times how far each is trusted, per joint trusted at all.

    The divisor counts joints with a positive weight, as the reference does: halving all weights halves this loss.
    """
    return Term((weight * angle_rad(R, target)).sum(), people(weight))


def betas(estimate: Float[Tensor, "B S"], target: Float[Tensor, "B S"], weight: Float[Tensor, " B"]) -> Term:
    """Squared difference of shape coefficients, summed over them, per labelled person."""
    return Term((weight[:, None] * (estimate - target).square()).sum(), people(weight))


def expression(
    estimate: Float[Tensor, "B E"],
    target: Float[Tensor, "B E"],
    weight: Float[Tensor, " B"],
    confidence: Float[Tensor, " B"],
) -> Term:
    """Squared difference of expression coefficients times the face's mean confidence, per labelled person.

    The divisor counts labelled people, seen face or not (unlike `trusted_rotations`), as in the reference.
    """
    return Term(((weight * confidence)[:, None] * (estimate - target).square()).sum(), people(weight))


OUTSIDE = 0.5
"""Weight of a heatmap whose point lies outside the crop, against 1 inside."""


def heatmaps(
    logits: Float[Tensor, "B K h w"],
    target_px: Float[Tensor, "B K 3"],
    weight: Float[Tensor, " B"],
    *,
    crop_px: int,
    sigma_crop: float = 1 / 32,
) -> Term:
    """Cross entropy of heatmaps with a Gaussian round the labelled place, nats, summed per labelled person.

    sigma_crop: spread of the Gaussian in crop sides, at least 0.7 of a cell. Cells cover the crop evenly. A point
    outside the crop wants a flat heatmap: one that knows nothing, and is not taken for a sure one where the picture
    ends at somebody's waist.
    """
    h, w = logits.shape[-2:]
    size = logits.new_tensor([w, h])
    at = (target_px[..., :2] + 0.5) / crop_px * size - 0.5
    inside = ((at > -0.5) & (at < size - 0.5)).all(-1)
    x, y = (torch.arange(n, device=logits.device, dtype=logits.dtype) for n in (w, h))
    apart = (x - at[..., :1]).square()[..., None, :] + (y - at[..., 1:]).square()[..., :, None]  # (B, K, h, w)
    wanted = (-apart.flatten(2) / (2 * max(sigma_crop * w, 0.7) ** 2)).softmax(-1)
    wanted = torch.where(inside[..., None], wanted, torch.full_like(wanted, 1 / (h * w)))
    entropy = -(wanted * logits.flatten(2).log_softmax(-1)).sum(-1)
    trust = target_px[..., 2] * torch.where(inside, 1.0, OUTSIDE)
    return Term((weight[:, None] * trust * entropy).sum(), people(weight))


def visible_points(
    points_u: Float[Tensor, "B K 2"], target_px: Float[Tensor, "B K 3"], weight: Float[Tensor, " B"], *, crop_px: int
) -> Term:
    """L1 distance of the heatmaps' expected places in [-1, 1] units, summed per labelled person.

    As `keypoints2d`, but points outside the crop are left out.
    """
    inside = ((target_px[..., :2] > -0.5) & (target_px[..., :2] < crop_px - 0.5)).all(-1)
    trusted = torch.cat([target_px[..., :2], (target_px[..., 2] * inside)[..., None]], -1)
    return keypoints2d(points_u, trusted, weight, crop_px=crop_px)


def surface(vertices_m: Float[Tensor, "B V 3"], target_m: Float[Tensor, "B V 3"], weight: Float[Tensor, " B"]) -> Term:
    """Mean distance of vertices, millimetres, per labelled person."""
    distance_mm = 1000 * ((vertices_m - target_m).square().sum(-1) + EPSILON**2).sqrt().mean(-1)
    return Term((weight * distance_mm).sum(), people(weight))


def depths(
    depth_u: Float[Tensor, "B K"],
    doubt_u: Float[Tensor, "B K"],
    points_m: Float[Tensor, "B K 4"],
    u_per_m: Float[Tensor, " B"],
    weight: Float[Tensor, " B"],
) -> Term:
    """Negative log-likelihood of true depths under Laplace distributions, nats, summed per labelled person.

    depth_u: told, from the mean of all points, half crop sides.   doubt_u: spread of each distribution.
    points_m: x, y, z, confidence in camera axes.   u_per_m: half crop sides to a metre at the person.
    """
    sure = points_m[..., 3] * weight[:, None]
    mean_m = (sure * points_m[..., 2]).sum(1, keepdim=True) / sure.sum(1, keepdim=True).clamp(min=EPSILON)
    apart = (depth_u - u_per_m[:, None] * (points_m[..., 2] - mean_m)).abs()
    return Term((sure * (apart / doubt_u + (2 * doubt_u).log())).sum(), people(weight))


def half_sides_per_metre(
    points_m: Float[Tensor, "B K 4"], points_px: Float[Tensor, "B K 3"], *, crop_px: int
) -> Float[Tensor, " B"]:
    """The scale of weak perspective that explains labelled points best: half crop sides to a metre; 0 where unknown."""
    w = (points_m[..., 3] * points_px[..., 2])[..., None]
    here, there = points_m[..., :2], points_px[..., :2] * 2 / (crop_px - 1)
    here, there = (x - (w * x).sum(1, keepdim=True) / w.sum(1, keepdim=True).clamp(min=EPSILON) for x in (here, there))
    return (w * here * there).sum((1, 2)) / (w * here.square()).sum((1, 2)).clamp(min=EPSILON)


def betas_prior(estimate: Float[Tensor, "B S"], *, margin: float = 3.0, norm: Literal["l1", "l2"] = "l2") -> Term:
    """Mean square (or size, "l1") of those shape coefficients that leave [-margin, margin]; needs no label.

    It is the coefficient itself that is punished, not its excess: the reference's form.
    """
    outside = estimate.abs() > margin
    size = estimate.square() if norm == "l2" else estimate.abs()
    return Term((size * outside).sum(), outside.to(estimate.dtype).sum())


def keypoints_in_part_crop(
    points_u: Float[Tensor, "B K 2"],
    target_px: Float[Tensor, "B K 3"],
    weight: Float[Tensor, " B"],
    *,
    crop_px: int,
    T_photo_crop: Float[Tensor, "B 3 3"],
    side_px: Float[Tensor, " B"],
) -> Term:
    """L1 distance of keypoints in units of a part crop's side, summed per labelled person.

    points_u, target_px: as in `keypoints2d`, in the *body* crop.   T_photo_crop: body crop -> photo, pixels.
    side_px: side of the part's square crop in photo pixels. The crop's position cancels in the difference.
    """
    estimate_px = (points_u + 1) / 2 * (crop_px - 1)
    apart_photo_px = (estimate_px - target_px[..., :2]) @ T_photo_crop[:, :2, :2].mT
    distance = apart_photo_px.abs().sum(dim=-1) / side_px[:, None]
    return Term((weight[:, None] * target_px[..., 2] * distance).sum(), people(weight))


def mean_confidence(target_px: Float[Tensor, "B K 3"], joints: Float[Tensor, " K"]) -> Float[Tensor, " B"]:
    """Mean 2D confidence over one part's keypoints: how far that part's rotations are to be trusted.

    joints: 1 for the keypoints of the part, else 0. The mean runs over all of them, seen or not.
    """
    return target_px[..., 2] @ joints / joints.sum()


def people(weight: Float[Tensor, "*B"]) -> Float[Tensor, ""]:
    """How many weights are positive, as a float."""
    return (weight > 0).to(weight.dtype).sum()
