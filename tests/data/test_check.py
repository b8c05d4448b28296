from dataclasses import replace

import numpy as np
import pytest

from openexpose.data.check import check, check_values
from openexpose.data.dataset import HumanDataStore
from openexpose.data.humandata import HumanData
from openexpose.data.humandata_write import write_humandata, write_records
from tests.data.toys import ToyStore


@pytest.fixture
def folder(tmp_path):
    """Six good rows with their photos."""
    toy = ToyStore()
    for i in range(len(toy)):
        (tmp_path / f"{i}.png").write_bytes(toy.photo(i))
    write_records(tmp_path / "good.npz", [toy.row(i) for i in range(len(toy))])
    return tmp_path


def findings(folder, name, **options):
    store = HumanDataStore(HumanData.open(folder / name), folder)
    return {(f.row, f.field): f.problem for f in check(store, **{"photos": True, "decode": True, **options})}


def test_good_data_has_no_findings(folder):
    assert findings(folder, "good.npz") == {}


def points(key, value):
    """The record with its first keypoint changed."""

    def change(record):
        xyc = getattr(record, key).xyc.copy()
        xyc[0] = value
        return replace(record, **{key: replace(getattr(record, key), xyc=xyc)})

    return change


def param(name, value):
    """The record with one param changed."""
    return lambda record: replace(record, params={**record.params, name: record.params[name] * 0 + value})


def box(*xywh):
    """The record with another box."""
    return lambda record: replace(record, box_xywh_px=np.array(xywh, float))


@pytest.mark.parametrize(
    ("key", "change", "problem"),
    [
        ("bbox_xywh", box(5, 5, np.nan, 9), "not finite"),
        ("bbox_xywh", box(5, 5, 0, 9), "empty"),
        ("bbox_xywh", box(900, 5, 10, 9), "does not touch"),
        ("keypoints2d", points("keypoints2d", np.inf), "not finite"),
        ("keypoints2d", points("keypoints2d", 2.0), "confidence"),
        ("keypoints3d", points("keypoints3d", [1500.0, 0, 0, 1]), "millimetres"),
        ("smplx/global_orient", param("global_orient", 90.0), "degrees"),
        ("smplx/body_pose", param("body_pose", np.nan), "not finite"),
        ("smplx/betas", param("betas", 99.0), "standard deviations"),
    ],
)
def test_each_bad_value_is_named_with_row_and_field(folder, key, change, problem):
    toy = ToyStore()
    rows = [toy.row(i) for i in range(len(toy))]
    rows[3] = change(rows[3])
    write_records(folder / "bad.npz", rows)
    got = findings(folder, "bad.npz")
    assert set(got) == {(3, key)} and problem in got[(3, key)]


def test_missing_and_truncated_photos_are_named(folder):
    (folder / "1.png").unlink()
    data = (folder / "4.png").read_bytes()
    (folder / "4.png").write_bytes(data[: len(data) // 2])
    got = findings(folder, "good.npz")
    assert set(got) == {(1, "image_path"), (4, "image_path")} and "damaged" in got[(4, "image_path")]
    assert set(findings(folder, "good.npz", decode=False)) == {(1, "image_path")}
    assert findings(folder, "good.npz", photos=False) == {}


def test_rows_without_a_box_are_named(folder):
    toy = ToyStore(2)
    write_records(folder / "nobox.npz", [replace(toy.row(i), box_xywh_px=None) for i in range(2)])
    assert "no box" in findings(folder, "nobox.npz")[(0, "bbox_xywh")]


def test_chunks_cover_every_row(tmp_path, monkeypatch):
    monkeypatch.setattr("openexpose.data.check.CHUNK_ROWS", 3)
    boxes = np.ones((10, 5))
    boxes[[2, 3, 9], 2] = -1
    write_humandata(tmp_path / "b.npz", {"image_path": ["a"] * 10, "bbox_xywh": boxes})
    assert [f.row for f in check_values(HumanData.open(tmp_path / "b.npz"))] == [2, 3, 9]
