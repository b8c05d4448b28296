"""When to keep the body's own guess: a part crop that shows nothing cannot say anything. Beyond the reference."""

from collections.abc import Sequence
from dataclasses import fields, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from openexpose.geometry.crop import Photo
from openexpose.nets.attention import Squares
from openexpose.nets.config import GateConfig
from openexpose.nets.params import BodyParams

HAND_FIELDS = {"right": ("right_hand_pose", -1), "left": ("left_hand_pose", -2)}
"""Fingers, and the wrist's place in body_pose."""


def usable(
    squares: Squares, photos: Sequence[Photo], confidence: Float[Tensor, " B"] | None, config: GateConfig
) -> Bool[Tensor, " B"]:
    """Whether each crop is large enough, shows enough of the photo, and its network trusts itself.

    A square whose numbers are not finite is not usable.
    """
    sizes = [(p.shape[1], p.shape[0]) for p in photos]
    wh = squares.centre_px.new_tensor(sizes).reshape(-1, 2)
    corners = squares.corners_px
    across = torch.minimum(corners[:, 2:], wh - 0.5) - corners[:, :2].clamp(min=-0.5)
    seen = across.clamp(min=0).prod(-1) / squares.side_px**2
    good = (seen >= config.min_seen) & (squares.side_px >= config.min_side_px)
    return good if confidence is None else good & (confidence >= config.min_confidence)


def keep_hands(
    before: BodyParams, merged: BodyParams, right: Bool[Tensor, " B"], left: Bool[Tensor, " B"]
) -> BodyParams:
    """`merged` where that side is usable, else `before`: wrist and fingers together."""
    pose = merged.body_pose.clone()
    changed = {}
    for side, mask in (("right", right), ("left", left)):
        name, wrist = HAND_FIELDS[side]
        pose[:, wrist] = _choose(mask, merged.body_pose[:, wrist], before.body_pose[:, wrist])
        changed[name] = _choose(mask, getattr(merged, name), getattr(before, name))
    return replace(merged, body_pose=pose, **changed)


def keep_head(before: BodyParams, merged: BodyParams, mask: Bool[Tensor, " B"]) -> BodyParams:
    """`merged` where the head's crop is usable, else `before`."""
    both = {f.name: (getattr(merged, f.name), getattr(before, f.name)) for f in fields(BodyParams)}
    return replace(merged, **{n: _choose(mask, *both[n]) for n in ("jaw_pose", "expression")})


def _choose(mask: Bool[Tensor, " B"], yes: Tensor, no: Tensor) -> Tensor:
    return torch.where(mask.view(-1, *[1] * (yes.ndim - 1)), yes, no)
