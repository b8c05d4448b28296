"""The hand-over between body and parts, both ways: first guesses for the parts, then their answers into the body.

A hand network's answer for the left hand is that of the mirrored picture; `mirror` turns rotations over and back.
"""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from openexpose.geometry.rotations import absolute, matrix_to_sixd, mirror
from openexpose.nets.codec import Codec, Estimate
from openexpose.nets.params import BodyParams, HandParams, HeadParams

RIGHT_ELBOW_CHAIN = (0, 3, 6, 9, 14, 17, 19)
"""Pelvis, spine, collar, shoulder, elbow: everything above the right wrist (joint 21)."""
LEFT_ELBOW_CHAIN = (0, 3, 6, 9, 13, 16, 18)
RIGHT_WRIST, LEFT_WRIST = 21, 20


def hand_start(
    body: Estimate[BodyParams],
    body_codec: Codec[BodyParams],
    hand_codec: Codec[HandParams],
    hand_mean: Float[Tensor, "1 D"],
) -> Float[Tensor, "B2 D"]:
    """First guesses for the hand network, all right hands and then all left ones mirrored (spec 3.4).

    Wrist and fingers come from the body; shape and camera from the network's own mean. The right fingers go over as
    the raw numbers, the left ones through matrices: the reference's asymmetry (docs/parity.md, row 5).
    """
    R = body.params.R_parent_child()
    wrist_right = absolute(R, (*RIGHT_ELBOW_CHAIN, RIGHT_WRIST))
    wrist_left = absolute(R, (*LEFT_ELBOW_CHAIN, LEFT_WRIST))
    starts = []
    for wrist, fingers in (
        (matrix_to_sixd(wrist_right), body_codec.raw(body.vector, "right_hand_pose")),
        (matrix_to_sixd(mirror(wrist_left)), matrix_to_sixd(mirror(body.params.left_hand_pose)).flatten(-2)),
    ):
        rest = hand_mean[:, hand_codec.slices["betas"].start :].expand(len(wrist), -1)
        starts.append(torch.cat([wrist, fingers, rest], -1))
    return torch.cat(starts)


def head_start(
    body: Estimate[BodyParams],
    body_codec: Codec[BodyParams],
    head_codec: Codec[HeadParams],
    head_mean: Float[Tensor, "1 D"],
) -> Float[Tensor, "B D"]:
    """First guesses for the head network: the body's raw jaw and its expression, the rest from the mean (spec 3.4)."""
    start = head_mean.expand(len(body.vector), -1).clone()
    start[:, head_codec.slices["jaw_pose"]] = body_codec.raw(body.vector, "jaw_pose")
    first = head_codec.slices["expression"].start
    expression = body.params.expression
    start[:, head_codec.slices["expression"]] = 0
    start[:, first : first + expression.shape[-1]] = expression
    return start


def merge_hands(body: BodyParams, hands: HandParams) -> BodyParams:
    """The body with both hands replaced; a hand's wrist is absolute, so the arm's turn is taken off it (spec 3.5).

    hands: all right hands, then all left ones mirrored, as `hand_start` orders them.
    """
    B = len(body.global_orient)
    R = body.R_parent_child()
    elbow_right, elbow_left = absolute(R, RIGHT_ELBOW_CHAIN), absolute(R, LEFT_ELBOW_CHAIN)
    wrist_right = elbow_right.mT @ hands.global_orient[:B]
    wrist_left = mirror(mirror(elbow_left).mT @ hands.global_orient[B:])
    wrists = torch.stack([wrist_left, wrist_right], 1)  # joints 20 and 21 are the last two of body_pose
    return replace(
        body,
        body_pose=torch.cat([body.body_pose[:, :-2], wrists], 1),
        right_hand_pose=hands.right_hand_pose[:B],
        left_hand_pose=mirror(hands.right_hand_pose[B:]),
    )


def merge_head(body: BodyParams, head: HeadParams) -> BodyParams:
    """The body with the head's jaw and as many of its expression coefficients as the body has (spec 3.5)."""
    count = body.expression.shape[-1]
    return replace(body, jaw_pose=head.jaw_pose, expression=head.expression[:, :count])
