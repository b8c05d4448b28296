"""Killed at any moment, a run goes on and ends with the very same weights."""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from openexpose.train.checkpoint import complete, load
from openexpose.train.folder import RunFolder
from train.runs import fork_server, run_quietly, small

KILLS = 20


def final_state(out: Path) -> dict:
    weights, state = load(complete(out / "checkpoints")[-1])
    assert state["step"] == 16
    moments = {f"{k}/{n}": t for k, v in state["optimiser"]["state"].items() for n, t in v.items()}
    return weights | moments | {f"average/{k}": v for k, v in state["average"].items() if k != "taken"}


def losses(out: Path) -> list[tuple[int, str, float]]:
    return [(row["step"], row["kind"], row["loss"]) for row in RunFolder(out, tensorboard=False).read_metrics()]


def test_killed_twenty_times_it_ends_with_the_same_bits(tmp_path: Path) -> None:
    server, base = fork_server(), small(tmp_path)
    config = replace(base, dropout=0.3, optimiser=replace(base.optimiser, average=0.9))
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
            process.join(rng.uniform(0.15, 0.6) * takes_s if kills < KILLS else None)
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
        assert losses(out) == losses(tmp_path / "calm")
    print(f"{kills} kills in {chains} runs of {takes_s:.1f} s")
