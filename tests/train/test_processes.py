"""Two processes together do what one does with the doubled batch."""

import socket
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from openexpose.train.checkpoint import complete, load
from openexpose.train.config import TrainConfig
from openexpose.train.folder import RunFolder
from train.runs import fork_server, run_as_rank, run_quietly, small

STEPS = 6


def losses(out: Path) -> list[tuple[int, str, float]]:
    return [(row["step"], row["kind"], row["loss"]) for row in RunFolder(out, tensorboard=False).read_metrics()]


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def together(server, config: TrainConfig, out: Path) -> None:
    port = free_port()
    both = [server.Process(target=run_as_rank, args=(config, out, rank, port)) for rank in (0, 1)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]


def test_two_processes_and_the_doubled_batch(tmp_path: Path) -> None:
    server, base = fork_server(), replace(small(tmp_path), steps=STEPS, eval_every=3)
    one = server.Process(target=run_quietly, args=(replace(base, batch_size=8), tmp_path / "one"))
    one.start()
    together(server, replace(base, batch_size=4, devices=2), tmp_path / "ddp")
    one.join()
    want, got = losses(tmp_path / "one"), losses(tmp_path / "ddp")
    assert [row[:2] for row in got] == [row[:2] for row in want]
    for a, b in zip(got, want, strict=True):
        assert a[2] == pytest.approx(b[2], rel=1e-4)  # float32 sums in another order, through six steps of Adam


def test_split_weights_and_copied_weights_are_the_same(tmp_path: Path) -> None:
    server, base = fork_server(), replace(small(tmp_path), steps=STEPS, eval_every=3, devices=2)
    base = replace(base, optimiser=replace(base.optimiser, schedule="constant", warmup_steps=0, average=0.9))
    together(server, base, tmp_path / "ddp")
    for steps in (STEPS // 2, STEPS):  # stopped half-way, and gone on with
        together(server, replace(base, strategy="fsdp", steps=steps, report=True), tmp_path / "fsdp")
    want, got = losses(tmp_path / "ddp"), losses(tmp_path / "fsdp")
    assert [row[:2] for row in got] == [row[:2] for row in want]
    for a, b in zip(got, want, strict=True):
        assert a[2] == pytest.approx(b[2], rel=1e-4)  # float32 sums in another order, through six steps of Adam
    weights, state = load(complete(tmp_path / "fsdp" / "checkpoints")[-1])
    copied, copied_state = load(complete(tmp_path / "ddp" / "checkpoints")[-1])
    assert {k: v.shape for k, v in weights.items()} == {k: v.shape for k, v in copied.items()}
    assert state["step"] == copied_state["step"] == STEPS
    mine, theirs = ({k: torch.as_tensor(v) for k, v in s["average"].items()} for s in (state, copied_state))
    assert {k: v.shape for k, v in mine.items()} == {k: v.shape for k, v in theirs.items()}
    assert mine.pop("taken") == theirs["taken"] == STEPS
    apart = [torch.cat([v.flatten() for v in side]) for side in (mine.values(), (theirs[k] for k in mine))]
    assert (apart[0] - apart[1]).norm() < 0.01 * apart[1].norm()  # Adam makes steps of noise where gradients are zero
    assert (tmp_path / "fsdp" / "report.html").is_file() and (tmp_path / "fsdp" / "best.safetensors").is_file()
