"""A whole model small enough for tests."""

from dataclasses import replace

from openexpose.nets import config


def tiny_config() -> config.NetConfig:
    """Three very small networks that see 64 px crops."""
    base = config.expose()
    small = {
        p: replace(base.part(p), backbone="resnet10t", crop_px=64, width=32, activation="relu", fixed_norm=False,
                   dropout=0.0)
        for p in base.parts
    }  # fmt: skip
    return replace(base, name="lite", **small)


def tiny_points_config() -> config.NetConfig:
    """The lite networks, seeing 64 px crops."""
    base = config.lite()
    return replace(base, **{p: replace(base.part(p), crop_px=64, width=32) for p in base.parts})
