"""OpenExPose: a full human body, with fingers and face, out of one photo.

from openexpose import Predictor
people = Predictor.load()("photo.jpg")
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from openexpose.predict import Predictor as Predictor
    from openexpose.prediction import Prediction as Prediction

__version__ = "0.1.0"

_LAZY = {"Predictor": "openexpose.predict", "Prediction": "openexpose.prediction"}


def __getattr__(name: str) -> object:
    """Predictor and Prediction, imported when first asked for: they need torch, `openexpose --help` does not."""
    if name not in _LAZY:
        raise AttributeError(f"module 'openexpose' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_LAZY[name]), name)
