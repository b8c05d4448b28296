import numpy as np
import pytest

from openexpose.data.convert.common import Problem
from openexpose.data.convert.parts import block_of, load_block, save_block, write_blocks
from openexpose.data.humandata import HumanData
from openexpose.data.humandata_write import write_records
from openexpose.data.record import Keypoints, Record
from openexpose.errors import DataError
from openexpose.skeleton import Skeleton


def records(count, seed=0):
    rng, lsp = np.random.default_rng(seed), Skeleton.read("lsp")
    for i in range(count):
        yield Record(
            f"{seed}/{i}.jpg",
            rng.uniform(0, 99, 4),
            Keypoints(lsp, rng.uniform(0, 99, (14, 3))),
            params={"betas": rng.normal(size=10)},
            family="smplx",
            extras={"vertices": rng.normal(size=(5 + i % 2, 3)), "meta/gender": "mf"[i % 2],
                    "cam_param": {"K": np.eye(3), "T": rng.normal(size=3)}},
        )  # fmt: skip


def test_pieces_make_the_file_that_all_rows_at_once_would(tmp_path):
    rows = [*records(3), *records(2, seed=1)]
    blocks = [block_of(rows[:3], [], "a"), block_of(rows[3:], [], "b")]
    assert write_blocks(tmp_path / "a.npz", blocks, config="x") == 5
    data, plain = HumanData.open(tmp_path / "a.npz"), tmp_path / "b.npz"
    write_records(plain, rows)
    want = HumanData.open(plain)
    for i, row in enumerate(rows):
        got, other = data.row(i, extras=True), want.row(i)
        assert got.photo == row.photo and got.extras["meta/gender"] == row.extras["meta/gender"]
        np.testing.assert_array_equal(got.keypoints2d.xyc, other.keypoints2d.xyc)
        np.testing.assert_array_equal(got.box_xywh_px, row.box_xywh_px)
        np.testing.assert_array_equal(got.params["betas"], row.params["betas"])
        np.testing.assert_array_equal(got.extras["cam_param/T"], row.extras["cam_param"]["T"])
    assert data.keypoints_compressed and data.column("keypoints2d").shape == (5, 14, 3)
    with np.load(tmp_path / "a.npz", allow_pickle=True) as z:  # as the reference reads it
        np.testing.assert_array_equal(z["cam_param"][3]["T"], rows[3].extras["cam_param"]["T"])
        assert z["meta"].item()["gender"] == ["m", "f", "m", "m", "f"] and z["image_path"][4] == "1/1.jpg"
        assert [v.shape for v in z["vertices"]] == [(5, 3), (6, 3), (5, 3), (5, 3), (6, 3)]


def test_ragged_rows_survive_the_disk(tmp_path):
    block = block_of(list(records(4)), [Problem("a", "b")], "a")
    save_block(tmp_path / "0.npz", block, "made of this")
    again = load_block(tmp_path / "0.npz", "made of this")
    assert again.problems == (Problem("a", "b"),) and again.family == "smplx" and again.skeletons == block.skeletons
    for key, column in block.columns.items():
        np.testing.assert_array_equal(again.columns[key], column)
    write_blocks(tmp_path / "a.npz", [again, block], config="x")
    for i, row in enumerate([*records(4), *records(4)]):
        got = HumanData.open(tmp_path / "a.npz").row(i, extras=True).extras["vertices"]
        np.testing.assert_array_equal(got, row.extras["vertices"])
    assert load_block(tmp_path / "0.npz", "made of that") is None
    assert load_block(tmp_path / "1.npz", "made of this") is None


def test_rows_that_differ_are_named(tmp_path):
    first, second = records(2)
    odd = Record("odd.jpg", first.box_xywh_px)
    with pytest.raises(DataError, match=r"a, row 1 \(odd.jpg\)"):
        block_of([first, odd], [], "a")
    with pytest.raises(DataError, match="pieces differ"):
        write_blocks(tmp_path / "a.npz", [block_of([first], [], "a"), block_of([odd], [], "b")], config="x")
    with pytest.raises(DataError, match="no rows"):
        write_blocks(tmp_path / "a.npz", [block_of([], [Problem("a", "b")], "a")], config="x")
    assert not (tmp_path / "a.npz").exists()
