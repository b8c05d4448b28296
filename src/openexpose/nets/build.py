"""From a config to networks: the only place where sizes meet classes."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from openexpose.body import BodyModel
from openexpose.errors import ConfigError
from openexpose.extras import load_timm
from openexpose.nets.codec import Codec, body_codec, hand_codec, head_codec
from openexpose.nets.config import LITE_BACKBONES, NetConfig, PartConfig
from openexpose.nets.expose import ExPose
from openexpose.nets.hrnet import HRNetExPose
from openexpose.nets.lift import Lifter
from openexpose.nets.means import Means, mean_vector
from openexpose.nets.params import PARAMS, Part
from openexpose.nets.points import PointBackbone, leg_rows
from openexpose.nets.refine import Refiner
from openexpose.nets.regressor import IterativeRegressor, PartRegressor
from openexpose.skeleton import Skeleton

FAMILY = {"body": "smplx", "hand": "mano", "head": "flame"}
"""Family of body model that each part's params drive."""
FREE_MODELS: Mapping[Part, str] = {"body": "free", "hand": "free-hand", "head": "free-head"}
"""The free model of that family, as `load_model` names it."""


def build_expose(config: NetConfig, body_model: BodyModel, *, means: Means) -> ExPose:
    """The whole model with random weights; load the trained ones next.

    means: where the regressors start; `Means()` for the rest pose. Weights bring their own.
    Raises ConfigError if a part is missing or the body model does not fit the config.
    """
    check_fit(config.part("body"), "body", body_model)
    body, hand, head = (build_part(part, config.part(part), means=means) for part in PARAMS)
    names = [config.part(part).points for part in PARAMS]
    refine = None if config.refine is None else Refiner(config.refine, config.refine_hand, config.refine_head, *names)
    return ExPose(body, hand, head, body_model=body_model, zoom=config.zoom, gate=config.gate, refine=refine)


def build_part(part: Part, config: PartConfig, *, means: Means) -> PartRegressor[Any]:
    """One network with random weights.

    Raises ConfigError if timm does not know the backbone.
    """
    twins = Skeleton(part, config.points).flip_permutation if config.mirror else ()
    backbone, num_features = build_backbone(
        config.backbone, len(config.points), config.fine, twins, config.closer, config.depth
    )
    codec = build_codec(part, config)
    regressor = IterativeRegressor(
        num_features=num_features,
        mean=mean_vector(codec, config, means, is_body=part == "body"),
        width=config.width,
        activation=config.activation,
        steps=config.steps,
        dropout=config.dropout,
    )
    lifter = build_lifter(part, config, codec) if config.lift else None
    return PartRegressor(
        backbone, regressor, codec, crop_px=config.crop_px, fixed_norm=config.fixed_norm, lifter=lifter
    )


LIFTED: Mapping[Part, tuple[str, ...]] = {
    "body": ("global_orient", "body_pose", "betas", "camera"),
    "hand": ("global_orient", "right_hand_pose", "betas", "camera"),
    "head": ("global_orient", "jaw_pose", "betas", "expression", "camera"),
}
"""What can be told from a part's 2D points."""
TOLD: Mapping[Part, tuple[str, ...]] = {"body": (), "hand": ("global_orient", "right_hand_pose"), "head": ()}
"""What a lifter is shown of the first guess: a wrist's turn in space is hard to tell from the hand alone."""


def build_lifter(part: Part, config: PartConfig, codec: Codec[Any]) -> Lifter:
    """The network that corrects the first guess by the part's points, with random weights."""
    columns, told = (
        [i for name in names[part] for i in range(*codec.slices[name].indices(codec.size))] for names in (LIFTED, TOLD)
    )
    legs = leg_rows(config.points)
    return Lifter(num_points=len(config.points), columns=columns, told=told, legs=legs, width=config.lift)


def build_one(part: Part, config: NetConfig, *, means: Means) -> nn.ModuleDict:
    """One network under its part's name, so that its keys are those it has in the whole model."""
    return nn.ModuleDict({part: build_part(part, config.part(part), means=means)})


def build_codec(part: Part, config: PartConfig) -> Codec[Any]:
    """The part's vector layout."""
    if part == "hand":
        return hand_codec(num_betas=config.num_betas, confidence=config.confidence)
    make = body_codec if part == "body" else head_codec
    return make(num_betas=config.num_betas, num_expression=config.num_expression, confidence=config.confidence)


def build_backbone(
    name: str,
    num_points: int = 0,
    fine: int = 0,
    twins: Sequence[int] = (),
    closer: float = 0.0,
    depth: bool = False,
) -> tuple[nn.Module, int]:
    """A picture-to-features network with random weights, and how many features it gives.

    num_points: heatmaps that our own small backbones draw; the others draw none.   fine, twins, closer,
    depth: as `PointBackbone` has them.

    Raises ConfigError if timm does not know the name.
    """
    if name == "hrnet_w48_expose":
        return HRNetExPose(), HRNetExPose.head_hidden_size
    if name in LITE_BACKBONES:
        kind, _, depth_of_trunk = name.partition("_")
        small = PointBackbone(
            num_points=num_points, deep=depth_of_trunk == "deep", kind=kind, fine=fine, twins=twins, closer=closer,
            depth=depth,
        )  # fmt: skip
        return small, small.num_features
    timm: Any = load_timm()
    if not timm.is_model(name):
        raise ConfigError(f"timm has no model {name!r}; `timm.list_models()` names them, ours is 'hrnet_w48_expose'")
    network: nn.Module = timm.create_model(name, pretrained=False, num_classes=0)
    return network, int(network.head_hidden_size)  # type: ignore[arg-type]


def check_fit(config: PartConfig, part: Part, model: BodyModel) -> None:
    """Raises ConfigError unless the model is of the part's family and takes the coefficients the network gives."""
    have = (model.family, model.num_betas, model.num_expression)
    want = (FAMILY[part], config.num_betas, config.num_expression)
    if have != want:
        raise ConfigError(
            f"the {part} network drives a {want[0]} model with {want[1]} betas and {want[2]} expression coefficients; "
            f"{model.label} is {have[0]} with {have[1]} and {have[2]}; "
            f"load_model takes num_betas={want[1]}, num_expression={want[2]}"
        )
