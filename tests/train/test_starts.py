"""Starting from parts of other files: a backbone alone, a lifter alone."""

from dataclasses import replace

import pytest
import torch

from openexpose.errors import ConfigError, WeightsError
from openexpose.nets.build import build_one
from openexpose.nets.config import NetConfig, PartConfig, lite, only
from openexpose.nets.means import Means
from openexpose.nets.points import LiteTrunk
from openexpose.train.build import build_learner
from openexpose.train.learner import PartLearner
from openexpose.train.lift import LiftConfig, LiftRun
from openexpose.train.presets import hrnet_hmr_expose_body, lite_body, lite_hand
from openexpose.weights.importer import header_of
from openexpose.weights.movenet import load_movenet
from openexpose.weights.native import Provenance, save_weights
from weights.test_movenet import published


def saved(path, part: PartConfig) -> dict[str, torch.Tensor]:
    """A hand network of this size with random weights as a file; its tensors."""
    config: NetConfig = only("hand", replace(lite(), hand=part))
    network = build_one("hand", config, means=Means())
    save_weights(network.state_dict(), path, header_of(config, Provenance("trained with openexpose")))
    return network.state_dict()


def started(**changes: object) -> dict[str, torch.Tensor]:
    """The tensors that a hand training starts from."""
    learner = build_learner(replace(lite_hand(), **changes))
    assert isinstance(learner, PartLearner)
    return learner.network.state_dict()


def test_a_backbone_alone_comes_from_a_file_even_without_the_fine_map(tmp_path):
    hand = lite().part("hand")
    held = saved(tmp_path / "hand.safetensors", replace(hand, fine=0, width=64))
    got = started(init_backbone=tmp_path / "hand.safetensors")
    backbone = [k for k in held if k.startswith("hand.backbone.")]
    assert len(backbone) > 100 and all(torch.equal(got[k], held[k]) for k in backbone)
    assert not got["hand.backbone.heat_fine.weight"].any()
    assert got["hand.regressor.output.weight"].shape != held["hand.regressor.output.weight"].shape


def test_a_lifter_alone_comes_from_its_training(tmp_path):
    run = LiftRun(LiftConfig(part="hand", steps=1, batch_size=4), tmp_path)
    list(run)
    got = started(lifter=tmp_path / "state.pt")
    assert all(torch.equal(got[name], tensor) for name, tensor in run.state().items())


def test_backbones_of_another_kind_and_lifters_of_another_part_are_refused(tmp_path):
    saved(tmp_path / "deep.safetensors", replace(lite().part("hand"), backbone="lite0_deep"))
    with pytest.raises(ConfigError, match="of another kind"):
        started(init_backbone=tmp_path / "deep.safetensors")
    LiftRun(LiftConfig(part="body"), tmp_path).save()
    with pytest.raises(ConfigError, match="no body network"):
        started(lifter=tmp_path / "state.pt")


def test_a_trunk_of_movenet_comes_from_its_file(tmp_path):
    torch.manual_seed(1)
    trunk = LiteTrunk(deep=True, kind="mobilenet2").eval()
    graph = published(trunk, tmp_path, "float32")
    learner = build_learner(replace(lite_body(), movenet_file=graph))
    assert isinstance(learner, PartLearner)
    want = LiteTrunk(deep=True, kind="mobilenet2")
    load_movenet(want, graph)
    got = learner.network["body"].backbone.trunk.state_dict()
    assert all(torch.equal(got[name], tensor) for name, tensor in want.state_dict().items())
    with pytest.raises(WeightsError, match="is expected"):
        build_learner(replace(lite_body(), movenet_file=graph, backbone="lite0_deep"))
    with pytest.raises(ConfigError, match="for `lite` networks"):
        build_learner(replace(hrnet_hmr_expose_body(), movenet_file=graph, body_model="free", imagenet=False))
