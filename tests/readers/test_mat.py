"""MATLAB files: as scipy reads them, and nothing but AssetError for anything damaged."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openexpose.errors import AssetError
from openexpose.readers.mat import MatCell, MatStruct, read_mat

NUMBERS = ("f8", "f4", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8")


def _struct(rows: list[dict[str, object]]) -> np.ndarray:
    out = np.empty((1, len(rows)), dtype=[(n, object) for n in rows[0]])
    for i, row in enumerate(rows):
        out[0, i] = tuple(row.values())
    return out


def contents() -> dict[str, object]:
    rng = np.random.default_rng(0)
    points = [{"x": rng.random(), "id": np.uint8(i), "seen": "1" if i % 2 else np.zeros((0, 0))} for i in range(5)]
    return {
        **{f"n_{t}": rng.integers(0, 100, (2, 3, 4)).astype(t) for t in NUMBERS},
        "flags": np.array([[True, False, True]]),
        "text": "hellö",
        "lines": np.array(["ab", "cd"]),
        "cell": np.array([3.5, "x", np.arange(6.0).reshape(2, 3)], dtype=object),
        "points": _struct(points),
        "outer": {"inner": _struct([{"deep": _struct(points)}]), "negative": -7.25, "small": np.int16(-3)},
        "nothing": np.zeros((0, 3)),
    }


def same(ours: object, theirs: object) -> None:
    """Compare with scipy's `loadmat(squeeze_me=False)`."""
    if isinstance(ours, MatStruct):
        assert isinstance(theirs, np.ndarray) and ours.shape == theirs.shape
        assert tuple(ours.fields) == theirs.dtype.names
        flat = theirs.ravel(order="F")
        for name, values in ours.fields.items():
            for mine, other in zip(values, flat[name], strict=True):
                same(mine, other)
    elif isinstance(ours, MatCell):
        assert isinstance(theirs, np.ndarray) and ours.shape == theirs.shape
        for mine, other in zip(ours.items, theirs.ravel(order="F"), strict=True):
            same(mine, other)
    elif isinstance(ours, str):
        assert (theirs.size == 0 and ours == "") or theirs.tolist() == [ours]
    elif isinstance(ours, np.ndarray) and ours.dtype.kind == "U":
        assert ["".join(line) for line in ours] == theirs.tolist()
    elif isinstance(ours, np.ndarray):
        np.testing.assert_array_equal(ours, theirs)
        assert ours.dtype == theirs.dtype or (ours.dtype == bool and theirs.dtype == np.uint8)
    else:
        assert theirs.shape == (1, 1) and theirs[0, 0] == ours


@pytest.mark.parametrize("compressed", [False, True])
def test_as_scipy_reads_it(tmp_path: Path, compressed: bool) -> None:
    file = tmp_path / "a.mat"
    scipy.io.savemat(file, contents(), do_compression=compressed)
    ours, theirs = read_mat(file), scipy.io.loadmat(file)
    assert set(ours) == {k for k in theirs if not k.startswith("__")}
    for name, value in ours.items():
        same(value, theirs[name])
    assert [p["id"] for p in ours["points"]] == [0, 1, 2, 3, 4]


def test_the_other_byte_order(tmp_path: Path) -> None:
    """One 1 x 2 double written by hand as a big-endian machine would."""
    file = tmp_path / "big.mat"
    body = (
        struct.pack(">II II", 6, 8, 6, 0) + struct.pack(">II ii", 5, 8, 1, 2) + struct.pack(">HH4s", 1, 1, b"a\0\0\0")
    )
    body += struct.pack(">II dd", 9, 16, 1.5, -2.0)
    file.write_bytes(
        b"MATLAB 5.0".ljust(124) + struct.pack(">H", 0x0100) + b"MI" + struct.pack(">II", 14, len(body)) + body
    )
    np.testing.assert_array_equal(read_mat(file)["a"], [[1.5, -2.0]])


def test_only_what_is_asked_for_is_read(tmp_path: Path) -> None:
    file = tmp_path / "a.mat"
    scipy.io.savemat(file, {"good": 1.0, "bad": np.array([1 + 2j, 2])})
    assert read_mat(file, ["good"]) == {"good": 1.0}
    with pytest.raises(AssetError, match="complex"):
        read_mat(file)
    with pytest.raises(AssetError, match="no variable joints"):
        read_mat(file, ["joints"])


def test_other_versions_are_named(tmp_path: Path) -> None:
    file = tmp_path / "a.mat"
    file.write_bytes(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(512) + b"\x89HDF\r\n\x1a\n" + b"\0" * 64)
    with pytest.raises(AssetError, match=r"7\.3 .*-v7"):
        read_mat(file)
    scipy.io.savemat(file, {"x": np.eye(3)}, format="4")
    with pytest.raises(AssetError, match="version 5"):
        read_mat(file)
    with pytest.raises(AssetError, match="no such file"):
        read_mat(tmp_path / "none.mat")


def test_claims_are_checked_before_memory_is_taken(tmp_path: Path) -> None:
    file = tmp_path / "bomb.mat"
    head = b"MATLAB 5.0".ljust(124) + struct.pack("<H", 0x0100) + b"IM"
    shape = struct.pack("<II II", 6, 8, 1, 0) + struct.pack("<II ii", 5, 8, 1 << 30, 1) + struct.pack("<II", 1, 0)
    file.write_bytes(head + struct.pack("<II", 14, len(shape)) + shape)  # a cell array of 2**30 cells
    with pytest.raises(AssetError, match="more than its bytes can hold"):
        read_mat(file)
    packed = zlib.compressobj(9)
    zeros = b"".join([*(packed.compress(bytes(1 << 20)) for _ in range(64)), packed.flush()])
    many = b"".join(struct.pack("<II", 15, len(zeros)) + zeros for _ in range(3))
    file.write_bytes(head + many)
    with pytest.raises(AssetError):
        read_mat(file)


def _valid() -> bytes:
    out = io.BytesIO()
    keep = {k: v for k, v in contents().items() if k in ("points", "cell", "n_f4", "text", "outer")}
    scipy.io.savemat(out, keep)
    return out.getvalue()


@given(data=st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_files_are_refused_or_read(tmp_path: Path, data: st.DataObject) -> None:
    raw = bytearray(_valid())
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(100, len(raw) - 1))
        raw[at] = data.draw(st.sampled_from([0, 1, 5, 14, 15, 0x7F, 0xFF]) | st.integers(0, 255))
    raw = raw[: data.draw(st.integers(0, len(raw)) | st.just(len(raw)))]
    file = tmp_path / "damaged.mat"
    file.write_bytes(bytes(raw))
    try:
        read_mat(file)
    except AssetError as e:
        assert "damaged.mat" in str(e)


def test_struct_arrays_can_be_read_when_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "a.mat"
    scipy.io.savemat(file, {k: v for k, v in contents().items() if k in ("points", "outer")})
    there = scipy.io.loadmat(file)
    same(read_mat(file, ["points"], lazily=True)["points"], there["points"])
    outer = read_mat(file, lazily=True)["outer"]
    same(outer, there["outer"])
    points = outer.element(0)["inner"].element(0)["deep"]
    assert points.element(3)["id"] == 3 and len(points.fields["x"]) == 5
    scipy.io.savemat(file, {"points": contents()["points"]})
    raw = bytearray(file.read_bytes())
    raw[raw.rindex(struct.pack("<II", 9, 8))] = 17  # the last x claims to be text
    file.write_bytes(bytes(raw))
    points = read_mat(file, lazily=True)["points"]
    assert points.element(0)["id"] == 0
    with pytest.raises(AssetError, match=r"a\.mat: a data element of kind 17"):
        points.element(4)
    with pytest.raises(AssetError, match="kind 17"):
        read_mat(file)
