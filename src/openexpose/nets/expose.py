"""ExPose in one screen: look at the person once, guess the whole body, zoom in on hands and head, refine, merge.

Start reading here; `build.py` says which parts it is made of, `docs/nets.md` what the weights are called.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from openexpose.body import BodyModel, Posed
from openexpose.nets import gate, merge
from openexpose.nets.attention import (
    HEAD_POINTS,
    LEFT_HAND_POINTS,
    RIGHT_HAND_POINTS,
    Look,
    Squares,
    project_px,
    squares_around,
)
from openexpose.nets.codec import Estimate
from openexpose.nets.config import GateConfig, ZoomConfig
from openexpose.nets.params import BodyParams, HandParams, HeadParams
from openexpose.nets.refine import Refiner
from openexpose.nets.regressor import PartRegressor


@dataclass(frozen=True)
class WholeEstimate:
    """What the whole model says about a batch of persons, with every step on the way."""

    params: BodyParams
    """The answer: the body with the better hands and face written in."""
    camera: Float[Tensor, "B 3"]
    """(s, tx, ty) over the body crop; the parts' cameras are not used."""
    body: Estimate[BodyParams]
    """The body network's own estimate, pulled onto its heatmaps where the config says so."""
    hands: Estimate[HandParams]
    """2B rows: all right hands, then all left hands mirrored."""
    head: Estimate[HeadParams]
    right_hand_square: Squares
    """Where the model looked again, in photo pixels."""
    left_hand_square: Squares
    head_square: Squares
    used_parts: Bool[Tensor, "B 3"]
    """Whether right hand, left hand, head were taken from their networks; always true without a gate."""


class ExPose(nn.Module):
    """Three networks, a body model to find the hands and the head with, and how far to zoom."""

    def __init__(
        self,
        body: PartRegressor[BodyParams],
        hand: PartRegressor[HandParams],
        head: PartRegressor[HeadParams],
        *,
        body_model: BodyModel,
        zoom: ZoomConfig,
        gate: GateConfig | None,
        refine: Refiner | None = None,
    ) -> None:
        super().__init__()
        self.body, self.hand, self.head = body, hand, head
        self.body_model = body_model
        self.zoom, self.gate, self.refine = zoom, gate, refine

    def forward(self, look: Look) -> WholeEstimate:
        """Everybody in the batch; an empty batch gives empty results."""
        body = self.body(look.crops)
        refine = None if self.training else self.refine
        body = body if refine is None else refine(body, self.body_model)

        points_px = self.points_px(body.params, body.camera, look)
        right = squares_around(points_px, RIGHT_HAND_POINTS, self.zoom.hand_scale, look)
        left = squares_around(points_px, LEFT_HAND_POINTS, self.zoom.hand_scale, look)
        if refine is not None:
            right = refine.aim(right, body, "right", self.zoom.hand_scale, look)
            left = refine.aim(left, body, "left", self.zoom.hand_scale, look)
        hand_crops = [square.cut(look.photos, self.hand.crop_px) for square in (right, left)]
        hands = self.hand(torch.cat([hand_crops[0], hand_crops[1].flip(-1)]), self.hand_start(body))
        hands = hands if refine is None else refine.pair(refine.hands(hands, self.body_model))
        params, used_hands = self.merge_hands(body.params, hands, right, left, look)

        points_px = self.points_px(params, body.camera, look)  # again: the head is found after the hands are merged
        square = squares_around(points_px, HEAD_POINTS, self.zoom.head_scale, look)
        head = self.head(square.cut(look.photos, self.head.crop_px), self.head_start(body))
        head = head if refine is None else refine.face(head, params.betas, self.body_model)
        params, used_head = self.merge_head(params, head, square, look)

        used = torch.cat([used_hands, used_head], -1)
        return WholeEstimate(params, body.camera, body, hands, head, right, left, square, used)

    def posed(self, params: BodyParams) -> Posed:
        """The body model in these params; ask it for joints, keypoints or the whole mesh."""
        return self.body_model.shape(params.betas, params.expression).pose(params.R_parent_child())

    def points_px(self, params: BodyParams, camera: Float[Tensor, "B 3"], look: Look) -> Float[Tensor, "B K 2"]:
        """The body model's keypoints in pixels of the body crop."""
        return project_px(self.posed(params).keypoints_m(), camera, look.crops.shape[-1])

    def hand_start(self, body: Estimate[BodyParams]) -> Float[Tensor, "B2 D"]:
        """First guesses for the hand network."""
        return merge.hand_start(body, self.body.codec, self.hand.codec, self.hand.regressor.mean_param)

    def head_start(self, body: Estimate[BodyParams]) -> Float[Tensor, "B D"]:
        """First guesses for the head network."""
        return merge.head_start(body, self.body.codec, self.head.codec, self.head.regressor.mean_param)

    def merge_hands(
        self, params: BodyParams, hands: Estimate[HandParams], right: Squares, left: Squares, look: Look
    ) -> tuple[BodyParams, Bool[Tensor, "B 2"]]:
        """The body with both hands written in, and which were; the gate may keep the body's own."""
        merged, B = merge.merge_hands(params, hands.params), len(look.photos)
        if self.gate is None:
            return merged, torch.ones(B, 2, dtype=torch.bool, device=params.betas.device)
        trust = (None, None) if hands.confidence is None else (hands.confidence[:B], hands.confidence[B:])
        good = [gate.usable(s, look.photos, c, self.gate) for s, c in zip((right, left), trust, strict=True)]
        return gate.keep_hands(params, merged, good[0], good[1]), torch.stack(good, -1)

    def merge_head(
        self, params: BodyParams, head: Estimate[HeadParams], square: Squares, look: Look
    ) -> tuple[BodyParams, Bool[Tensor, "B 1"]]:
        """The body with jaw and expression written in, and whether they were."""
        merged = merge.merge_head(params, head.params)
        if self.gate is None:
            return merged, torch.ones(len(look.photos), 1, dtype=torch.bool, device=params.betas.device)
        good = gate.usable(square, look.photos, head.confidence, self.gate)
        return gate.keep_head(params, merged, good), good[:, None]
