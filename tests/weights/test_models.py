"""Ready networks out of one file: whole and in parts, and what they refuse."""

from dataclasses import replace

import pytest
import torch

from openexpose.body import BodyModel
from openexpose.errors import ConfigError, WeightsError
from openexpose.nets.build import build_expose
from openexpose.nets.config import NetConfig, lite, only
from openexpose.nets.means import Means
from openexpose.weights.importer import header_of, wanted_tensors
from openexpose.weights.models import load_expose, load_part
from openexpose.weights.native import Provenance, save_weights
from toy_models import toy_smplx

MADE = Provenance("trained with openexpose")


@pytest.fixture(scope="module")
def body_model() -> BodyModel:
    return BodyModel(toy_smplx(3))


@pytest.fixture(scope="module")
def config() -> NetConfig:
    return replace(lite(), name="toy")


def test_the_whole_model_comes_back_and_lends_its_parts(tmp_path, body_model, config):
    torch.manual_seed(0)
    made, path = build_expose(config, body_model, means=Means()), tmp_path / "w.safetensors"
    save_weights(made.state_dict(), path, header_of(config, MADE))
    loaded = load_expose(path, body_model=body_model)
    state = made.state_dict()
    assert not loaded.training and loaded.state_dict().keys() == state.keys() == wanted_tensors(config).keys()
    assert all(torch.equal(v, state[k]) for k, v in loaded.state_dict().items())
    crops = torch.randn(1, 3, 128, 128)
    with torch.inference_mode():
        assert torch.equal(load_part(path, "hand")(crops).vector, made.eval().hand(crops).vector)


def test_one_part_is_not_the_whole(tmp_path, body_model, config):
    alone, path = only("hand", config), tmp_path / "w.safetensors"
    state = {k: torch.zeros(v.shape, dtype=v.dtype) for k, v in wanted_tensors(alone).items()}
    save_weights(state, path, header_of(alone, MADE))
    assert load_part(path, "hand").regressor.mean_param.shape == (1, 109)
    with pytest.raises(WeightsError, match="hand network, not the head"):
        load_part(path, "head")
    with pytest.raises(WeightsError, match="hand network alone"):
        load_expose(path, body_model=body_model)


def test_another_body_model_is_refused(tmp_path, config):
    path = tmp_path / "w.safetensors"
    state = {k: torch.zeros(v.shape, dtype=v.dtype) for k, v in wanted_tensors(config).items()}
    save_weights(state, path, header_of(config, MADE))
    with pytest.raises(ConfigError, match="10 betas"):
        load_expose(path, body_model=BodyModel(toy_smplx(3, betas=4)))
