import numpy as np
import pytest

from openexpose.errors import AssetError
from openexpose.readers.cdf import read_cdf
from tests.raw_trees.cdf import write_cdf

POSE = np.random.default_rng(0).normal(size=(1, 9, 96)).astype(np.float32)


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize(("packed", "whole"), [(False, False), (True, False), (False, True)])
def test_values_come_back(tmp_path, version, packed, whole):
    """The writer's files are ones that cdflib 1.3.16 reads alike, all eight kinds."""
    write_cdf(tmp_path / "a.cdf", "Pose", POSE, version=version, packed=packed, whole=whole)
    got = read_cdf(tmp_path / "a.cdf")
    assert list(got) == ["Pose"]
    np.testing.assert_array_equal(got["Pose"], POSE)


def test_foreign_and_oversized_files_are_refused(tmp_path):
    path = tmp_path / "a.cdf"
    with pytest.raises(AssetError, match="no such file"):
        read_cdf(path)
    path.write_bytes(b"CDF\x01" + bytes(50))
    with pytest.raises(AssetError, match="no CDF file of version"):
        read_cdf(path)
    write_cdf(path, "Pose", POSE, packed=False)
    raw = path.read_bytes()
    shape = np.array([2, 9, 96], ">i4").tobytes()
    path.write_bytes(raw.replace(shape, np.array([2, 99999, 99999], ">i4").tobytes()))
    with pytest.raises(AssetError, match="claims 1 records of"):
        read_cdf(path)
    path.write_bytes(raw[:-100])
    with pytest.raises(AssetError, match="truncated"):
        read_cdf(path)


def test_damaged_files_are_refused_or_read(tmp_path):
    rng, path = np.random.default_rng(1), tmp_path / "a.cdf"
    write_cdf(path, "Pose", POSE[:, :1], packed=True)
    raw = np.frombuffer(path.read_bytes(), np.uint8)
    for _ in range(150):
        bad = raw.copy()
        bad[rng.integers(0, len(bad), 4)] = rng.integers(0, 256, 4)
        path.write_bytes(bad[: rng.integers(8, len(bad) + 1)].tobytes())
        try:
            read_cdf(path)
        except AssetError:
            continue
