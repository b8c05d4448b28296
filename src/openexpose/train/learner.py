"""A network together with its body model and losses: batch in, terms out. What DDP and FSDP wrap."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from openexpose.body import BodyModel
from openexpose.errors import DataError
from openexpose.geometry.camera import weak_project
from openexpose.geometry.rotations import axis_angle_to_matrix, matrix_to_sixd
from openexpose.losses.network import Name, NetworkLoss, PartCrop, Target
from openexpose.losses.terms import Term, people
from openexpose.nets.attention import Look, Squares
from openexpose.nets.build import check_fit
from openexpose.nets.codec import Codec, Estimate
from openexpose.nets.config import PartConfig
from openexpose.nets.expose import ExPose
from openexpose.nets.params import BodyParams, HandParams, HeadParams, Part
from openexpose.nets.regressor import PartRegressor
from openexpose.train.batch import Batch
from openexpose.train.config import DisturbConfig

LSP_EXTRA_ROWS, LSP_EXTRA_NAMES = (2, 3, 12, 13), ("right_hip_extra", "left_hip_extra", "neck_extra", "headtop")
"""Points of a J14 regressor that are no keypoints of SMPL-X: rows and names (as in the convention `smplx_lsp`)."""


@runtime_checkable
class Autocast(Protocol):
    """Makes a context in which matrix products run in a shorter format (`Fabric.autocast`)."""

    def __call__(self) -> AbstractContextManager[Any]: ...


class PartLearner(nn.Module):
    """One of the three networks alone."""

    def __init__(
        self,
        part: Part,
        network: PartRegressor[Any],
        config: PartConfig,
        body_model: BodyModel,
        wanted: Sequence[Name],
        *,
        disturb: DisturbConfig,
    ) -> None:
        """wanted: losses to compute.   disturb: with a probability of its own, rows start near the truth, not the mean.

        Raises ConfigError if the body model does not fit the network.
        """
        super().__init__()
        check_fit(config, part, body_model)
        self.part: Part = part
        self.network = nn.ModuleDict({part: network})
        self.body_model, self.disturb = body_model, disturb
        self.lsp = part == "body" and bool(config.points)
        names = (*body_model.keypoint_names, *LSP_EXTRA_NAMES) if self.lsp else body_model.keypoint_names
        self.loss = NetworkLoss(names, wanted, crop_px=network.crop_px, points=config.points)

    def forward(self, batch: Batch) -> dict[str, Term]:
        """The wanted losses; in eval mode also the metrics that the labels allow."""
        with torch.autocast(batch.crops.device.type, enabled=False):
            estimate, points_m, points_u = self._estimate(batch)
            terms = self.loss(estimate.params, points_m, points_u, batch.targets, seen=estimate.points)
            return terms if self.training else terms | measure(points_m, points_u, batch.targets, self.loss)

    def answer(self, batch: Batch) -> tuple[BodyParams | HandParams | HeadParams, Tensor, Tensor]:
        """Params, keypoints in metres, and the same projected to [-1, 1] over the crop."""
        estimate, points_m, points_u = self._estimate(batch)
        return estimate.params, points_m, points_u

    def _estimate(self, batch: Batch) -> tuple[Estimate[Any], Tensor, Tensor]:
        network: PartRegressor[Any] = self.network[self.part]  # type: ignore[assignment]
        start = None
        if self.training and self.disturb.probability > 0:
            start = near_truth(network.regressor.mean_param, network.codec, batch.targets, self.disturb)
        estimate = network(batch.crops, start)
        params = estimate.params
        shaped = self.body_model.shape(params.betas, None if isinstance(params, HandParams) else params.expression)
        posed = shaped.pose(torch.nan_to_num(params.R_parent_child()))
        points_m = posed.keypoints_m()
        if self.lsp:
            points_m = torch.cat([points_m, posed.regressed_m("j14")[:, list(LSP_EXTRA_ROWS)]], 1)
        return estimate, points_m, weak_project(points_m, estimate.camera)


def near_truth(
    mean: Float[Tensor, "1 D"], codec: Codec[Any], targets: Mapping[str, Target], disturb: DisturbConfig
) -> Float[Tensor, "B D"]:
    """First guesses as a body network would hand them over: some rows' labelled numbers, turned and shifted by noise.

    Each block of each row is taken with `disturb.probability`; unlabelled ones start from the mean.
    """
    rows = len(targets["keypoints2d"].weight)
    start = mean.expand(rows, -1).clone()
    turn_rad = {"global_orient": disturb.hand_turn_rad, "right_hand_pose": disturb.finger_rad,
                "jaw_pose": disturb.jaw_rad}  # fmt: skip
    for block in codec.blocks:
        if block.name not in targets or (block.kind == "rotation" and turn_rad.get(block.name, 0) == 0):
            continue
        value, weight = targets[block.name]
        if block.kind == "rotation":
            R = value.reshape(rows, block.count, 3, 3)
            noise = turn_rad[block.name] / 2 * torch.randn(rows, block.count, 3, dtype=R.dtype, device=R.device)
            value = matrix_to_sixd(axis_angle_to_matrix(noise) @ R).flatten(1)
        elif block.name == "expression":
            value = value[:, : block.width] + 0.5 * torch.randn_like(value[:, : block.width])
        else:
            continue
        chosen = (torch.rand(rows, 1, device=value.device) < disturb.probability) & (weight[:, None] > 0)
        start[:, codec.slices[block.name]] = torch.where(chosen, value, start[:, codec.slices[block.name]])
    return start


class WholeLearner(nn.Module):
    """All three networks, some of them frozen."""

    def __init__(
        self,
        network: ExPose,
        config: PartConfig,
        wanted: Sequence[Name],
        *,
        frozen: Sequence[Part],
        frozen_dropout: bool,
    ) -> None:
        """config: of the body network.   frozen: parts that do not learn.

        frozen_dropout: dropout acts in frozen parts while the others train, as in the reference (docs/parity.md).
        """
        super().__init__()
        check_fit(config, "body", network.body_model)
        self.network, self.frozen, self.frozen_dropout = network, tuple(frozen), frozen_dropout
        self.loss = NetworkLoss(network.body_model.keypoint_names, wanted, crop_px=network.body.crop_px)
        for part in self.frozen:
            getattr(network, part).requires_grad_(requires_grad=False)

    def train(self, mode: bool = True) -> "WholeLearner":
        """As usual, but frozen parts are quiet unless their dropout is asked for."""
        super().train(mode)
        if not self.frozen_dropout:
            for part in self.frozen:
                getattr(self.network, part).eval()
        return self

    def forward(self, batch: Batch) -> dict[str, Term]:
        """The wanted losses, all on the merged answer; in eval mode also the metrics that the labels allow."""
        with torch.autocast(batch.crops.device.type, enabled=False):
            params, points_m, points_u, crops = self.answer(batch)
            terms = self.loss(params, points_m, points_u, batch.targets, crops)
            return terms if self.training else terms | measure(points_m, points_u, batch.targets, self.loss)

    def answer(self, batch: Batch) -> tuple[BodyParams, Tensor, Tensor, dict[Part | str, PartCrop]]:
        """Merged params, keypoints in metres and over the crop, and where the parts were looked at.

        Raises DataError if the batch came without photos.
        """
        if batch.photos is None:
            raise DataError("the whole network looks at the photos again, and this batch has crops only")
        look = Look(batch.crops, batch.photos.pixels, batch.photos.T_crop_photo, batch.photos.side_px)
        whole = self.network(look)
        points_m = self.network.posed(whole.params).keypoints_m()
        T_photo_crop = torch.linalg.inv(as_3x3(look.T_crop_photo))
        squares: dict[str, Squares] = {
            "left_hand": whole.left_hand_square,
            "right_hand": whole.right_hand_square,
            "head": whole.head_square,
        }
        crops = {part: PartCrop(T_photo_crop, square.side_px) for part, square in squares.items()}
        return whole.params, points_m, weak_project(points_m, whole.camera), crops


Learner = PartLearner | WholeLearner


def shorten_backbones(learner: nn.Module, autocast: Autocast) -> None:
    """Run the backbones inside `autocast`; regressors, body models and losses stay in float32."""
    for module in learner.modules():
        if isinstance(module, PartRegressor):
            module.backbone.forward = _under(autocast, module.backbone.forward)


def measure(
    points_m: Float[Tensor, "B K 3"],
    points_u: Float[Tensor, "B K 2"],
    targets: Mapping[str, Target],
    loss: NetworkLoss,
) -> dict[str, Term]:
    """Mean distance of labelled points: `points_px` in the crop, `joints_mm` seen from the hips (or from point 0)."""
    found = {}
    if "keypoints2d" in targets:
        value, weight = targets["keypoints2d"]
        apart_px = ((points_u + 1) / 2 * (loss.crop_px - 1) - value[..., :2]).norm(dim=-1)
        seen = weight[:, None] * (value[..., 2] > 0)
        found["points_px"] = Term((seen * apart_px).sum(), people(seen))
    if "keypoints3d" in targets:
        value, weight = targets["keypoints3d"]
        root = list(loss.hips or (0, 0))
        apart_m = (points_m - points_m[:, root].mean(1, keepdim=True)) - (
            value[..., :3] - value[:, root, :3].mean(1, keepdim=True)
        )
        seen = weight[:, None] * (value[..., 3] > 0)
        found["joints_mm"] = Term((seen * 1000 * apart_m.norm(dim=-1)).sum(), people(seen))
    return found


def as_3x3(T: Float[Tensor, "B 2 3"]) -> Float[Tensor, "B 3 3"]:
    """Affine maps with their last row 0 0 1."""
    return torch.cat([T, T.new_tensor([0.0, 0.0, 1.0]).expand(len(T), 1, 3)], 1)


def _under(autocast: Autocast, function: Any) -> Any:
    def inside(*args: Any) -> Any:
        with autocast():
            return function(*args)

    return inside
