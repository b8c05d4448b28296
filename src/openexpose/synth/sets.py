"""The fixed test sets: only their seeds and settings are kept, the pictures are made again where they are needed.

Their body poses come from clips that training never sees (`PoseBank.held_out`); training's seeds are other ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from openexpose.errors import ConfigError
from openexpose.synth.labels import Part
from openexpose.synth.scene import SynthConfig

FIRST_TEST_SEED = 900_000_000
"""Seeds from here on are for tests; training takes smaller ones."""


@dataclass(frozen=True)
class TestSet:
    """A set of photos that never changes."""

    __test__ = False  # pytest: not a test
    name: str
    part: Part
    seed: int
    count: int
    cfg: SynthConfig


TEST_SETS: Mapping[str, TestSet] = {
    s.name: s
    for s in (
        TestSet("synth-body", "body", FIRST_TEST_SEED + 1, 2000,
                SynthConfig(size_px=512, whole=0.7, upper=0.3, head=0.0, hand=0.0, held_out=True)),
        TestSet("synth-hand", "hand", FIRST_TEST_SEED + 2, 2000,
                SynthConfig(size_px=256, whole=0.0, upper=0.0, head=0.0, hand=1.0, held_out=True)),
        TestSet("synth-head", "head", FIRST_TEST_SEED + 3, 2000,
                SynthConfig(size_px=256, whole=0.0, upper=0.0, head=1.0, hand=0.0, held_out=True)),
    )
}  # fmt: skip
"""Name -> set."""


def check_training_seed(seed: int) -> int:
    """The seed, if training may use it. Raises ConfigError for one of the test sets' range."""
    if not 0 <= seed < FIRST_TEST_SEED:
        raise ConfigError(f"seed {seed} is kept for test sets; training takes 0 to {FIRST_TEST_SEED - 1}")
    return seed
