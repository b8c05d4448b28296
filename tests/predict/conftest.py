"""One tiny predictor for all tests of this folder."""

import pytest

from openexpose.detect.whole import WholePhoto
from openexpose.predict import Predictor
from tiny_weights import save_tiny


@pytest.fixture(scope="session")
def tiny_file(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("weights") / "tiny.safetensors")


@pytest.fixture(scope="session")
def predictor(tiny_file):
    return Predictor.load(tiny_file, detector=WholePhoto())
