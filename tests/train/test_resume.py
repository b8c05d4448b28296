"""Killed at any moment, a run goes on and ends with the very same weights."""

import multiprocessing
import time
from pathlib import Path

import numpy as np
import pytest
from train.runs import run_quietly, small

from openexpose.train.checkpoint import complete, load

KILLS = 20


@pytest.fixture(scope="module")
def server():
    """Processes that start in milliseconds: a server has imported everything before they fork from it."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["train.runs", "torch.distributed.checkpoint.state_dict", "matplotlib.figure"])
    return context


def final_state(out: Path) -> dict:
    weights, state = load(complete(out / "checkpoints")[-1])
    assert state["step"] == 24
    moments = {f"{k}/{n}": t for k, v in state["optimiser"]["state"].items() for n, t in v.items()}
    return weights | moments | {f"average/{k}": v for k, v in state["average"].items() if k != "taken"}


def test_killed_twenty_times_it_ends_with_the_same_bits(tmp_path: Path, server) -> None:
    config = small(tmp_path, dropout=0.3, optimiser=averaged(small(tmp_path).optimiser))
    calm = server.Process(target=run_quietly, args=(config, tmp_path / "calm"))
    started = time.monotonic()
    calm.start()
    calm.join()
    takes_s = time.monotonic() - started
    assert calm.exitcode == 0
    want = final_state(tmp_path / "calm")
    rng = np.random.default_rng(0)
    kills, chains = 0, 0
    while kills < KILLS:
        out, chains = tmp_path / f"chain{chains}", chains + 1
        while True:
            process = server.Process(target=run_quietly, args=(config, out))
            process.start()
            process.join(rng.uniform(0.2, 1.0) * takes_s if kills < KILLS else None)
            if process.exitcode is not None:
                break
            process.kill()
            process.join()
            kills += 1
        assert process.exitcode == 0
        got = final_state(out)
        assert set(got) == set(want)
        for name, value in want.items():
            assert np.array_equal(np.asarray(value), np.asarray(got[name])), name
        rows = [line.split(',')[0] for line in (out / "metrics.jsonl").read_text().splitlines()]
        assert len(rows) == len((tmp_path / "calm" / "metrics.jsonl").read_text().splitlines())
    print(f"{kills} kills in {chains} runs of {takes_s:.1f} s")


def averaged(optimiser):
    from dataclasses import replace

    return replace(optimiser, average=0.9)
