"""One studio and one photo for all tests of this folder: making the studio takes a second."""

import numpy as np
import pytest

from openexpose.synth.mannequin import Mannequin
from openexpose.synth.photo import Photos, Studio
from openexpose.synth.scene import SynthConfig


@pytest.fixture(scope="session")
def mannequin() -> Mannequin:
    return Mannequin()


@pytest.fixture(scope="session")
def studio(mannequin: Mannequin) -> Studio:
    return Studio(SynthConfig(size_px=96, clean=1.0, crowd=0.0), mannequin=mannequin)


@pytest.fixture(scope="session")
def photos(studio: Studio) -> Photos:
    return studio.shoot([studio.draw(3, i) for i in range(3)])


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)
