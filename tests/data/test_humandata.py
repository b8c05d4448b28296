import contextlib
import pickle
import pickletools
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from openexpose.data.humandata import HumanData
from openexpose.data.humandata_write import write_humandata, write_records
from openexpose.data.record import Keypoints, Record
from openexpose.errors import AssetError, DataError, OpenExposeError, ShapeError
from openexpose.skeleton import Skeleton


def example(n=7, seed=0):
    """A HumanData dictionary like those of the reference's converters; only 137 OpenPose points are known."""
    rng = np.random.default_rng(seed)
    to_master = Skeleton.read("openpose_137").map_to(Skeleton.read("human_data"))
    k2d = to_master(rng.uniform(0.1, 1, (n, 137, 3)))
    return {
        "image_path": [f"im/{i:05d}.jpg" for i in range(n)],
        "bbox_xywh": rng.uniform(1, 100, (n, 5)),
        "keypoints2d": k2d,
        "keypoints2d_mask": np.asarray(to_master.present, np.uint8),
        "keypoints2d_convention": "human_data",
        "config": "CE",
        "smplx": {"betas": rng.normal(size=(n, 10)).astype(np.float32), "body_pose": rng.normal(size=(n, 21, 3))},
        "meta": {"gender": ["m" if i % 2 else "f" for i in range(n)]},
    }


def reference_style(path, data):
    """What the reference writes: `np.savez_compressed` of the compressed dictionary."""
    mask = data["keypoints2d_mask"]
    extra = {"__key_strict__": False, "__data_len__": len(data["image_path"]), "__keypoints_compressed__": True}
    np.savez_compressed(path, **{**data, "keypoints2d": data["keypoints2d"][:, mask == 1], **extra})
    return path


def same_rows(store, data):
    assert len(store) == len(data["image_path"])
    for i, row in enumerate(store):
        assert row.photo == data["image_path"][i] and row.family == "smplx"
        np.testing.assert_array_equal(row.box_xywh_px, data["bbox_xywh"][i, :4])
        np.testing.assert_array_equal(row.keypoints2d.xyc, data["keypoints2d"][i])
        assert row.keypoints2d.skeleton.name == "human_data"
        assert set(row.params) == set(data["smplx"])
        for name, values in data["smplx"].items():
            np.testing.assert_array_equal(row.params[name], values[i])
        assert store.row(i, extras=True).extras["meta/gender"] == data["meta"]["gender"][i]


@pytest.mark.parametrize("small_bytes", [0, 1 << 30])
def test_files_of_the_reference_are_read(tmp_path, monkeypatch, small_bytes):
    monkeypatch.setattr("openexpose.data.humandata.SMALL_BYTES", small_bytes)
    data = example()
    store = HumanData.open(reference_style(tmp_path / "a.npz", data))
    same_rows(store, data)
    assert store.keypoints_compressed and not store.key_strict
    assert (tmp_path / ".openexpose" / "a.rows.npz").exists() == (small_bytes == 0)


def test_written_files_are_read_by_plain_numpy_as_the_reference_does(tmp_path):
    data = example()
    write_humandata(tmp_path / "b.npz", data)
    with np.load(tmp_path / "b.npz", allow_pickle=True) as z:
        raw = {k: z[k] for k in z.files}
    assert raw["smplx"].shape == () and raw["smplx"].dtype == object and type(raw["smplx"].item()) is dict
    np.testing.assert_array_equal(raw["smplx"].item()["body_pose"], data["smplx"]["body_pose"])
    assert raw["meta"].item()["gender"] == data["meta"]["gender"]
    assert raw["image_path"].tolist() == data["image_path"] and str(raw["config"]) == "CE"
    assert bool(raw["__keypoints_compressed__"]) and int(raw["__data_len__"]) == 7 and not raw["__key_strict__"]
    mask = raw["keypoints2d_mask"]
    assert mask.dtype == np.uint8 and mask.shape == (190,)
    np.testing.assert_array_equal(raw["keypoints2d"], data["keypoints2d"][:, mask == 1])
    same_rows(HumanData.open(tmp_path / "b.npz"), data)


def test_pickles_name_only_modules_that_old_numpy_has(tmp_path):
    write_humandata(tmp_path / "b.npz", example())
    with zipfile.ZipFile(tmp_path / "b.npz") as z:
        raw = z.read("smplx.npy")
    pickled = raw[10 + int.from_bytes(raw[8:10], "little") :]
    names = {a for op, a, _ in pickletools.genops(pickled) if op.name == "GLOBAL"}
    assert names == {"numpy.core.multiarray _reconstruct", "numpy ndarray", "numpy dtype"}
    assert set(pickle.loads(pickled).item()) == {"betas", "body_pose"}


def test_same_data_same_bytes(tmp_path):
    for name in ("1.npz", "2.npz"):
        write_humandata(tmp_path / name, example())
    assert (tmp_path / "1.npz").read_bytes() == (tmp_path / "2.npz").read_bytes()


def test_a_large_file_is_mapped_and_rows_are_read_alone(tmp_path):
    n = 300_000
    path = tmp_path / "large.npz"
    betas = np.broadcast_to(np.arange(n, dtype=np.float32)[:, None], (n, 10))
    arrays = {
        "image_path": np.array(["x.jpg"] * n),
        "bbox_xywh": np.zeros((n, 5), np.float32),
        "smplx/betas": betas,
        "__data_len__": np.array(n),
    }
    np.savez(path, **arrays)
    began = time.perf_counter()
    store = HumanData.open(path)
    assert isinstance(store.column("smplx/betas"), np.memmap)
    rows = [store.row(i) for i in (0, 123_456, n - 1)]
    took = time.perf_counter() - began
    assert [r.params["betas"][0] for r in rows] == [0, 123_456, n - 1]
    assert took < 0.5  # seconds; copying the file would already take about as long
    assert not (tmp_path / ".openexpose").exists()


def test_the_unpacked_copy_follows_its_source(tmp_path, monkeypatch):
    monkeypatch.setattr("openexpose.data.humandata.SMALL_BYTES", 0)
    path = reference_style(tmp_path / "a.npz", example(5))
    assert len(HumanData.open(path)) == 5
    copy = tmp_path / ".openexpose" / "a.rows.npz"
    stamp = copy.stat().st_mtime_ns
    assert len(HumanData.open(path)) == 5 and copy.stat().st_mtime_ns == stamp
    reference_style(path, example(9))
    assert len(HumanData.open(path)) == 9
    copy.write_bytes(b"damaged")
    assert len(HumanData.open(path)) == 9
    assert len(HumanData.open(path, cache_dir=tmp_path / "elsewhere")) == 9
    assert (tmp_path / "elsewhere" / "a.rows.npz").exists()


def test_other_processes_reopen_the_file(tmp_path):
    store = HumanData.open(reference_style(tmp_path / "a.npz", example()))
    sent = pickle.dumps(store)
    assert len(sent) < 1000  # bytes: a path, not the values
    same_rows(pickle.loads(sent), example())


def test_records_there_and_back(tmp_path):
    coco = Skeleton.read("coco")
    rng = np.random.default_rng(2)
    rows = [
        Record(
            photo=f"{i}.jpg",
            box_xywh_px=rng.uniform(0, 9, 4),
            keypoints2d=Keypoints(coco, rng.uniform(0.1, 1, (17, 3))),
            params={"betas": rng.normal(size=10)},
            family="smplx",
            extras={"meta/gender": "f", "vertices": np.ones((i, 3))},
        )
        for i in range(1, 4)
    ]
    assert write_records(tmp_path / "r.npz", iter(rows)) == 3
    store = HumanData.open(tmp_path / "r.npz")
    for i, want in enumerate(rows):
        got = store.row(i, extras=True)
        np.testing.assert_array_equal(got.keypoints2d.as_skeleton(coco).xyc, want.keypoints2d.xyc)
        np.testing.assert_array_equal(got.box_xywh_px, want.box_xywh_px)
        np.testing.assert_array_equal(got.params["betas"], want.params["betas"])
        assert got.extras["vertices"].shape == (i + 1, 3) and got.extras["meta/gender"] == "f"


def test_rows_with_other_fields_are_refused(tmp_path):
    with pytest.raises(DataError, match="row 1"):
        write_records(tmp_path / "r.npz", [Record("a"), Record("b", box_xywh_px=np.ones(4))])
    with pytest.raises(DataError, match="no rows"):
        write_records(tmp_path / "r.npz", [])


def test_uncompressed_keypoints_of_another_convention(tmp_path):
    points = np.random.default_rng(0).uniform(0.1, 1, (4, 14, 3))
    data = {"image_path": ["a"] * 4, "keypoints2d": points, "keypoints2d_convention": "lsp"}
    write_humandata(tmp_path / "l.npz", data)
    store = HumanData.open(tmp_path / "l.npz")
    assert not store.keypoints_compressed and store.skeleton("keypoints2d").name == "lsp"
    np.testing.assert_array_equal(store.row(2).keypoints2d.xyc, points[2])


def test_contradictions_are_named(tmp_path):
    data = example()
    with pytest.raises(DataError, match="same number of rows"):
        write_humandata(tmp_path / "x.npz", {**data, "image_path": ["a"]})
    with pytest.raises(DataError, match="strict files hold no \\['weather'\\]"):
        write_humandata(tmp_path / "x.npz", {**data, "weather": ["fine"] * 7}, key_strict=True)
    write_humandata(tmp_path / "strict.npz", data, key_strict=True)
    assert HumanData.open(tmp_path / "strict.npz").key_strict
    with pytest.raises(DataError, match="keypoints2d"):
        write_humandata(tmp_path / "x.npz", {**data, "keypoints2d": np.zeros((7, 190, 4))})
    np.savez(tmp_path / "y.npz", image_path=np.array(["a", "b"]), bbox_xywh=np.zeros((3, 5)), __data_len__=2)
    with pytest.raises(DataError, match="bbox_xywh"):
        HumanData.open(tmp_path / "y.npz")
    np.savez(tmp_path / "z.npz", keypoints2d=np.zeros((2, 17, 3)), __data_len__=2)
    with pytest.raises(DataError, match="190 points"):
        HumanData.open(tmp_path / "z.npz")
    store = HumanData.open(reference_style(tmp_path / "a.npz", data))
    with pytest.raises(DataError, match="rows 0 to 6"):
        store.row(7)
    with pytest.raises(DataError, match="smplx/betas"):
        store.column("smpl/betas")
    with pytest.raises(ShapeError, match="17"):
        Keypoints(Skeleton.read("coco"), np.zeros((3, 3)))


class Evil:
    def __reduce__(self):
        return (print, ("ran",))


def test_foreign_code_never_runs(tmp_path, capsys):
    np.savez(tmp_path / "e.npz", smplx=np.array({"betas": Evil()}, dtype=object), __data_len__=1)
    with pytest.raises(AssetError, match="print"):
        HumanData.open(tmp_path / "e.npz")
    assert capsys.readouterr().out == ""


def test_damaged_files_give_our_errors_only(tmp_path):
    path = reference_style(tmp_path / "a.npz", example())
    data = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(150):
        bad = bytearray(data[: rng.integers(len(data) // 2, len(data) + 1)])
        for at in rng.integers(0, len(bad), 3):
            bad[at] = rng.integers(0, 256)
        path.write_bytes(bad)
        with contextlib.suppress(OpenExposeError):
            list(HumanData.open(path))


def test_odd_columns_are_laid_flat(tmp_path):
    """Ragged scans (Stirling), lists of cameras (3DPW), rows of unlike things: converters store them."""
    scans = np.empty(3, object)
    scans[:] = [np.full((n, 3), n, np.float32) for n in (2, 5, 1)]
    cameras = [{"K": np.eye(3) * i, "name": f"c{i}"} for i in range(3)]
    odd = np.empty(3, object)
    odd[:] = [{"a": 1}, None, [2, "x"]]
    np.savez(
        tmp_path / "o.npz",
        image_path=["a", "b", "c"],
        vertices=scans,
        cam_param=np.array(cameras, object),
        odd=odd,
        __data_len__=3,
    )
    store = HumanData.open(tmp_path / "o.npz")
    extras = store.row(1, extras=True).extras
    np.testing.assert_array_equal(extras["vertices"], scans[1])
    np.testing.assert_array_equal(extras["cam_param/K"], np.eye(3))
    assert extras["cam_param/name"] == "c1" and extras["odd"] == "null"
    assert store.columns.describe("vertices") == ("float32", (3, None, 3))
    assert store.row(1).extras == {}


def test_many_may_open_a_file_for_the_first_time_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr("openexpose.data.humandata.SMALL_BYTES", 0)
    path = reference_style(tmp_path / "a.npz", example())
    with ThreadPoolExecutor(4) as pool:
        for store in pool.map(lambda _: HumanData.open(path), range(8)):
            same_rows(store, example())
    assert [p.name for p in (tmp_path / ".openexpose").iterdir()] == ["a.rows.npz"]
