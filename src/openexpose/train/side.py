"""What one network is judged by: its body model, its losses, and where its first guesses come from."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from openexpose.body import BodyModel, Posed
from openexpose.errors import ConfigError
from openexpose.geometry.camera import weak_project
from openexpose.geometry.rotations import axis_angle_to_matrix, matrix_to_sixd
from openexpose.losses import terms
from openexpose.losses.network import Name, NetworkLoss, Target
from openexpose.losses.terms import Term, people
from openexpose.nets.build import check_fit
from openexpose.nets.codec import Codec, Estimate
from openexpose.nets.config import PartConfig
from openexpose.nets.params import HandParams, HeadParams, Part
from openexpose.nets.regressor import PartRegressor
from openexpose.skeleton import J14_EXTRAS
from openexpose.train.batch import Batch
from openexpose.train.config import DisturbConfig

HEAD_JAW = 2
"""Joint of FLAME and FreeHead."""
EXPRESSION_OF_BODIES = 10
"""Coefficients that bodies take over from heads (spec 3.5)."""


class PartSide(nn.Module):
    """Body model and losses of one part. Holds no weights, so the network may belong to someone else."""

    def __init__(
        self, part: Part, config: PartConfig, body_model: BodyModel, wanted: Sequence[Name], *, disturb: DisturbConfig
    ) -> None:
        """wanted: losses to compute.   disturb: with a probability of its own, rows start near the truth, not the mean.

        Raises ConfigError if the body model does not fit the network.
        """
        super().__init__()
        check_fit(config, part, body_model)
        self.part: Part = part
        self.body_model, self.disturb = body_model, disturb
        self.lsp = part == "body" and bool(config.points)
        names = (*body_model.keypoint_names, *J14_EXTRAS) if self.lsp else body_model.keypoint_names
        self.loss = NetworkLoss(names, wanted, crop_px=config.crop_px, points=config.points)
        if "surface" in wanted and part == "body":
            raise ConfigError("the loss surface is for hands and heads: a body's vertices follow its joints")
        self.surface = OwnSurface(body_model) if "surface" in wanted else None

    def terms(self, network: PartRegressor[Any], batch: Batch) -> dict[str, Term]:
        """The wanted losses of a network's answers; in eval mode also the metrics that the labels allow."""
        estimate, points_m, points_u = self.estimate(network, batch)
        found: dict[str, Term] = self.loss(estimate.params, points_m, points_u, batch.targets, seen=estimate.points)
        if self.surface is not None:
            found["surface"] = self.surface.apart(estimate.params, batch.targets)
        return found if self.training else found | measure(points_m, points_u, batch.targets, self.loss)

    def estimate(self, network: PartRegressor[Any], batch: Batch) -> tuple[Estimate[Any], Tensor, Tensor]:
        """What the network says, keypoints in metres, and the same projected to [-1, 1] over the crop."""
        start = None
        if self.training and self.disturb.probability > 0:
            start = near_truth(network.regressor.mean_param, network.codec, batch.targets, self.disturb)
        estimate = network(batch.crops, start)
        params = estimate.params
        shaped = self.body_model.shape(params.betas, None if isinstance(params, HandParams) else params.expression)
        posed = shaped.pose(torch.nan_to_num(params.R_parent_child()))
        points = labelled_points_m(posed, lsp=self.lsp)
        return estimate, points, weak_project(points, estimate.camera)


def labelled_points_m(posed: Posed, *, lsp: bool) -> Float[Tensor, "B K 3"]:
    """The keypoints, metres; lsp: and LSP's own after them."""
    points = posed.keypoints_m()
    return torch.cat([points, posed.regressed_m("j14")[:, list(J14_EXTRAS.values())]], 1) if lsp else points


class OwnSurface:
    """Some vertices of a hand or head in the part's own frame: what its fingers or its face do, wherever it looks."""

    def __init__(self, model: BodyModel, vertices: int = 400) -> None:
        """vertices: how many, spread evenly over the model's list."""
        self.model = model
        self.patch = model.surface.take(torch.arange(0, model.num_vertices, max(1, model.num_vertices // vertices)))

    def apart(self, params: HandParams | HeadParams, targets: Mapping[str, Target]) -> Term:
        """How far they are from the true ones, mm (`losses.terms.surface`).

        A head's twice, added: as it is, and with the true shape and no more expression than a body takes over. As far
        as the part's keypoints are seen. Rows without labels of the pose count nothing.
        """
        label = "right_hand_pose" if isinstance(params, HandParams) else "expression"
        names = ("betas", label) if isinstance(params, HandParams) else ("betas", label, "jaw_pose")
        own = {name: getattr(params, name).float() for name in names}
        true = {name: targets[name].value.view_as(own[name]) for name in names}
        weight = targets["keypoints2d"].value[..., 2].mean(1)
        weight = weight * torch.stack([targets[name].weight for name in names]).prod(0)
        wanted_m = self.vertices_m(true)
        found = terms.surface(self.vertices_m(own), wanted_m, weight)
        if isinstance(params, HandParams):
            return found
        taken = torch.arange(own[label].shape[1], device=weight.device) < EXPRESSION_OF_BODIES
        merged = self.vertices_m({"betas": true["betas"], label: own[label] * taken, "jaw_pose": own["jaw_pose"]})
        return Term(found.summed + terms.surface(merged, wanted_m, weight).summed, found.over)

    def vertices_m(self, numbers: Mapping[str, Tensor]) -> Float[Tensor, "B V 3"]:
        """numbers: the params' by name, rotations as matrices."""
        rows = len(numbers["betas"])
        R = torch.eye(3, device=numbers["betas"].device).repeat(rows, self.model.num_joints, 1, 1)
        if "jaw_pose" in numbers:
            R[:, HEAD_JAW] = numbers["jaw_pose"].view(rows, 3, 3)
        else:
            R[:, 1:] = numbers["right_hand_pose"].view(rows, -1, 3, 3)
        posed = self.model.shape(numbers["betas"], numbers.get("expression")).pose(R)
        return posed.surface_points(self.patch.to(R.device))


def near_truth(
    mean: Float[Tensor, "1 D"], codec: Codec[Any], targets: Mapping[str, Target], disturb: DisturbConfig
) -> Float[Tensor, "B D"]:
    """First guesses as a body network would hand them over: some rows' labelled numbers, turned and shifted by noise.

    Each block of each row is taken with `disturb.probability`; unlabelled ones start from the mean.
    """
    rows = len(next(iter(targets.values())).weight)
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


def measure(
    points_m: Float[Tensor, "B K 3"],
    points_u: Float[Tensor, "B K 2"],
    targets: Mapping[str, Target],
    loss: NetworkLoss,
) -> dict[str, Term]:
    """Mean distance of labelled points: `points_px` in the crop, `joints_mm` seen from hips, wrist, or point 0."""
    found = {}
    if "keypoints2d" in targets:
        value, weight = targets["keypoints2d"]
        apart_px = ((points_u + 1) / 2 * (loss.crop_px - 1) - value[..., :2]).norm(dim=-1)
        seen = weight[:, None] * (value[..., 2] > 0)
        found["points_px"] = Term((seen * apart_px).sum(), people(seen))
    if "keypoints3d" in targets:
        value, weight = targets["keypoints3d"]
        root = list(loss.root or (0, 0))
        apart_m = (points_m - points_m[:, root].mean(1, keepdim=True)) - (
            value[..., :3] - value[:, root, :3].mean(1, keepdim=True)
        )
        seen = weight[:, None] * (value[..., 3] > 0)
        found["joints_mm"] = Term((seen * 1000 * apart_m.norm(dim=-1)).sum(), people(seen))
    return found
