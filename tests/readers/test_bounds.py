"""Hostile and damaged files: only our errors, within bounded time and memory."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openexpose.body.side_files import read_embedding, read_means
from openexpose.errors import AssetError, DataError
from openexpose.readers import (
    Npz,
    parse_pickle,
    peek_npy,
    peek_safetensors,
    read_npy,
    read_npz,
    read_pickle,
    read_safetensors,
)
from readers_samples import put, samples

READ: dict[str, Callable[[Path], Any]] = {
    ".pkl": read_pickle, ".npy": read_npy, ".npz": read_npz, ".safetensors": read_safetensors
}  # fmt: skip
PER_FILE = 210


def test_hostile_files_cost_little() -> None:
    """Each bomb under a 2 GiB limit of address space: refused or read in seconds, in less than 600 MiB."""
    script = Path(__file__).parent / "bombs.py"
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    bombs = json.loads(done.stdout)
    assert len(bombs) > 20
    for bomb in bombs:
        harmless = bomb["name"] in ("memo", "lists of lists", "pops")
        assert harmless or bomb["outcome"].startswith("cannot read"), bomb
        assert bomb["cpu_seconds"] < 15, bomb  # at most 2 s on an idle machine
        assert bomb["peak_mib"] < 600, bomb


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """`data` cut short, with bytes flipped, blocks zeroed, doubled or removed."""
    out = bytearray(data)
    kind = rng.integers(0, 6)
    # headers and directories stand at the ends: hit them as often as the rest
    at = int(
        rng.choice(
            [
                rng.integers(0, min(len(out), 200)),
                rng.integers(0, len(out)),
                len(out) - 1 - rng.integers(0, min(len(out), 200)),
            ]
        )
    )
    n = int(rng.integers(1, 40))
    if kind == 0:
        return bytes(out[:at])
    if kind == 1:
        out[at : at + n] = bytes(len(out[at : at + n]))
    elif kind == 2:
        out[at:at] = out[at : at + n]
    elif kind == 3:
        del out[at : at + n]
    else:
        for i in rng.integers(max(0, at - n), min(len(out), at + n), int(rng.integers(1, 6))):
            out[i] = int(rng.integers(0, 256)) if kind == 4 else out[i] ^ (1 << int(rng.integers(0, 8)))
    return bytes(out)


@pytest.mark.parametrize("name", list(samples()))
def test_damaged_files_give_only_our_errors(name: str, tmp_path: Path) -> None:
    """15 files of all formats x 210 = 3,150 damaged files."""
    data, rng = samples()[name], np.random.default_rng([7, len(name), sum(name.encode())])
    read = read_means if name == "all_means.pkl" else READ[Path(name).suffix]
    refused = 0
    for _ in range(PER_FILE):
        path = put(tmp_path, name, damaged(data, rng))
        start = time.process_time()
        try:
            read(path)
            if path.suffix == ".npz":
                with Npz(path) as z:
                    [np.array(z.memmap(key)) for key in z.keys()]  # noqa: SIM118
        except (AssetError, DataError) as e:
            assert name in str(e)
            refused += 1
        assert time.process_time() - start < 5  # seconds of the processor; milliseconds as a rule
    assert refused > PER_FILE // 20  # the damage is real: much of it cannot be overlooked


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.binary(max_size=300),
    suffix=st.sampled_from(sorted(READ)),
    lead=st.sampled_from([b"", b"\x80\x04", b"PK\x03\x04", b"\x93NUMPY\x01\x00"]),
)
def test_any_bytes_give_only_our_errors(data: bytes, suffix: str, lead: bytes, tmp_path: Path) -> None:
    path = put(tmp_path, f"any{suffix}", lead + data)
    for read in (READ[suffix], peek_npy, peek_safetensors, lambda p: read_embedding(p, (51,), 9976)):
        try:
            read(path)
        except AssetError as e:
            assert "any" in str(e)


_OPCODES = st.sampled_from(
    [
        bytes([c])
        for c in b"(012NKMJGILFSVUTXCB])}tlades uqphgjcRob.\x80\x81\x85\x86\x87\x88\x8a\x8c\x8f\x90\x91\x93\x94"
    ]
)
_WORDS = st.sampled_from(
    [b"numpy\nndarray\n", b"numpy\ndtype\n", b"chumpy.ch\nCh\n", b"\x02f8", b"\x00", b"\x01", b"7\n", b"'ab'\n"]
)


@settings(max_examples=400, deadline=None)
@given(parts=st.lists(st.one_of(_OPCODES, _WORDS), max_size=40))
def test_any_opcodes_give_only_our_errors(parts: list[bytes]) -> None:
    try:
        parse_pickle(b"".join(parts) + b".", "here")
    except AssetError as e:
        assert "here" in str(e)
