"""Networks that several tests share; built and filled once."""

import pytest
import torch

import toy_models
from golden_assets import golden_assets
from nets import golden
from nets.tiny import tiny_config
from openexpose.body import BodyModel, load_model
from openexpose.nets import build, config
from openexpose.nets.expose import ExPose
from openexpose.nets.hrnet import HRNetExPose
from openexpose.nets.means import Means


@pytest.fixture(scope="session")
def golden_expose() -> ExPose:
    """The whole model with recipe weights on the set's synthetic SMPL-X."""
    body_model = load_model(golden_assets() / "body_models" / "smplx" / "SMPLX_NEUTRAL.npz")
    net = build.build_expose(config.expose(), body_model, means=Means()).eval()
    for part, group in golden.GROUP.items():
        golden.fill(getattr(net, part), part, golden.load("heads")[f"{group}.mean_param"])
    return net


@pytest.fixture(scope="session")
def golden_runs(golden_expose):
    """name -> (batch, estimate) of the whole forward cases, run on demand and kept."""
    kept = {}

    def run(name: str):
        if name not in kept:
            with torch.inference_mode():
                look = golden.look(name)
                kept[name] = (look, golden_expose(look))
        return kept[name]

    return run


@pytest.fixture(scope="session")
def toy_body() -> BodyModel:
    """A SMPL-X lookalike of 160 vertices: the networks work with any vertex count."""
    return BodyModel(toy_models.toy_smplx(3))


@pytest.fixture(scope="session")
def tiny_expose(toy_body) -> ExPose:
    """A whole model of tiny networks, on the toy body, with seeded random weights that make the parts move."""
    with torch.random.fork_rng():
        torch.random.default_generator.manual_seed(0)
        net = build.build_expose(tiny_config(), toy_body, means=Means()).eval()
        for part in (net.body, net.hand, net.head):
            torch.nn.init.normal_(part.regressor.output.weight, std=0.02)
    return net


@pytest.fixture(scope="session")
def random_hrnet() -> HRNetExPose:
    """The body backbone with seeded random weights."""
    with torch.random.fork_rng():
        torch.random.default_generator.manual_seed(1)
        return HRNetExPose().eval()
