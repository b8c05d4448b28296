"""Training of the lifters."""

from dataclasses import replace

import pytest
import torch

from openexpose.errors import ConfigError
from openexpose.train.lift import LiftConfig, LiftRun, read_lifter

SHORT = LiftConfig(steps=30, batch_size=32, save_every=10)


@pytest.mark.parametrize("part", ["body", "hand", "head"])
def test_it_learns(tmp_path, part):
    numbers = list(LiftRun(replace(SHORT, part=part, steps=90), tmp_path))
    for n in numbers:
        n.pop("surface", None)  # slower than 90 steps
    first, last = (sum(sum(n.values()) for n in some) / 10 for some in (numbers[:10], numbers[-10:]))
    assert last < 0.8 * first
    assert read_lifter(tmp_path / "state.pt")[0] == part


def test_a_stopped_run_goes_on_exactly(tmp_path):
    list(LiftRun(SHORT, tmp_path / "whole"))
    broken = LiftRun(SHORT, tmp_path / "broken")
    for _ in zip(range(15), broken, strict=False):
        pass
    again = LiftRun(SHORT, tmp_path / "broken")
    assert again.step == 10
    rest = list(again)
    assert len(rest) == 20
    want = LiftRun(SHORT, tmp_path / "whole").state()
    assert all(torch.equal(v, want[k]) for k, v in again.state().items())


def test_what_has_no_lifter_another_part_or_a_test_seed_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="has no body lifter"):
        LiftRun(replace(SHORT, preset="expose"), tmp_path)
    LiftRun(replace(SHORT, part="hand"), tmp_path).save()
    with pytest.raises(ConfigError, match="a lifter of the hand"):
        LiftRun(SHORT, tmp_path)
    with pytest.raises(ConfigError, match="kept for test"):
        replace(SHORT, seed=900_000_001)
