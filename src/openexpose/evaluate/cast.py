"""Which network answers, and which body model its answers drive: said under every table, never assumed silently."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from openexpose.body import BodyModel, Posed, load_model
from openexpose.errors import ConfigError
from openexpose.evaluate.answers import Alone, Answerer, Answers, Params, Whole
from openexpose.nets.build import FREE_MODELS, check_fit
from openexpose.nets.config import NetConfig
from openexpose.nets.fast import speed_up, speed_up_part
from openexpose.nets.params import HandParams, Part
from openexpose.weights.models import load_expose, load_part
from openexpose.weights.native import Header, config_of, read_header

TrainedOn = Literal["auto", "free", "licensed"]
"""The body models that weights were trained for: ours (FreeBody, FreeHand, FreeHead), or SMPL-X, MANO and FLAME."""
Transfer = Literal["none", "pose"]
"""pose: rotations of the answer drive the benchmark's body model in its mean shape, without expression."""
TOPOLOGY = ("ehf", "freihand")
"""Benchmarks that compare vertices one by one: both sides must be meshes of one body model."""


@dataclass(frozen=True, eq=False)
class Cast:
    """The network of one benchmark, and what poses its answers."""

    answerer: Answerer
    part: Part
    model: BodyModel
    """What is scored."""
    keeps_shape: bool
    """False: only rotations are used (`Transfer`)."""
    file: Path | None
    """Where that model came from; None if it ships."""
    said: tuple[str, ...]

    def posed(self, answers: Answers, rows: slice) -> Posed:
        """Some of the answers as bodies, hands or heads about their own origin, in camera axes."""
        with torch.inference_mode():
            return posed(self.model, answers.some(rows), keeps_shape=self.keeps_shape)


def posed(model: BodyModel, params: Params, *, keeps_shape: bool = True) -> Posed:
    """The body model in these params. keeps_shape=False: rotations alone, in the model's mean shape."""
    R = params.R_parent_child()
    if not keeps_shape:
        return model.shape().pose(R)
    expression = None if isinstance(params, HandParams) else params.expression
    return model.shape(params.betas, expression).pose(R)


def load_cast(
    weights: Path,
    benchmark: str,
    part: Part,
    *,
    whole: bool,
    body_model: Path | None,
    trained_on: TrainedOn,
    transfer: Transfer,
    fast: bool,
    device: torch.device,
) -> Cast:
    """The network for a benchmark out of a weight file.

    whole: the whole model, else the network of `part` alone. body_model: the licensed file that the benchmark uses;
    None where the answers need none (a free model is scored).
    Raises WeightsError (file), ConfigError if the answers would drive the wrong body model.
    """
    header = read_header(weights).header
    config = config_of(header, weights)
    speaks = spoken_by(header, weights.name) if trained_on == "auto" else trained_on
    _check(benchmark, weights, speaks, transfer)
    transferred = speaks == "free" and transfer == "pose"
    own = _model(config, part, FREE_MODELS[part] if speaks == "free" else _needed(body_model, benchmark))
    check_fit(config.part(part), part, own)
    scored = _model(config, part, _needed(body_model, benchmark)) if transferred else own
    answerer: Answerer
    if whole:
        network = load_expose(weights, body_model=own).to(device)
        answerer = Whole(speed_up(network) if fast else network)
    else:
        alone: Any = load_part(weights, part).to(device)
        answerer = Alone(speed_up_part(alone) if fast else alone)
    what = "the whole model" if whole else f"the {part} network alone, from its own mean"
    said = [f"weights: {weights.name} (preset {header.preset}), {what}", f"body model of the answers: {own.label}"]
    if transferred:
        said.append(
            f"transferred: only the rotations of {own.label} are used; they turn the same joints of {scored.label} in "
            "its mean shape, without expression. Shape is not predicted in this row"
        )
    said += _about(scored)
    file = body_model if transferred or speaks == "licensed" else None
    return Cast(answerer, part, scored, not transferred, file, tuple(said))


def spoken_by(header: Header, name: str) -> Literal["free", "licensed"]:
    """Which body models a weight file was trained for, as far as its header tells.

    Raises ConfigError if it does not.
    """
    layout, note = header.provenance.layout, header.provenance.note
    trained_by = note.removeprefix("training run of preset ").split(",")[0] if note.startswith("training run") else ""
    if layout.startswith(("mmhuman3d", "original")):
        return "licensed"
    if trained_by.startswith(("hrnet_hmr", "resnet18_hmr", "expose")):
        return "licensed"
    if header.preset.startswith("lite") or trained_by.startswith("lite"):
        return "free"
    raise ConfigError(
        f"{name} does not say which body models it was trained for. Say --trained-on free (FreeBody) or "
        "--trained-on licensed (SMPL-X, MANO, FLAME)"
    )


def _check(benchmark: str, weights: Path, speaks: str, transfer: Transfer) -> None:
    if transfer == "pose" and speaks == "licensed":
        raise ConfigError(f"{weights.name} already speaks the benchmark's body model; leave --transfer away")
    if transfer == "pose" and benchmark.startswith("stirling"):
        raise ConfigError("Stirling/ESRC measures shape, and --transfer pose drops it; FreeHead is scored as it is")
    if speaks == "free" and transfer == "none" and benchmark in TOPOLOGY:
        theirs, ours = ("SMPL-X", "FreeBody") if benchmark == "ehf" else ("MANO", "FreeHand")
        raise ConfigError(
            f"{weights.name} predicts {ours}, and {benchmark} compares the vertices of {theirs}: the meshes do not "
            f"correspond. --transfer pose scores its rotations on {theirs}'s mean shape and says so; weights trained "
            f"with {theirs} need --trained-on licensed"
        )


def _model(config: NetConfig, part: Part, source: str | Path) -> BodyModel:
    sizes = config.part(part)
    return load_model(source, num_betas=sizes.num_betas, num_expression=sizes.num_expression)


def _needed(body_model: Path | None, benchmark: str) -> Path:
    if body_model is None:
        raise ConfigError(f"{benchmark} needs a licensed body model; `openexpose doctor` shows where to get it")
    return body_model


def _about(model: BodyModel) -> Sequence[str]:
    if "v1.0" in model.label and model.family == "smplx":
        return (
            f"{model.label} (20 shape columns): the reference asks for v1.1, whose betas and expressions are other "
            "numbers; vertices and joints correspond",
        )
    return ()
