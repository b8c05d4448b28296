"""Settings, schedule, presets."""

from dataclasses import replace

import pytest

from openexpose.errors import ConfigError
from openexpose.train.build import network_config
from openexpose.train.config import CloseupConfig, DataConfig, LossWeights, OptimiserConfig, Plan, TrainConfig, lr_at
from openexpose.train.presets import PRESETS, expose, hrnet_hmr_expose_body, lite_body, toy

REFERENCE = ("hrnet_hmr_expose_body", "resnet18_hmr_expose_face", "resnet18_hmr_expose_hand", "expose")


def test_the_reference_presets_carry_its_values() -> None:
    for name in REFERENCE:
        config = PRESETS[name]()
        adam = config.optimiser
        assert (adam.lr, adam.weight_decay, adam.decoupled, adam.max_grad_norm) == (1e-4, 1e-4, False, None)
        assert (config.epochs, adam.drop_at_epochs, adam.drop, config.precision) == (100, (60, 100), 0.1, "fp32")
        assert config.data.reference_quirks and config.network.startswith("expose")
        assert all(network_config(config).part(p).fixed_norm for p in network_config(config).parts)
    assert [PRESETS[name]().batch_size for name in REFERENCE] == [48, 64, 64, 48]
    assert hrnet_hmr_expose_body().data.shares == (0.08, 0.12, 0.8)
    assert expose().freeze.parts == ("body",) and expose().freeze.dropout
    assert all(PRESETS[name]().closeups == CloseupConfig() for name in REFERENCE)
    extra = replace(expose(), closeups=CloseupConfig.original()).closeups.chosen()
    assert {part: (closeup.sets, closeup.images) for part, closeup in extra.items()} == {
        "hand": (("freihand_train",), 64),
        "head": (("ffhq_flame_train",), 64),
    }
    assert set(expose().losses.wanted()) - set(hrnet_hmr_expose_body().losses.wanted()) == {"hand_crops", "head_crop"}


def test_overrides_reach_the_networks() -> None:
    assert network_config(replace(lite_body(), dropout=0.25)).part("body").dropout == 0.25
    assert network_config(replace(lite_body(), fixed_norm=True)).part("body").fixed_norm


def test_the_schedule_of_the_reference() -> None:
    config = hrnet_hmr_expose_body()
    plan = Plan.of(config, samples_per_epoch=48_000, processes=2)
    assert plan == Plan(steps=50_000, steps_per_epoch=500, samples_per_step=96)
    assert [lr_at(s, config.optimiser, plan) for s in (0, 29_999, 30_000, 49_999)] == pytest.approx(
        [1e-4, 1e-4, 1e-5, 1e-5]
    )


def test_warmup_and_cosine() -> None:
    optimiser = OptimiserConfig(lr=1.0, schedule="cosine", warmup_steps=10)
    plan = Plan(steps=100, steps_per_epoch=10, samples_per_step=1)
    assert lr_at(0, optimiser, plan) == pytest.approx(0.1)
    assert lr_at(50, optimiser, plan) == pytest.approx(0.5)
    values = [lr_at(s, optimiser, plan) for s in range(10, 101)]
    assert values == sorted(values, reverse=True) and values[-1] == pytest.approx(0, abs=1e-12)


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="batch_size=0"):
        replace(toy(), batch_size=0)
    with pytest.raises(ConfigError, match="weight 0"):
        LossWeights().wanted()
    with pytest.raises(ConfigError, match="summing to 1"):
        DataConfig(train=("a", "b"), shares=(0.5, 0.6))
    with pytest.raises(ConfigError, match="both or neither"):
        CloseupConfig(hands=("freihand_train",))
    with pytest.raises(ConfigError, match="only in the stage whole"):
        replace(toy(), closeups=CloseupConfig.original())
    with pytest.raises(ConfigError, match="no network preset"):
        network_config(TrainConfig("x", "huge", "body", DataConfig(kind="toy"), LossWeights(betas=1.0)))
