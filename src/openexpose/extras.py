"""Optional and awkward imports, each through one helper that says what to install."""

import importlib
from types import ModuleType

import torch

from openexpose.errors import MissingExtra


def need(module: str, extra: str) -> ModuleType:
    """Import an optional module now, or raise MissingExtra naming the pip command that brings it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as e:
        if e.name != module.partition(".")[0]:
            raise  # installed but broken: its own error says more
        raise MissingExtra(f"this needs {module}: pip install 'openexpose[{extra}]'") from e


def load_timm() -> ModuleType:
    """Import timm, also where torchvision was built for CUDA but torch was not.

    torchvision's registry wheels link against CUDA; beside a CPU-only torch its compiled operators cannot load, and
    its import then fails on the missing schema of two operators that we never call. Declaring those schemas lets
    the pure-Python part import; torchvision itself still refuses any call of a compiled operator with a clear error
    (`torchvision.extension._assert_has_ops`).
    """
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            try:
                importlib.import_module("torchvision")
            except RuntimeError as e:
                if f"torchvision::{name}" not in str(e):
                    raise
                torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores, float t) -> Tensor")
    return importlib.import_module("timm")
