"""Foreign weight files: what is read, what is refused, and that nothing in them runs."""

import io
import os
import resource
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from openexpose.errors import WeightsError
from openexpose.weights.torchfile import open_torch_file, resolve

FORMATS = pytest.mark.parametrize("zip_format", [True, False], ids=["zip", "legacy"])
STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.count": torch.tensor(4), "b": torch.ones(2, 3, 5).half()}


def write(path: Path, content: object, zip_format: bool = True) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=zip_format)
    return path


@FORMATS
@pytest.mark.parametrize("wrapper", ["", "state_dict", "model"])
def test_tensors_come_out_as_they_went_in(tmp_path, zip_format, wrapper):
    meta = {"epoch": 3, "mmcv_version": "1.3.17", "best": np.float64(3.5), "all": np.arange(3.0), "config": "x" * 999}
    content = {wrapper: STATE, "meta": meta} if wrapper else STATE
    got = open_torch_file(write(tmp_path / "w.pth", content, zip_format))
    assert (got.wrapper, set(got.tensors)) == (wrapper, set(STATE))
    assert all(torch.equal(got.tensors[k], v) and got.tensors[k].dtype == v.dtype for k, v in STATE.items())
    assert got.meta == ({"epoch": "3", "mmcv_version": "1.3.17"} if wrapper else {})


@FORMATS
def test_data_parallel_prefix_is_taken_off_only_if_everyone_has_it(tmp_path, zip_format):
    everyone = {f"module.{k}": v for k, v in STATE.items()}
    assert set(open_torch_file(write(tmp_path / "a.pth", everyone, zip_format)).tensors) == set(STATE)
    some = everyone | {"c": torch.zeros(1)}
    assert "module.a.weight" in open_torch_file(write(tmp_path / "b.pth", some, zip_format)).tensors


@FORMATS
def test_tensors_saved_on_a_gpu_arrive_on_the_cpu(tmp_path, zip_format):
    path = write(tmp_path / "w.pth", STATE, zip_format)

    def moved(name: str, data: bytes) -> bytes:
        return data.replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0")

    if zip_format:
        moved_path = rewritten(path, tmp_path / "gpu.pth", moved)
    else:
        moved_path = tmp_path / "gpu.pth"
        moved_path.write_bytes(moved("", path.read_bytes()))
    assert b"cuda:0" in moved_path.read_bytes()
    got = open_torch_file(moved_path).tensors
    assert all(torch.equal(got[k], v) for k, v in STATE.items())


def test_a_release_folder_leads_to_its_checkpoint(tmp_path):
    folder = tmp_path / "expose_data" / "checkpoints"
    folder.mkdir(parents=True)
    target = write(folder / "model.ckpt", {"model": STATE, "iteration": 7})
    for text in ("data/checkpoints/model.ckpt", "/ps/scratch/someone/model.ckpt\n", "C:\\runs\\model.ckpt"):
        (folder / "latest_checkpoint").write_text(text)
        for given in (folder / "latest_checkpoint", folder, tmp_path / "expose_data"):
            assert resolve(given) == target
    assert set(open_torch_file(tmp_path / "expose_data").tensors) == set(STATE)


@pytest.mark.parametrize(
    "text", ["", "elsewhere.ckpt", "../../../outside.ckpt", "a" * 5000, "two\nlines\x00", "latest_checkpoint"]
)
def test_a_pointer_to_nowhere_is_refused(tmp_path, text):
    write(tmp_path / "outside.ckpt", STATE)
    folder = tmp_path / "a" / "b" / "c"
    folder.mkdir(parents=True)
    (folder / "latest_checkpoint").write_text(text)
    with pytest.raises(WeightsError, match="latest_checkpoint"):
        resolve(folder)


class Runs:
    """Pickles into a call of os.system."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@FORMATS
def test_code_in_a_file_does_not_run_and_is_named(tmp_path, zip_format):
    trace = tmp_path / "ran"
    path = write(tmp_path / "evil.pth", {"state_dict": {"a": Runs(f"touch {trace}")}}, zip_format)
    with pytest.raises(WeightsError, match=r"posix\.system|nt\.system"):
        open_torch_file(path)
    assert not trace.exists()


@FORMATS
def test_other_objects_are_named(tmp_path, zip_format):
    path = write(tmp_path / "module.pth", {"state_dict": {"a": torch.nn.Linear(2, 2)}}, zip_format)
    with pytest.raises(WeightsError, match="Linear.*not run"):
        open_torch_file(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html>log in</html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS"),
        (b"\x10\x00\x00\x00\x00\x00\x00\x00{}              ", "safetensors"),
        (b"PK\x03\x04 and nothing else", "damaged"),
        (b"plain text", "damaged"),
    ],
)
def test_accidents_are_told_apart(tmp_path, content, words):
    path = tmp_path / "w.pth"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=words):
        open_torch_file(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([1, 2], "holds a list"),
        ({}, "no tensors"),
        ({"state_dict": {"a": 3}}, "'a' is a int"),
        ({3: torch.zeros(1)}, "named 3"),
        ({"a": torch.eye(3).to_sparse()}, "sparse"),
    ],
)
def test_what_is_no_state_dict_is_refused(tmp_path, content, words):
    with pytest.raises(WeightsError, match=words):
        open_torch_file(write(tmp_path / "w.pth", content))
    with pytest.raises(WeightsError, match="does not exist"):
        open_torch_file(tmp_path / "nothing.pth")


def rewritten(path: Path, out: Path, change, compress: int = zipfile.ZIP_STORED) -> Path:
    """A copy of a zip-format file with a truthful directory, each record passed through `change(name, bytes)`."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w", compress) as new:
        for record in old.infolist():
            new.writestr(record.filename, change(record.filename, old.read(record)))
    return out


def test_claims_beyond_the_file_are_refused_without_memory(tmp_path):
    path = write(tmp_path / "w.pth", {"a": torch.arange(6.0)})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def claim(name: str, data: bytes) -> bytes:  # six floats become 2**28, a gigabyte
        return data.replace(b"K\x06", b"J\x00\x00\x00\x10") if name.endswith("data.pkl") else data

    with pytest.raises(WeightsError):
        open_torch_file(rewritten(path, tmp_path / "claim.pth", claim))
    bomb = rewritten(path, tmp_path / "bomb.pth", lambda n, d: b"\0" * (64 << 20) if n.endswith("data/0") else d, 8)
    with pytest.raises(WeightsError, match="claims more|compressed"):
        open_torch_file(bomb)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB: no gigabyte was made


def test_an_endless_legacy_pickle_stops(tmp_path, monkeypatch):
    monkeypatch.setattr("openexpose.weights.torchfile.MAX_READS", 20_000)
    good = io.BytesIO()
    torch.save(STATE, good, _use_new_zipfile_serialization=False)
    head = good.getvalue()[:16]  # torch's magic number, a pickle of its own
    path = tmp_path / "w.pth"
    path.write_bytes(head[: head.index(b".") + 1] + b"\x80\x02" + b"N" * 3_000_000)
    start = time.perf_counter()
    with pytest.raises(WeightsError):
        open_torch_file(path)
    assert time.perf_counter() - start < 2  # seconds


@FORMATS
def test_damaged_files_give_only_our_error(tmp_path, zip_format):
    """1,000 copies with flipped bits or a missing end; half of the zip copies have honest checksums again."""
    rng, path = np.random.default_rng(5), tmp_path / "w.pth"
    good = write(tmp_path / "good.pth", {"state_dict": STATE, "meta": {"x": np.float32(1)}}, zip_format)
    data, refused = good.read_bytes(), 0

    def flip(b: bytes) -> bytes:
        bad = bytearray(b)
        for at in rng.integers(len(bad), size=rng.integers(1, 4)):
            bad[at] ^= 1 << rng.integers(8)
        return bytes(bad)

    for i in range(1000):
        if zip_format and i % 2:
            rewritten(good, path, lambda n, d: flip(d) if n.endswith("data.pkl") else d)
        else:
            path.write_bytes(flip(data)[: rng.integers(1, len(data)) if i % 5 == 0 else None])
        try:
            sizes = [v.sum().item() for v in open_torch_file(path).tensors.values() if v.numel() < 1000]
            assert len(sizes) <= len(STATE) + 1  # flips in names or numbers leave a readable file
        except WeightsError:
            refused += 1
    assert refused > 600
