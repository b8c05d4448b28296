"""Training of the lifter."""

from dataclasses import replace

import pytest
import torch

from openexpose.errors import ConfigError
from openexpose.train.lift import LiftConfig, LiftRun

SHORT = LiftConfig(steps=30, batch_size=32, save_every=10)


def test_it_learns_and_a_stopped_run_goes_on_exactly(tmp_path):
    numbers = list(LiftRun(SHORT, tmp_path / "whole"))
    first, last = (sum(sum(n.values()) for n in part) / 5 for part in (numbers[:5], numbers[-5:]))
    assert last < 0.92 * first  # thirty steps, all of them in the warm-up
    broken = LiftRun(SHORT, tmp_path / "broken")
    for _ in zip(range(15), broken, strict=False):
        pass
    again = LiftRun(SHORT, tmp_path / "broken")
    assert again.step == 10
    rest = list(again)
    assert len(rest) == 20
    want = LiftRun(SHORT, tmp_path / "whole").state()
    assert all(torch.equal(v, want[k]) for k, v in again.state().items())


def test_what_has_no_lifter_or_a_test_seed_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="has no lifter"):
        LiftRun(replace(SHORT, preset="expose"), tmp_path)
    with pytest.raises(ConfigError, match="kept for test"):
        replace(SHORT, seed=900_000_001)
