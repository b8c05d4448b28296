"""The whole model while it learns: the original ExPose's disturbances of where the parts look and start (A6).

In the reference the part networks always see the crops and first guesses that the body network gives them. The
original disturbs both, so that the parts learn to correct. Off unless asked for.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from openexpose.body import Posed
from openexpose.geometry.rotations import axis_angle_to_matrix, matrix_to_sixd, sixd_to_matrix
from openexpose.nets.attention import HEAD_POINTS, LEFT_HAND_POINTS, RIGHT_HAND_POINTS, Look
from openexpose.nets.codec import Codec, Estimate
from openexpose.nets.expose import ExPose
from openexpose.nets.params import BodyParams, HandParams, HeadParams
from openexpose.train.config import DisturbConfig


class LearningExPose(ExPose):
    """ExPose with disturbed looks and starts in training mode; in evaluation mode it is ExPose."""

    def __init__(self, calm: ExPose, disturb: DisturbConfig) -> None:
        """calm: the model whose networks these are."""
        parts = (calm.body, calm.hand, calm.head)
        super().__init__(*parts, body_model=calm.body_model, zoom=calm.zoom, gate=calm.gate, refine=calm.refine)
        self.disturb = disturb

    def posed(self, params: BodyParams) -> Posed:
        """The body model in these params; numbers that are none are left to the losses, which then say so."""
        return self.body_model.shape(params.betas, params.expression).pose(torch.nan_to_num(params.R_parent_child()))

    def points_px(self, params: BodyParams, camera: Float[Tensor, "B 3"], look: Look) -> Float[Tensor, "B K 2"]:
        """Keypoints in the body crop; in training each part's are shifted and scaled together."""
        points_px = super().points_px(params, camera, look)
        if not self.training or (self.disturb.shift == 0 and self.disturb.scale == 0):
            return points_px
        out = points_px.clone()
        for subset in (RIGHT_HAND_POINTS, LEFT_HAND_POINTS, HEAD_POINTS):
            part = points_px[:, list(subset)]
            low, high = part.amin(1, keepdim=True), part.amax(1, keepdim=True)
            side_px = (high - low).amax(-1, keepdim=True)
            shift = self.disturb.shift * (2 * torch.rand_like(low) - 1) * side_px
            scale = (1 + self.disturb.scale * torch.randn_like(side_px)).clamp(
                1 - self.disturb.scale, 1 + self.disturb.scale
            )
            out[:, list(subset)] = (part - (low + high) / 2) * scale + (low + high) / 2 + shift
        return out

    def hand_start(self, body: Estimate[BodyParams]) -> Float[Tensor, "B2 D"]:
        """First guesses for the hand network."""
        return self._disturbed(super().hand_start(body), self.hand.codec, self.disturb.hand_turn_rad)

    def head_start(self, body: Estimate[BodyParams]) -> Float[Tensor, "B D"]:
        """First guesses for the head network."""
        return self._disturbed(super().head_start(body), self.head.codec, self.disturb.head_turn_rad)

    def _disturbed(
        self, start: Float[Tensor, "B D"], codec: Codec[HandParams] | Codec[HeadParams], most_rad: float
    ) -> Float[Tensor, "B D"]:
        """Each kind of number, with the given probability, by its own noise; rows independently."""
        p = self.disturb.probability
        if not self.training or p == 0:
            return start
        out, rows = start.clone(), len(start)
        for name, spread in (("betas", 1.0), ("expression", 1.0)):
            if name in codec.slices:
                chosen = (torch.rand(rows, 1, device=start.device) < p).to(start)
                out[:, codec.slices[name]] += spread * chosen * torch.randn_like(start[:, codec.slices[name]])
        turn_rad = {
            "global_orient": most_rad,
            "right_hand_pose": self.disturb.finger_rad,
            "jaw_pose": self.disturb.jaw_rad,
        }
        for block in codec.blocks:
            if block.kind == "rotation" and turn_rad[block.name] > 0:
                place = codec.slices[block.name]
                R = sixd_to_matrix(start[:, place].reshape(rows, block.count, 6))
                turned = axis_angle_to_matrix(_turns(block.name, rows, block.count, turn_rad[block.name], start)) @ R
                chosen = torch.rand(rows, 1, device=start.device) < p
                out[:, place] = torch.where(chosen, matrix_to_sixd(turned).flatten(1), start[:, place])
        return out


def _turns(name: str, rows: int, joints: int, most_rad: float, like: Tensor) -> Float[Tensor, "B J 3"]:
    """Random rotations as axis times angle: the jaw only opens, fingers wiggle, the root turns about the view axis."""
    turns = torch.zeros(rows, joints, 3, dtype=like.dtype, device=like.device)
    if name == "right_hand_pose":
        return most_rad * torch.randn_like(turns)
    if name == "jaw_pose":
        turns[..., 0] = most_rad * torch.rand_like(turns[..., 0])
    else:
        turns[..., 2] = most_rad * (2 * torch.rand_like(turns[..., 2]) - 1)
    return turns
