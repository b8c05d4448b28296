"""Configs, means and what is built from them: presets, keys, sizes, refusals."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.testing import assert_close

import toy_models
from golden_assets import golden_assets
from nets import golden
from nets.tiny import tiny_config
from openexpose.body import BodyModel
from openexpose.errors import AssetError, ConfigError
from openexpose.nets import build, config
from openexpose.nets.means import Means, mean_vector
from openexpose.readers import unpickle


def test_presets_have_the_released_sizes():
    cfg = config.expose()
    assert [build.build_codec(p, cfg.part(p)).size for p in cfg.parts] == [341, 109, 165]
    assert (cfg.zoom.hand_scale, cfg.zoom.head_scale) == (3.0, 2.0)
    assert [cfg.part(p).crop_px for p in cfg.parts] == [256, 224, 256]
    assert all(cfg.part(p).fixed_norm for p in cfg.parts)
    for name, make in config.PRESETS.items():
        assert make().name == name


def test_one_part_has_the_keys_it_has_in_the_whole(tiny_expose):
    cfg = tiny_config()
    whole = {k: v.shape for k, v in tiny_expose.state_dict().items()}
    for part in cfg.parts:
        one = build.build_one(part, config.only(part, cfg), means=Means())
        assert {k: v.shape for k, v in one.state_dict().items()} == {
            k: v for k, v in whole.items() if k.startswith(f"{part}.")
        }
    assert not [k for k in whole if "body_model" in k]


def test_hrnet_is_built_without_the_parts_that_never_run(random_hrnet):
    """Parity row 1."""
    net = random_hrnet
    keys = list(net.state_dict())
    assert len(keys) == 1070
    assert not [
        k for k in keys if k.startswith(("stage4", "final_layer", "downsample_stage", "stage3.3.fuse_layers.0"))
    ]
    x = torch.randn(1, 3, 64, 64, requires_grad=True)
    net.eval()(x).sum().backward()
    assert not [n for n, p in net.named_parameters() if p.grad is None]  # nothing is dead weight
    net.zero_grad()


@pytest.mark.golden
@pytest.mark.parametrize(("part", "group"), golden.GROUP.items())
def test_means_of_the_tree(part, group):
    """The recipe's data tree gives the reference's starting vectors."""
    folder = golden_assets() / "body_models"
    means = Means.of_tree(unpickle.read_pickle(folder / "all_means.pkl"), np.load(folder / "smplx" / "shape_mean.npy"))
    cfg = config.expose().part(part)
    got = mean_vector(build.build_codec(part, cfg), cfg, means, is_body=part == "body")
    assert np.abs(got.numpy() - golden.load("heads")[f"{group}.mean_param"][0]).max() <= 1e-6  # parameter units


def test_without_means_the_start_is_the_rest_pose():
    cfg = config.expose().part("head")
    codec = build.build_codec("head", cfg)
    start = codec.split(mean_vector(codec, cfg, Means(), is_body=False))
    assert_close(start.params.global_orient, torch.diag(torch.tensor([1.0, -1, -1])))
    assert_close(start.params.jaw_pose, torch.eye(3))
    assert_close(start.camera, torch.tensor([8.0, 0, 0]), atol=1e-5, rtol=0)


def test_means_that_do_not_fit_are_refused():
    with pytest.raises(AssetError, match="body_pose"):
        Means.of_tree({}, None)
    pose = {"cont_rot_repr": np.zeros(7)}
    with pytest.raises(AssetError, match="sixes"):
        Means.of_tree(dict.fromkeys(("body_pose", "left_hand_pose", "right_hand_pose"), pose), None)
    cfg = config.expose().part("body")
    with pytest.raises(AssetError, match="betas"):
        mean_vector(build.build_codec("body", cfg), cfg, Means(betas=torch.zeros(3)), is_body=True)


def test_any_timm_backbone_will_do():
    for name in ("mobilenetv3_small_050", "resnet10t"):
        net, width = build.build_backbone(name)
        assert net.eval()(torch.zeros(2, 3, 64, 64)).shape == (2, width)
    with pytest.raises(ConfigError, match="resnet999"):
        build.build_backbone("resnet999")


def test_body_models_that_do_not_fit_are_refused(toy_body):
    with pytest.raises(ConfigError, match="num_betas=10"):
        build.build_expose(tiny_config(), BodyModel(toy_models.toy_smplx(3), num_betas=8), means=Means())
    with pytest.raises(ConfigError, match="smplx"):
        build.build_expose(tiny_config(), BodyModel(toy_models.toy_mano(3)), means=Means())
    with pytest.raises(ConfigError, match="no body network"):
        build.build_expose(config.only("hand", tiny_config()), toy_body, means=Means())


@pytest.mark.parametrize(
    "changes", [{"crop_px": 100}, {"steps": 0}, {"dropout": 1.0}, {"camera_scale": 0.0}, {"width": 0}]
)
def test_settings_out_of_range_are_refused(changes):
    with pytest.raises(ConfigError, match=next(iter(changes))):
        replace(config.expose().part("hand"), **changes)
    with pytest.raises(ConfigError, match="cut"):
        config.ZoomConfig(hand_scale=0.5)
