import numpy as np
import pytest

from openexpose.errors import AssetError
from openexpose.readers.hdf5 import Hdf5
from tests.raw_trees.hdf5 import write_cells


@pytest.fixture
def cells():
    rng = np.random.default_rng(0)
    return [(rng.random((30, 20 + i)) < 0.3).astype(np.uint8) for i in range(12)]


@pytest.mark.parametrize("packed", [False, True])
def test_cells_come_back_behind_their_references(tmp_path, cells, packed):
    """The writer's files are ones that h5py 3.16 reads alike."""
    write_cells(tmp_path / "a.mat", "Masks", cells, packed=packed)
    with Hdf5(tmp_path / "a.mat") as f:
        assert f.names() == ("Masks",)
        places = f.read("Masks")
        assert places.shape == (12, 1)
        for place, cell in zip(places[:, 0], cells, strict=True):
            np.testing.assert_array_equal(f.read_at(int(place)).T, cell)


def test_foreign_files_and_names_are_refused(tmp_path, cells):
    path = tmp_path / "a.mat"
    path.write_bytes(b"MATLAB 5.0 MAT-file" + bytes(3000))
    with pytest.raises(AssetError, match="no HDF5 file"):
        Hdf5(path)
    path.write_bytes(b"")
    with pytest.raises(AssetError, match="damaged"):
        Hdf5(path)
    write_cells(path, "Masks", cells)
    with Hdf5(path) as f:
        with pytest.raises(AssetError, match=r"has no 'Boxes', but .*Masks"):
            f.read("Boxes")
        with pytest.raises(AssetError, match="at byte 17"):
            f.read_at(17)


def test_damaged_files_are_refused_or_read(tmp_path, cells):
    rng, path = np.random.default_rng(1), tmp_path / "a.mat"
    write_cells(path, "Masks", cells[:2])
    raw = np.frombuffer(path.read_bytes(), np.uint8)
    places = np.flatnonzero(raw[512:]) + 512
    for _ in range(150):
        bad = raw.copy()
        bad[rng.choice(places, 3)] = rng.integers(0, 256, 3)
        path.write_bytes(bad[: rng.integers(600, len(bad) + 1)].tobytes())
        try:
            with Hdf5(path) as f:
                for place in f.read("Masks").ravel()[:2]:
                    f.read_at(int(place))
        except AssetError:
            continue
