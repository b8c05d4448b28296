"""The pickle reader agrees with the standard library on harmless files and refuses, by name, everything else."""

import collections
import os
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from openexpose.errors import AssetError
from openexpose.readers import Record, SparseMatrix, parse_pickle, read_pickle
from openexpose.readers.limits import UnreadableError
from readers_samples import fake_chumpy, model_like, put, python2_pickle


def same(got: Any, want: Any) -> bool:
    """Equal in value and kind; sparse matrices compare as dense ones."""
    if isinstance(want, dict):
        return isinstance(got, dict) and list(got) == list(want) and all(same(got[k], want[k]) for k in want)
    if isinstance(want, list | tuple):
        return type(got) is type(want) and len(got) == len(want) and all(map(same, got, want))
    if sparse.issparse(want):
        return isinstance(got, SparseMatrix) and np.array_equal(got.dense(), want.toarray())
    if isinstance(want, np.ndarray):
        return got.dtype == want.dtype and got.shape == want.shape and np.array_equal(got, want)
    return type(got) is type(want) and got == want


@pytest.mark.parametrize("protocol", range(6))
def test_agrees_with_the_standard_library(protocol: int, tmp_path: Path) -> None:
    value = model_like(protocol) | {"ordered": collections.OrderedDict(b=1, a=2), "big": 2**70, "neg": -5, "half": -0.5}
    path = put(tmp_path, "m.pkl", pickle.dumps(value, protocol=protocol))
    got = read_pickle(path)
    assert dict(got.pop("ordered")) == {"b": 1, "a": 2}
    del value["ordered"]
    assert same(got, value)


@pytest.mark.parametrize("layout", ["csc", "csr", "coo"])
@pytest.mark.parametrize("module", ["scipy.sparse.{}", "scipy.sparse._{}"])
def test_sparse_matrices_of_any_age(layout: str, module: str) -> None:
    rng = np.random.default_rng(1)
    dense = np.where(rng.random((4, 7)) < 0.5, rng.standard_normal((4, 7)), 0)
    data = pickle.dumps(sparse.csc_matrix(dense).asformat(layout), protocol=2)
    data = data.replace(f"scipy.sparse._{layout}".encode(), module.format(layout).encode())
    np.testing.assert_array_equal(parse_pickle(data, "test").dense(), dense)
    before_07 = data.replace(b"X\x06\x00\x00\x00_shape", b"X\x05\x00\x00\x00shape")
    assert before_07 != data
    np.testing.assert_array_equal(parse_pickle(before_07, "test").dense(), dense)


def test_python2_files() -> None:
    values = np.random.default_rng(2).standard_normal((3, 4))
    np.testing.assert_array_equal(parse_pickle(python2_pickle(values), "test")["x"], values)
    protocol0 = b"(dp0\nS'it\\'s \\xe9'\np1\nF1.5\nsS'n'\nL12L\nsS'b'\nI01\ns."
    assert parse_pickle(protocol0, "test") == {"it's \xe9": 1.5, "n": 12, "b": True}


def test_long_text_and_bytes_come_back_whole() -> None:
    value = {"t": "é" * 70_000, "b": bytes(range(256)) * 300}
    assert parse_pickle(pickle.dumps(value), "test") == value


def test_chumpy_values_become_their_arrays() -> None:
    x = np.arange(12.0).reshape(3, 4)
    with fake_chumpy() as ch:
        value = {
            "ch": ch.Ch(x=x, _dirty_vars=set()),
            "select": ch.Select(a=ch.Ch(x=x), idxs=np.array([5, 0, 7, 2]), preferred_shape=np.array([2, 2])),
            "reshape": ch.Reshape(a=ch.Ch(x=x), newshape=(2, 6)),
            "transpose": ch.transpose(a=ch.Ch(x=x), axes=None),
            "sum": ch.add(a=ch.Ch(x=x), b=ch.Ch(x=x)),
        }
        for protocol in (0, 1, 2, 4):
            got = parse_pickle(pickle.dumps(value, protocol=protocol), "test")
            np.testing.assert_array_equal(got["ch"], x)
            np.testing.assert_array_equal(got["select"], x.ravel()[[[5, 0], [7, 2]]])
            np.testing.assert_array_equal(got["reshape"], x.reshape(2, 6))
            np.testing.assert_array_equal(got["transpose"], x.T)
            assert isinstance(got["sum"], Record)  # a formula we do not evaluate stays inert
            assert got["sum"].name == "add"


def test_shared_and_cyclic_containers() -> None:
    shared = [1, np.arange(3)]
    got = parse_pickle(pickle.dumps({"a": shared, "b": shared}), "test")
    assert got["a"] is got["b"]
    cycle: list[Any] = []
    cycle.append(cycle)
    got = parse_pickle(pickle.dumps(cycle), "test")
    assert got[0] is got


class _Calls:
    def __init__(self, function: Any, *args: Any) -> None:
        self.what = (function, args)

    def __reduce__(self) -> Any:
        return self.what


class _WithState:
    def __setstate__(self, state: Any) -> None:
        raise AssertionError("foreign code ran")


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (_Calls(os.system, "touch RAN"), f"{os.system.__module__}.system"),
        (_Calls(eval, "open('RAN', 'w')"), "eval"),
        (_Calls(exec, "open('RAN', 'w')"), "exec"),
        (_Calls(getattr, os, "system"), "getattr"),
        (_Calls(np.load, "RAN"), "numpy.load"),
        (_Calls(pickle.loads, b"N."), "loads"),
        (_Calls(__import__, "antigravity"), "__import__"),
        (_Calls(Path, "RAN"), "pathlib.Path"),
        (_WithState(), "_WithState"),
    ],
)
def test_a_pickle_that_would_run_code_is_refused_by_name(
    value: Any, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for protocol in (0, 2, 4):
        data = {"harmless": 1, "nested": [value]} if not isinstance(value, _WithState) else value
        try:
            raw = pickle.dumps(data, protocol=protocol)
        except (TypeError, pickle.PicklingError):
            raw = b"c" + (name if "." in name else f"here.{name}").replace(".", "\n", 1).encode() + b"\n(tR."
        with pytest.raises(AssetError, match=name.replace(".", r"\.")):
            read_pickle(put(tmp_path, "bad.pkl", raw))
    assert not (tmp_path / "RAN").exists()


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"cos\nsystem\n(S'touch RAN'\ntR.", "os.system"),
        (b"(S'touch RAN'\nios\nsystem\n.", "os.system"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x01x\x85R.", "os.system"),
        (b"\x80\x04\x8c\x08builtins\x8c\x0cgetattr.eval\x93.", "getattr.eval"),
        (b"Pid7\n.", "persistent id"),
        (b"\x80\x02K\x07Q.", "persistent id"),
        (b"\x80\x02\x82\x01.", "copyreg extension"),
        (b"\x80\x02\x84\x01\x00\x00\x00.", "copyreg extension"),
        (b"\x80\x05\x97.", "buffer"),
        (b"}}b.", "sets the state of a dict"),
        (b"](tR.", "calls a list"),
        (b"cnumpy\nndarray\n(K\x05tR.", "called directly"),
        (b"c__builtin__\nobject\n(tR.", "called directly"),
        (b"cnumpy\ndtype\n(]tR.", "structured"),
        (b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\ndtype\nK\x00\x85U\x01btR.", "no array"),
        (b"c__builtin__\nset\n((]ltR.", "key"),
        (b"]]s.", "fills|empty"),
        (b"}(]K\x01u.", "key or set element of type list"),
    ],
)
def test_opcodes_that_reach_outside_are_refused(raw: bytes, words: str) -> None:
    with pytest.raises(AssetError, match=words):
        parse_pickle(raw, "bad.pkl")


def _array(shape: bytes, raw: bytes) -> bytes:
    """An array pickle with a shape tuple and raw bytes of the caller's choice."""
    return (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01" + shape
        + b"cnumpy\ndtype\nU\x02f8K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
        + raw + b"tb."
    )  # fmt: skip


@pytest.mark.parametrize(
    "raw",
    [
        b"\x80\x04\x8e" + struct.pack("<Q", 1 << 43) + b"abc.",  # 8 TiB of bytes
        b"\x80\x04\x8d" + struct.pack("<Q", (1 << 64) - 1) + b"abc.",
        b"\x80\x02\x8b" + struct.pack("<I", (1 << 32) - 1) + b"abc.",
        b"\x80\x02T" + struct.pack("<i", -5) + b"abc.",
        b"\x80\x02]r" + struct.pack("<I", (1 << 32) - 1) + b"K\x01aj" + struct.pack("<I", 5) + b".",
        b"\x80\x04\x95" + struct.pack("<Q", 1 << 60) + b"]0",
        _array(b"\x8a\x08" + struct.pack("<q", 1 << 50) + b"\x85", b"U\x08abcdefgh"),
        _array(b"K\x00\x8a\x08" + struct.pack("<q", 1 << 62) + b"\x86", b"U\x00"),
        _array(b"J\xff\xff\xff\xff\x85", b"U\x00"),
        _array(b"K\x02\x85", b"U\x08abcdefgh"),
        _array(b"K\x02\x85", b"]"),
        b"L" + b"9" * 5000 + b"\n.",
        b"F" + b"9" * 5000 + b"\n.",
        b"S'no end",
        b"S'\\x",
        b"Vno end\n",
        b"",
        b"\x80\x04N",
        b"0" * 10 + b".",
        b"." * 3,
        b"\xff\xff",
        b"K\x01" + b"\x85" * 5000 + b".",  # nested deeper than any model file
        b"]" * 5000 + b"a" * 4999 + b".",
    ],
)
def test_impossible_claims_are_refused_before_memory_is_taken(raw: bytes) -> None:
    with pytest.raises(AssetError, match="cannot read claims.pkl"):
        parse_pickle(raw, "claims.pkl")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({2**60: 1}, "odd keys"),
        ({k * (2**61 - 1) for k in range(3)}, "odd keys"),  # all of one hash
        ({(k, k): 0 for k in range(1500)}, "odd keys"),
        ({((1, 2), 3): 0}, "type tuple"),
    ],
)
def test_keys_that_could_collide_are_refused(value: Any, words: str) -> None:
    with pytest.raises(AssetError, match=words):
        parse_pickle(pickle.dumps(value), "test")
    assert parse_pickle(pickle.dumps({(1, "a"): 0, -5: 1, 2.5: 2, b"x": 3}), "test")[(1, "a")] == 0


def test_unknown_escapes_are_refused_without_a_warning() -> None:
    assert parse_pickle(rb"S'\\d \'\x41\101'" + b"\n.", "test") == "\\d 'AA"
    for bad in (rb"\d", rb"\\\d", rb"\777", rb"\x4", b"\\"):
        with pytest.raises(AssetError):
            parse_pickle(b"S'" + bad + b"'\n.", "test")


def test_dense_refuses_a_shape_that_no_model_has() -> None:
    huge = (1 << 30, 1 << 30)
    raw = pickle.dumps(sparse.coo_matrix((np.ones(1), ([0], [0])), shape=huge), protocol=2)
    matrix = parse_pickle(raw, "test")
    assert matrix.shape == huge
    with pytest.raises(UnreadableError, match="too large"):
        matrix.dense()


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(AssetError, match="no such file"):
        read_pickle(tmp_path / "absent.pkl")
    with pytest.raises(AssetError, match="folder"):
        read_pickle(tmp_path)
    with pytest.raises(AssetError, match="more than the 10"):
        read_pickle(put(tmp_path, "big.pkl", pickle.dumps(list(range(100)))), max_bytes=10)
