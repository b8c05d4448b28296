"""`.npy`, `.npz`, safetensors: agreement with numpy, lazy access, reproducible and atomic writing, refusals."""

import errno
import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from openexpose.errors import AssetError, DataError
from openexpose.readers import (
    Npz,
    peek_npy,
    peek_safetensors,
    read_npy,
    read_npz,
    read_safetensors,
    sha256_of,
    write_atomically,
    write_npz,
    write_safetensors,
)
from readers_samples import npy_bytes, npz_bytes, put


@pytest.mark.parametrize("dtype", ["<f8", ">f8", "<f4", "<f2", "|u1", "<i8", "<u4", "|b1", "<U5", "|S3", "<c16"])
@pytest.mark.parametrize("shape", [(), (0, 3), (5,), (2, 3, 4)])
def test_npy_agrees_with_numpy(dtype: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    want = (np.random.default_rng(3).random(shape) * 9).astype(dtype)
    for array in (want, np.asarray(want, order="F")):
        path = put(tmp_path, "a.npy", npy_bytes(array))
        got = read_npy(path)
        assert got.dtype == want.dtype
        assert got.shape == want.shape == peek_npy(path).shape
        assert got.flags.writeable
        assert got.flags.aligned
        np.testing.assert_array_equal(got, want)


def test_npy_of_objects_and_its_pickle_rules(tmp_path: Path) -> None:
    table = {"lmk_face_idx": np.arange(3), "names": ["a", "b"]}
    got = read_npy(put(tmp_path, "o.npy", npy_bytes(np.array(table, object), allow_pickle=True))).item()
    np.testing.assert_array_equal(got["lmk_face_idx"], [0, 1, 2])
    hostile = npy_bytes(np.array([os.path.join], object), allow_pickle=True)
    with pytest.raises(AssetError, match=r"posixpath\.join"):
        read_npy(put(tmp_path, "h.npy", hostile))
    structured = npy_bytes(np.zeros(2, [("a", "f8")]))
    with pytest.raises(AssetError, match="structured"):
        read_npy(put(tmp_path, "s.npy", structured))


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_npz_reads_one_member_at_a_time(write: Any, tmp_path: Path) -> None:
    a, b = np.arange(12.0).reshape(3, 4), np.array({"x": 1}, object)
    path = put(tmp_path, "z.npz", npz_bytes(write, a=a, b=b, f=np.asfortranarray(a)))
    with Npz(path) as z:
        assert z.keys() == ("a", "b", "f")
        assert "a" in z
        assert "absent" not in z
        assert z.header("a").shape == (3, 4)
        assert z.header("a").dtype == np.float64
        for key in ("a", "f"):
            np.testing.assert_array_equal(z.read(key), a)
            mapped = z.memmap(key)
            if write is np.savez:
                assert mapped is not None
                np.testing.assert_array_equal(mapped[:, 1], a[:, 1])
            else:
                assert mapped is None
        assert z.memmap("b") is None
        assert z.read("b").item() == {"x": 1}
        with pytest.raises(AssetError, match="no array of this name, but a, b, f"):
            z.read("absent")
    assert set(read_npz(path)) == {"a", "b", "f"}
    assert set(read_npz(path, ["a"])) == {"a"}
    with pytest.raises(AssetError, match="absent"):
        read_npz(path, ["absent"])


def test_npz_limits(tmp_path: Path) -> None:
    path = put(tmp_path, "z.npz", npz_bytes(np.savez, a=np.zeros(1000)))
    with Npz(path, max_member_bytes=100) as z, pytest.raises(AssetError, match="more than the 100 allowed"):
        z.read("a")
    with pytest.raises(AssetError, match="not a zip"):
        Npz(put(tmp_path, "no.npz", b"text"))
    with pytest.raises(AssetError, match="no such file"):
        Npz(tmp_path / "absent.npz")


def test_written_npz_is_reproducible_and_numpy_reads_it(tmp_path: Path) -> None:
    arrays = {"a": np.random.default_rng(0).random((4, 3)), "names": np.array(["x", "yz"]), "n": np.int64(3)}
    for compressed in (False, True):
        first, second = tmp_path / f"1{compressed}.npz", tmp_path / f"2{compressed}.npz"
        write_npz(first, arrays, compressed=compressed)
        write_npz(second, arrays, compressed=compressed)
        assert first.read_bytes() == second.read_bytes()
        with np.load(first) as z:
            for key, value in arrays.items():
                np.testing.assert_array_equal(z[key], value)
        np.testing.assert_array_equal(read_npz(first)["a"], arrays["a"])
    with pytest.raises(DataError, match="Python objects"):
        write_npz(tmp_path / "o.npz", {"o": np.array({}, object)}, compressed=False)
    assert not list(tmp_path.glob("*o.npz*"))


def test_safetensors_round_trip(tmp_path: Path) -> None:
    arrays = {"a": np.arange(6, dtype=np.float32).reshape(2, 3).T, "i": np.arange(4, dtype=np.int32)}
    path = tmp_path / "t.safetensors"
    write_safetensors(path, arrays, {"k": "v"})
    got, metadata = read_safetensors(path)
    assert metadata == {"k": "v"}
    np.testing.assert_array_equal(got["a"], arrays["a"])
    for k in range(8):
        write_safetensors(tmp_path / f"{k}", arrays, {"ä": '"x"', "a": "\n", "c": "1", "b": "2"})
    assert len({(tmp_path / f"{k}").read_bytes() for k in range(8)}) == 1
    assert read_safetensors(tmp_path / "0")[1]["ä"] == '"x"'
    write_safetensors(tmp_path / "bare", arrays, {})
    assert read_safetensors(tmp_path / "bare")[1] == {}
    assert peek_safetensors(path) == ({"a": (3, 2), "i": (4,)}, {"k": "v"})
    with pytest.raises(AssetError, match=r"bad\.safetensors"):
        read_safetensors(put(tmp_path, "bad.safetensors", path.read_bytes()[:-3]))
    with pytest.raises(AssetError, match="no such file"):
        peek_safetensors(tmp_path / "absent.safetensors")


def test_sha256(tmp_path: Path) -> None:
    path = put(tmp_path, "x", b"abc" * 100_000)
    assert sha256_of(path) == hashlib.sha256(b"abc" * 100_000).hexdigest()
    with pytest.raises(AssetError, match="absent"):
        sha256_of(tmp_path / "absent")


def test_atomic_writing_leaves_all_or_nothing(tmp_path: Path) -> None:
    out = tmp_path / "new" / "r.txt"
    with write_atomically(out) as temporary:
        assert temporary.parent == out.parent
        assert temporary.suffix == ".txt"
        temporary.write_text("first")
        assert not out.exists()
    assert out.read_text() == "first"
    assert out.stat().st_mode & 0o777 == 0o666 & ~_umask()
    with pytest.raises(ZeroDivisionError), write_atomically(out) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    with pytest.raises(DataError, match="disk is full"), write_atomically(out) as temporary:
        temporary.write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(FileNotFoundError), write_atomically(out):  # the caller's own mistake stays his
        (tmp_path / "absent").read_text()
    assert out.read_text() == "first"
    assert [p.name for p in out.parent.iterdir()] == ["r.txt"]
    with pytest.raises(DataError, match="cannot write"), write_atomically(out / "below-a-file.txt"):
        pass


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_reported(tmp_path: Path) -> None:
    with (
        pytest.raises(DataError, match="disk is full"),
        write_atomically(tmp_path / "r.txt"),
        open("/dev/full", "w") as f,
    ):
        f.write("x")
    assert not list(tmp_path.iterdir())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
