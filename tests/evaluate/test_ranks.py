"""Two real processes share a benchmark, by the command line, and leave exactly what one leaves."""

import json
import socket
from pathlib import Path

import numpy as np
import pytest
import torch

from evaluate.mini import Mini, command_as_rank, mini_ehf
from openexpose.cli.main import main
from openexpose.data.columns import decoded
from openexpose.errors import ConfigError
from openexpose.evaluate.ranks import launch
from openexpose.readers import write_npz
from train.runs import fork_server


@pytest.fixture(scope="module")
def ehf(tmp_path_factory: pytest.TempPathFactory) -> Mini:
    return mini_ehf(tmp_path_factory.mktemp("ehf"))


def command(mini: Mini, out: Path, *more: str) -> list[str]:
    weights, data = ["--weights", str(mini.weights)], ["--data", str(mini.tree)]
    how = ["--batch", "1", "--no-fast", "--gallery", "0", "--accelerator", "cpu"]
    return ["eval", "ehf", *weights, *data, *how, "--trained-on", "licensed", "--out", str(out), *more]


def statuses_of_two(args: list[str]) -> list[int]:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = int(s.getsockname()[1])
    server = fork_server()
    both = [server.Process(target=command_as_rank, args=(args, rank, port)) for rank in (0, 1)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    return [process.exitcode for process in both]


def test_two_processes_leave_what_one_leaves(ehf: Mini, tmp_path: Path) -> None:
    assert statuses_of_two(command(ehf, tmp_path / "two", "--devices", "2")) == [0, 0]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    assert main(command(ehf, tmp_path / "one")) == 0
    torch.set_num_threads(threads)
    left, right = ({f.name: f.read_bytes() for f in (tmp_path / k).glob("**/*.npz")} for k in ("one", "two"))
    assert len(left) == 3 and left == right
    one, two = (json.loads((tmp_path / k / "results.json").read_text()) for k in ("one", "two"))
    assert one["benchmarks"] == two["benchmarks"]
    for kind in ("csv", "png"):
        left, right = ({f.name: f.read_bytes() for f in (tmp_path / k).glob(f"*.{kind}")} for k in ("one", "two"))
        assert left and left == right


def test_an_error_in_one_process_ends_both(ehf: Mini, tmp_path: Path) -> None:
    boxes = np.array([[0, 0, 600, 480, 1.0], [-900, 0, 100, 100, 1], [0, 0, 600, 480, 1]])  # the second rank's row
    store = tmp_path / "off.npz"
    write_npz(store, {**decoded(ehf.tree / "preprocessed_datasets/ehf_val.npz"), "bbox_xywh": boxes}, compressed=False)
    assert statuses_of_two(command(ehf, tmp_path / "out", "--devices", "2", "--store", str(store))) == [2, 2]
    assert not (tmp_path / "out" / "results.json").exists()


def test_one_process_needs_no_fabric_and_nonsense_is_refused() -> None:
    here = launch("cpu", 1)
    assert (here.rank, here.ranks, here.device) == (0, 1, "cpu")
    here.wait()
    with pytest.raises(ConfigError, match="at least one"):
        launch("auto", 0)
