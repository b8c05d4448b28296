"""From settings to a learner and its data: the only place where presets meet networks, body models and files."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from openexpose import __version__
from openexpose.assets import find
from openexpose.body import BodyModel, load_model
from openexpose.body.side_files import read_means, read_shape_mean
from openexpose.errors import ConfigError
from openexpose.nets.build import FREE_MODELS, build_codec, build_expose, build_part
from openexpose.nets.config import PRESETS as NETWORKS
from openexpose.nets.config import NetConfig, PartConfig
from openexpose.nets.means import Means
from openexpose.nets.params import PARAMS, Part
from openexpose.nets.points import LATER_LAYERS, TRUNKS, PointBackbone
from openexpose.nets.quick_points import quicken_early, quicken_late
from openexpose.nets.regressor import PartRegressor
from openexpose.train.batches import FirstOnly, Source, WithCloseups
from openexpose.train.config import CloseupConfig, TrainConfig
from openexpose.train.files import file_sources
from openexpose.train.learner import Learner, PartLearner, WholeLearner
from openexpose.train.lift import read_lifter
from openexpose.train.side import PartSide
from openexpose.train.toy import TOY_NET, StickPeople
from openexpose.train.whole import LearningExPose
from openexpose.weights.efficientnet_lite import load_efficientnet_lite
from openexpose.weights.models import load_part
from openexpose.weights.movenet import load_movenet
from openexpose.weights.native import CodecTable, Header, Provenance, load_checkpointed, load_exactly
from openexpose.weights.starts import START_FILES, load_start

BODY_FILES = {"body": "smplx/SMPLX_NEUTRAL.npz", "hand": "mano/MANO_RIGHT.pkl", "head": "flame/FLAME_NEUTRAL.pkl"}


def network_config(config: TrainConfig) -> NetConfig:
    """The networks' sizes: the named preset with this run's overrides. ConfigError for an unknown name."""
    known = {**NETWORKS, "toy": lambda: TOY_NET}
    if config.network not in known:
        raise ConfigError(f"no network preset {config.network!r}; there are {', '.join(known)}")
    net = known[config.network]()
    body, hand, head = (None if part is None else _changed(part, config) for part in (net.body, net.hand, net.head))
    return replace(net, body=body, hand=hand, head=head)


def _changed(part: PartConfig, config: TrainConfig) -> PartConfig:
    norm = part.fixed_norm if config.fixed_norm is None else config.fixed_norm
    crop_px = part.crop_px if config.crop_px is None else config.crop_px
    dropout = part.dropout if config.dropout is None else config.dropout
    backbone = part.backbone if config.backbone is None else config.backbone
    return replace(part, backbone=backbone, fixed_norm=norm, dropout=dropout, crop_px=crop_px)


def build_learner(config: TrainConfig) -> Learner:
    """The learner with its starting weights: random ones, ImageNet's, or those of `config.init`.

    Raises ConfigError if something frozen would stay random, AssetError or WeightsError for files.
    """
    net = network_config(config)
    wanted = tuple(config.losses.wanted())
    if config.stage == "whole":
        body = _body_model("body", config, net.part("body"))
        whole = LearningExPose(build_expose(net, body, means=_means(config)), config.disturb)
        learner: Learner = WholeLearner(
            whole, net.part("body"), wanted, frozen=config.freeze.parts, frozen_dropout=config.freeze.dropout,
            closeups=_closeup_sides(config, net),
        )  # fmt: skip
        regressors = {part: getattr(whole, part) for part in PARAMS}
    else:
        part: Part = config.stage
        if config.freeze.parts:
            raise ConfigError(f"freeze.parts={config.freeze.parts}: with one network alone there is nothing to freeze")
        network = build_part(part, net.part(part), means=_means(config))
        body = _body_model(part, config, net.part(part))
        learner = PartLearner(part, network, net.part(part), body, wanted, disturb=config.disturb)
        regressors = {part: network}
    given = _fill(config, net, regressors)
    still_random = [part for part in config.freeze.parts if part not in given]
    if still_random:
        raise ConfigError(
            f"the frozen {', '.join(still_random)} network would keep random weights: give its weights with --init"
        )
    return learner


def header_of(config: TrainConfig, net: NetConfig) -> Header:
    """What the run's weight files say about themselves."""
    codecs: dict[str, CodecTable] = {part: build_codec(part, net.part(part)).table() for part in net.parts}
    note = f"training run of preset {config.preset}, seed {config.seed}"
    family = {"whole": "smplx", "body": "smplx", "hand": "mano", "head": "flame"}[config.stage]
    return Header(
        preset=net.name,
        config=asdict(net),
        codecs=codecs,
        body_family=family,
        provenance=Provenance(layout="trained with openexpose", maker=f"openexpose {__version__}", note=note),
    )


@dataclass(frozen=True)
class Sources:
    """Where training and evaluation batches come from."""

    train: Source
    evaluate: Source | None


def build_sources(config: TrainConfig, learner: Learner) -> Sources:
    """The data of a run. Raises DataError or AssetError if files are missing or unreadable."""
    train, judge = _one_kind(config, learner)
    if config.data.only_first is not None:
        train = judge = FirstOnly(train, config.data.only_first)
    if isinstance(learner, WholeLearner) and learner.closeups:
        parts: dict[Part, tuple[Source, int]] = {}
        for part, closeup in config.closeups.chosen().items():
            side = learner.closeups[part]
            assert isinstance(side, PartSide)
            shares = (1 / len(closeup.sets),) * len(closeup.sets)
            data = replace(
                config.data, train=closeup.sets, shares=shares, photos=closeup.photos, evaluate=(), held_out=0.0
            )
            alone = replace(config, stage=part, data=data, losses=closeup.losses, closeups=CloseupConfig())
            parts[part] = (_one_kind(alone, side)[0], closeup.images)
        train = WithCloseups(train, parts)
    return Sources(train, judge)


def _one_kind(config: TrainConfig, learner: WholeLearner | PartSide) -> tuple[Source, Source | None]:
    """Images of one network, for training and evaluation."""
    if config.data.kind == "toy":
        return _stick_people(config, learner)
    return file_sources(config, network_config(config))


def _closeup_sides(config: TrainConfig, net: NetConfig) -> list[PartSide]:
    """Body models and losses for the parts that also see images of their own."""
    sides = []
    for part, closeup in config.closeups.chosen().items():
        body, wanted = _body_model(part, config, net.part(part)), tuple(closeup.losses.wanted())
        sides.append(PartSide(part, net.part(part), body, wanted, disturb=config.disturb))
    return sides


def _stick_people(config: TrainConfig, learner: WholeLearner | PartSide) -> tuple[Source, Source | None]:
    body = learner.network.body_model if isinstance(learner, WholeLearner) else learner.body_model
    size, crop_px = config.data.samples_per_epoch or 4096, learner.loss.crop_px
    fingers = config.losses.left_hand_pose or config.losses.right_hand_pose
    bodies = "whole people" if fingers else "people"
    kind = {"hand": "hands", "head": "heads", "whole": "whole people"}.get(config.stage, bodies)
    train, judge = (
        StickPeople(body, kind, crop_px=crop_px, seed=config.seed + apart, samples_per_epoch=size)
        for apart in (0, 10**6)
    )
    return train, judge


def _body_model(part: Part, config: TrainConfig, sizes: PartConfig) -> BodyModel:
    if config.body_model == "free":
        source: str | Path = FREE_MODELS[part]
    elif config.body_model == "tree":
        source = find(BODY_FILES[part])
    else:
        given = Path(config.body_model)
        source = given if given.is_file() else given / BODY_FILES[part]
    return load_model(source, num_betas=sizes.num_betas, num_expression=sizes.num_expression)


def _means(config: TrainConfig) -> Means:
    """Where regressors start: the tree's mean poses beside licensed models, the rest pose beside the free ones."""
    if config.body_model == "free" or Path(config.body_model).is_file():
        return Means()
    root = None if config.body_model == "tree" else Path(config.body_model).parent
    return Means.of_tree(read_means(find("all_means.pkl", root)), read_shape_mean(find("shape_mean.npy", root)))


def _start_lite(config: TrainConfig, regressors: Mapping[Part, PartRegressor[Any]]) -> None:
    """Our small backbones from ImageNet, and their first stages frozen if asked for."""
    short = torch.bfloat16 if config.precision == "bf16" else torch.float32
    for part, regressor in regressors.items():
        if not isinstance(regressor.backbone, PointBackbone):
            raise ConfigError(
                "imagenet_file, movenet_file, freeze.early and freeze.depthwise are for `lite` networks; "
                f"the {part}'s is another"
            )
        trunk = regressor.backbone.trunk
        if config.imagenet_file is not None:
            load_efficientnet_lite(trunk, config.imagenet_file, like=TRUNKS["lite0"].network().state_dict())
        if config.movenet_file is not None:
            load_movenet(trunk, config.movenet_file)
        if config.freeze.early:
            regressor.backbone.freeze_early()
            quicken_early(regressor.backbone.trunk, short)
        if config.freeze.depthwise:
            regressor.backbone.freeze_depthwise()
        quicken_late(regressor.backbone.trunk, short)


def _start_backbones(path: Path, regressors: Mapping[Part, PartRegressor[Any]]) -> None:
    """Backbones and lifters from another network's file, which may lack the map at stride 4 and depths."""
    for part, regressor in regressors.items():
        source = load_part(path, part)
        held, own = source.backbone.state_dict(), regressor.backbone.state_dict()
        other = [name for name, tensor in held.items() if name not in own or own[name].shape != tensor.shape]
        other += [name for name in own if name not in held and name.split(".")[0] not in LATER_LAYERS]
        if other:
            raise ConfigError(f"{path}: the {part}'s backbone is of another kind: {', '.join(other[:3])} ...")
        regressor.backbone.load_state_dict(held, strict=False)
        if regressor.lifter is not None and source.lifter is not None:
            load_exactly(regressor.lifter, source.lifter.state_dict(), path)


def _fill(config: TrainConfig, net: NetConfig, regressors: Mapping[Part, PartRegressor[Any]]) -> set[Part]:
    """Put in ImageNet's backbones if asked for, then the files of `config.init`; the parts that came from these."""
    if config.imagenet:
        for part, regressor in regressors.items():
            name = net.part(part).backbone
            if name not in START_FILES:
                raise ConfigError(f"no ImageNet file is known for the backbone {name}; use --no-imagenet")
            load_start(regressor.backbone, find(START_FILES[name]))
    if config.imagenet_file or config.movenet_file or config.freeze.early or config.freeze.depthwise:
        _start_lite(config, regressors)
    if config.init_backbone is not None:
        _start_backbones(config.init_backbone, regressors)
    if config.lifter is not None:
        owner, tensors = read_lifter(config.lifter)
        mine = regressors.get(owner)
        if mine is None or mine.lifter is None:
            raise ConfigError(f"--lifter {config.lifter}: this run has no {owner} network with a lifter")
        load_exactly(mine.lifter, tensors, config.lifter)
    given: set[Part] = set()
    for path in config.init:
        held, _ = load_checkpointed(path)
        useful = [part for part in held.parts if part in regressors]
        if not useful:
            raise ConfigError(f"{path} holds the {', '.join(held.parts)} network; this run has {', '.join(regressors)}")
        for part in useful:
            load_exactly(regressors[part], load_part(path, part).state_dict(), path)
        given.update(useful)
    return given
