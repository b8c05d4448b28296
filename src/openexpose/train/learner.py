"""A network together with its body model and losses: batch in, terms out. What DDP and FSDP wrap."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from openexpose.body import BodyModel
from openexpose.errors import DataError
from openexpose.geometry.camera import weak_project
from openexpose.losses.network import Name, NetworkLoss, PartCrop
from openexpose.losses.terms import Term
from openexpose.nets.attention import Look, Squares
from openexpose.nets.build import check_fit
from openexpose.nets.config import PartConfig
from openexpose.nets.expose import ExPose, WholeEstimate
from openexpose.nets.params import BodyParams, HandParams, HeadParams, Part
from openexpose.nets.points import PointBackbone
from openexpose.nets.regressor import PartRegressor
from openexpose.skeleton import J14_EXTRAS
from openexpose.train.batch import Batch
from openexpose.train.config import DisturbConfig
from openexpose.train.side import PartSide, labelled_points_m, measure


@runtime_checkable
class Autocast(Protocol):
    """Makes a context in which matrix products run in a shorter format (`Fabric.autocast`)."""

    def __call__(self) -> AbstractContextManager[Any]: ...


class PartLearner(PartSide):
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
        """As `PartSide`, with the network that learns."""
        super().__init__(part, config, body_model, wanted, disturb=disturb)
        self.network = nn.ModuleDict({part: network})

    def forward(self, batch: Batch) -> dict[str, Term]:
        """The wanted losses; in eval mode also the metrics that the labels allow."""
        with torch.autocast(batch.crops.device.type, enabled=False):
            return self.terms(self._network, batch)

    def answer(self, batch: Batch) -> tuple[BodyParams | HandParams | HeadParams, Tensor, Tensor]:
        """Params, keypoints in metres, and the same projected to [-1, 1] over the crop."""
        estimate, points_m, points_u = self.estimate(self._network, batch)
        return estimate.params, points_m, points_u

    @property
    def _network(self) -> PartRegressor[Any]:
        network = self.network[self.part]
        assert isinstance(network, PartRegressor)
        return network


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
        closeups: Sequence[PartSide] = (),
    ) -> None:
        """config: of the body network.   frozen: parts that do not learn.

        frozen_dropout: dropout acts in frozen parts while the others train, as in the reference (docs/parity.md).
        closeups: for parts that also learn from images of their own.
        """
        super().__init__()
        self.closeups = nn.ModuleDict({side.part: side for side in closeups})
        check_fit(config, "body", network.body_model)
        self.network, self.frozen, self.frozen_dropout = network, tuple(frozen), frozen_dropout
        self.lsp = bool(config.points)
        names = (*network.body_model.keypoint_names, *(J14_EXTRAS if self.lsp else ()))
        self.loss = NetworkLoss(names, wanted, crop_px=network.body.crop_px, points=config.points)
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
        """The wanted losses on the merged answer, and those of close-ups as "hand/keypoints2d".

        In eval mode also the metrics that the labels allow.
        """
        with torch.autocast(batch.crops.device.type, enabled=False):
            whole, points_m, points_u, crops = self.answer(batch)
            terms: dict[str, Term] = self.loss(
                whole.params, points_m, points_u, batch.targets, crops, seen=whole.body.points
            )
            for part, small in batch.closeups.items():
                side = self.closeups[part]
                assert isinstance(side, PartSide)
                terms |= {f"{part}/{n}": t for n, t in side.terms(getattr(self.network, part), small).items()}
            return terms if self.training else terms | measure(points_m, points_u, batch.targets, self.loss)

    def answer(self, batch: Batch) -> tuple[WholeEstimate, Tensor, Tensor, dict[Part | str, PartCrop]]:
        """What the network says, keypoints in metres and over the crop, and where the parts were looked at.

        Raises DataError if the batch came without photos.
        """
        if batch.photos is None:
            raise DataError("the whole network looks at the photos again, and this batch has crops only")
        look = Look(batch.crops, batch.photos.pixels, batch.photos.T_crop_photo, batch.photos.side_px)
        whole = self.network(look)
        points_m = labelled_points_m(self.network.posed(whole.params), lsp=self.lsp)
        T_photo_crop = torch.linalg.inv(as_3x3(look.T_crop_photo))
        squares: dict[str, Squares] = {
            "left_hand": whole.left_hand_square,
            "right_hand": whole.right_hand_square,
            "head": whole.head_square,
        }
        crops = {part: PartCrop(T_photo_crop, square.side_px) for part, square in squares.items()}
        return whole, points_m, weak_project(points_m, whole.camera), crops


Learner = PartLearner | WholeLearner


def shorten_backbones(learner: nn.Module, autocast: Autocast) -> None:
    """Run the backbones inside `autocast`; regressors, body models and losses stay in float32.

    And the trunks of our small backbones, whose depthwise filters would be slower: they have `nets.quick_points`.
    """
    for module in learner.modules():
        if isinstance(module, PartRegressor):
            name = "drawn" if isinstance(module.backbone, PointBackbone) else "forward"
            setattr(module.backbone, name, _under(autocast, getattr(module.backbone, name)))


def as_3x3(T: Float[Tensor, "B 2 3"]) -> Float[Tensor, "B 3 3"]:
    """Affine maps with their last row 0 0 1."""
    return torch.cat([T, T.new_tensor([0.0, 0.0, 1.0]).expand(len(T), 1, 3)], 1)


def _under(autocast: Autocast, function: Any) -> Any:
    def inside(*args: Any) -> Any:
        with autocast():
            return function(*args)

    return inside
