import io
import pickle

import numpy as np
import pytest
from PIL import Image

from openexpose import images
from openexpose.data import augment
from openexpose.data.dataset import Samples
from openexpose.data.pack import PhotoPack
from openexpose.data.sample import body_layout
from openexpose.errors import AssetError, DataError


@pytest.fixture
def pack(tmp_path):
    """Nine small photos of one grey each with 14 points, three sources."""
    webps, points = [], np.zeros((9, 14, 3), np.float32)
    for i in range(9):
        out = io.BytesIO()
        Image.new("RGB", (32, 32), (10 * i,) * 3).save(out, "WEBP", lossless=True)
        webps.append(out.getvalue())
        points[i, :, :2] = np.random.default_rng(i).uniform(2, 30, (14, 2))
        points[i, :, 2] = np.arange(14) < 12
    points[8, :, 2] = 0
    offsets = np.cumsum([0, *(len(w) for w in webps)])
    np.savez_compressed(
        tmp_path / "p.npz",
        webp=np.frombuffer(b"".join(webps), np.uint8),
        offsets=offsets,
        keypoints2d=points,
        image_size=32,
        source=np.arange(9, dtype=np.uint8) % 3,
    )
    return tmp_path / "p.npz"


def test_rows_and_photos_belong_together(pack):
    store = PhotoPack.open(pack, first=2, last=-1)
    assert len(store) == 6 and store.skeleton.name == "lspet"
    assert store.row(0).photo == "p#2" and (images.read_rgb(store.photo(0)) == 20).all()
    record = store.row(3)
    assert record.keypoints2d.xyc[:, 2].sum() == 12
    x, y, w, h = record.box_xywh_px
    seen = record.keypoints2d.xyc[:12, :2]
    np.testing.assert_allclose([x + w / 2, y + h / 2], (seen.min(0) + seen.max(0)) / 2)
    np.testing.assert_allclose([w, h], 1.2 * np.ptp(seen, 0))


def test_sources_are_chosen(pack):
    store = PhotoPack.open(pack, sources=[1, 2])
    assert [store.row(i).photo for i in range(len(store))] == ["p#1", "p#2", "p#4", "p#5", "p#7", "p#8"]
    assert pickle.loads(pickle.dumps(store)).row(3).photo == "p#5"


def test_a_row_without_points_has_no_box(pack):
    store = PhotoPack.open(pack)
    assert store.row(8).box_xywh_px is None
    samples = Samples(store, body_layout(), augment.body(), seed=0, box_scale=1.0, on_error="raise")
    with pytest.raises(DataError, match="no box"):
        samples.sample(8, epoch=0, index=8)
    assert samples.sample(1, epoch=0, index=1).crop.shape == (256, 256, 3)


def test_wrong_packs_are_refused(pack, tmp_path):
    with pytest.raises(DataError, match="no image is left"):
        PhotoPack.open(pack, sources=[7])
    with pytest.raises(DataError, match="not those of 'coco'"):
        PhotoPack.open(pack, skeleton="coco")
    np.savez(
        tmp_path / "odd.npz", webp=np.zeros(3, np.uint8), offsets=np.array([0, 3]), keypoints2d=np.zeros((1, 5, 3))
    )
    with pytest.raises(DataError, match="5 keypoints"):
        PhotoPack.open(tmp_path / "odd.npz")
    with pytest.raises(AssetError):
        PhotoPack.open(tmp_path / "none.npz")
