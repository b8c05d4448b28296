"""Networks with their weights, ready to run, out of one file."""

from pathlib import Path
from typing import Any

from openexpose.body import BodyModel
from openexpose.errors import WeightsError
from openexpose.nets.build import build_expose, build_part
from openexpose.nets.expose import ExPose
from openexpose.nets.means import Means
from openexpose.nets.params import Part
from openexpose.nets.regressor import PartRegressor
from openexpose.weights.native import load_checkpointed, load_exactly


def load_expose(path: Path, *, body_model: BodyModel) -> ExPose:
    """The whole model in evaluation mode, built as the weight file says.

    Raises WeightsError if the file is damaged or holds one part alone, ConfigError if the body model does not fit.
    """
    config, state = load_checkpointed(path)
    if len(config.parts) < 3:
        raise WeightsError(
            f"{path} holds the {', '.join(config.parts)} network alone; the whole model needs all three."
        )
    model = build_expose(config, body_model, means=Means())
    load_exactly(model, state, path)
    return model.eval()


def load_part(path: Path, part: Part) -> PartRegressor[Any]:
    """One network in evaluation mode, out of its own weight file or out of a whole model's.

    Raises WeightsError if the file is damaged or holds no such part.
    """
    config, state = load_checkpointed(path)
    if part not in config.parts:
        raise WeightsError(f"{path} holds the {', '.join(config.parts)} network, not the {part}'s.")
    network = build_part(part, config.part(part), means=Means())
    prefix = f"{part}."
    load_exactly(network, {k[len(prefix) :]: v for k, v in state.items() if k.startswith(prefix)}, path)
    return network.eval()
