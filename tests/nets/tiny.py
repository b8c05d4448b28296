"""A whole model small enough for tests."""

from dataclasses import replace

from openexpose.nets import config


def tiny_config() -> config.NetConfig:
    """Three very small networks that see 64 px crops."""
    base = config.lite(body="resnet10t", hand="resnet10t", head="resnet10t")
    return replace(base, **{p: replace(base.part(p), crop_px=64, width=32) for p in base.parts})
