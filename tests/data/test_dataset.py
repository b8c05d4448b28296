import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from openexpose.data import augment
from openexpose.data.augment import REFERENCE, AugmentConfig
from openexpose.data.dataset import HumanDataStore, Samples
from openexpose.data.degrade import DegradeConfig
from openexpose.data.humandata import HumanData
from openexpose.data.humandata_write import write_records
from openexpose.data.sample import body_layout, collate, head_layout, skip_report
from openexpose.errors import ConfigError, DataError
from tests.data.toys import ToyStore

SETTINGS = {"seed": 5, "box_scale": 1.2, "on_error": "raise"}
SPOTS = {0: "pelvis", 1: "left_hip", 2: "right_hip"}
"""The toy photos have a red, a green and a blue spot at these keypoints."""


def spot(picture, channel):
    """Centre of mass of a channel's bright part, in pixels."""
    bright = np.maximum(picture[..., channel].astype(float) - 130, 0)  # above the mean colour outside
    y, x = np.indices(bright.shape)
    return np.array([(bright * x).sum(), (bright * y).sum()]) / bright.sum()


def well_inside(xy, size, margin=14):
    return (xy > margin).all() and (xy < size - margin).all()


@pytest.mark.parametrize("fmt", ["PNG", "JPEG"])
@pytest.mark.parametrize("size", [(320, 240), (1600, 1200)])
def test_pixels_and_points_move_together(fmt, size):
    """Flip, scale, turn, jitter, reduced decoding: the spots stay where the labels say, sides swapped by a flip."""
    cfg = AugmentConfig(centre_jitter=0.1, flip=0.5, scale=0.25, turn=0.6, view_px=400)
    store = _Enlarged(ToyStore(4, (400, 300), fmt), 4) if size[0] > 1000 else ToyStore(4, size, fmt)
    samples = Samples(store, body_layout(), cfg, **SETTINGS)
    looked, flips = 0, 0
    for row in range(4):
        for epoch in range(4):
            s = samples.sample(row, epoch=epoch, index=row)
            mirrored = float(np.linalg.det(s.T_crop_photo[:, :2].numpy())) < 0
            flips += mirrored
            xyc = s.targets["keypoints2d"].value.numpy()
            T = s.view.T_view_crop.numpy()
            for channel in range(3):
                k = {1: 2, 2: 1}.get(channel, 0) if mirrored else channel
                xy = xyc[k, :2]
                if not xyc[k, 2] or not well_inside(xy, 256):
                    continue
                looked += 1
                np.testing.assert_allclose(spot(s.crop.numpy(), channel), xy, atol=0.35)  # px of the crop
                in_view = T[:, :2] @ xy + T[:, 2]
                np.testing.assert_allclose(spot(s.view.rgb.numpy(), channel), in_view, atol=0.5)  # px of the view
    assert looked > 15 and 0 < flips < 16


class _Enlarged:
    """Toy rows with everything in pixels enlarged, so that photos are large and spots stay visible."""

    def __init__(self, store, factor):
        self.store, self.factor, self.name = store, factor, "enlarged"

    def __len__(self):
        return len(self.store)

    def row(self, index):
        r, f = self.store.row(index), self.factor
        xyc = r.keypoints2d.xyc.copy()
        xyc[:, :2] = (xyc[:, :2] + 0.5) * f - 0.5
        return replace(r, box_xywh_px=r.box_xywh_px * f, keypoints2d=replace(r.keypoints2d, xyc=xyc))

    def photo(self, index):
        import io

        from PIL import Image

        image = Image.open(io.BytesIO(self.store.photo(index)))
        out = io.BytesIO()
        image.resize([n * self.factor for n in image.size], Image.Resampling.BICUBIC).save(
            out, self.store.fmt, quality=95
        )
        return out.getvalue()


def test_reduced_decoding_changes_little():
    store = _Enlarged(ToyStore(3, (400, 300), "JPEG"), 4)
    quick = Samples(store, body_layout(), augment.body(), **SETTINGS)
    full = Samples(
        store, body_layout(), replace(augment.body(), quirks=replace(REFERENCE, turn_photo_first=False)), **SETTINGS
    )
    for row in range(3):
        a, b = (s.sample(row, epoch=1, index=row).crop.numpy().astype(int) for s in (quick, full))
        assert np.abs(a - b).mean() < 1.5  # grey levels


def test_samples_depend_on_nothing_but_their_numbers(toy):
    samples = Samples(toy, body_layout(), augment.whole(view_px=128), **SETTINGS)
    a = samples.sample(2, epoch=3, index=2)
    samples.sample(4, epoch=0, index=4)
    b = pickle.loads(pickle.dumps(samples)).sample(2, epoch=3, index=2)
    assert torch.equal(a.crop, b.crop) and torch.equal(a.view.rgb, b.view.rgb)
    assert all(torch.equal(a.targets[n].value, b.targets[n].value) for n in a.targets)
    c = samples.sample(2, epoch=4, index=2)
    assert not torch.equal(a.crop, c.crop)


class _AsDataset(Dataset):
    def __init__(self, samples):
        self.samples = samples

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, row):
        return self.samples.sample(row, epoch=0, index=row)


@pytest.mark.parametrize("workers", [2])
def test_any_number_of_workers_makes_the_same_samples(workers, toy):
    samples = Samples(toy, body_layout(), augment.whole(view_px=64), **SETTINGS)
    alone = list(DataLoader(_AsDataset(samples), batch_size=3, collate_fn=collate))
    several = list(DataLoader(_AsDataset(samples), batch_size=3, collate_fn=collate, num_workers=workers))
    for a, b in zip(alone, several, strict=True):
        assert torch.equal(a.crops, b.crops) and a.rows == b.rows
        assert all(torch.equal(x, y) for x, y in zip(a.views, b.views, strict=True))


def test_batches_stack_known_and_unknown(tmp_path, toy):
    rows = [replace(toy.row(0), keypoints3d=None, params={}, family="", photo="0.png")]
    write_records(tmp_path / "bare.npz", rows)
    (tmp_path / "0.png").write_bytes(toy.photo(0))
    bare = Samples(
        HumanDataStore(HumanData.open(tmp_path / "bare.npz"), tmp_path), body_layout(), augment.body(), **SETTINGS
    )
    full = Samples(toy, body_layout(), augment.body(), **SETTINGS)
    batch = collate([full.sample(1, epoch=0, index=1), bare.sample(0, epoch=0, index=0)])
    assert batch.targets["body_pose"].value.shape == (2, 21, 3, 3)
    assert batch.targets["body_pose"].weight.tolist() == [1, 0] and batch.targets["keypoints2d"].weight.tolist() == [
        1,
        1,
    ]
    assert len(batch) == 2 and batch.views == () and batch.photos == ("1.png", "0.png")


def test_unlike_samples_do_not_stack(toy):
    a = Samples(toy, body_layout(), augment.body(), **SETTINGS).sample(0, epoch=0, index=0)
    b = Samples(toy, body_layout(betas=5), augment.body(), **SETTINGS).sample(0, epoch=0, index=0)
    c = Samples(toy, body_layout(), replace(augment.body(), crop_px=128), **SETTINGS).sample(0, epoch=0, index=0)
    for other, message in ((b, "betas"), (c, "crop size")):
        with pytest.raises(DataError, match=message):
            collate([a, other])
    with pytest.raises(DataError, match="empty"):
        collate([])


def test_a_bad_photo_stops_or_is_replaced_and_reported():
    store = ToyStore(bad=frozenset({2, 3}))
    with pytest.raises(DataError, match=r"toy, row 2: photo '2.png' of toy"):
        Samples(store, body_layout(), augment.body(), **SETTINGS).sample(2, epoch=0, index=2)
    skipping = Samples(store, body_layout(), augment.body(), **{**SETTINGS, "on_error": "skip"})
    s = skipping.sample(2, epoch=0, index=2)
    assert s.row == 4 and len(s.skipped) == 2 and "row 3" in s.skipped[1]
    assert collate([s]).skipped == s.skipped
    assert skip_report(s.skipped * 3).startswith("2 rows were skipped") and skip_report(()) == ""
    hopeless = Samples(
        ToyStore(bad=frozenset(range(6))), body_layout(), augment.body(), seed=0, box_scale=1.0, on_error="skip"
    )
    with pytest.raises(DataError, match="data check"):
        hopeless.sample(0, epoch=0, index=0)


def test_rows_that_lack_what_is_needed_are_refused(toy):
    with pytest.raises(DataError, match="betas has 10"):
        Samples(toy, head_layout(), augment.head(), **SETTINGS).sample(0, epoch=0, index=0)
    with pytest.raises(ConfigError, match="0 rows"):
        Samples(ToyStore(0), body_layout(), augment.body(), **SETTINGS)


@pytest.mark.parametrize(
    ("box", "message"), [((900, 5, 10, 9), "does not touch"), ((5, 5, 0, 9), "empty"), ((5, np.nan, 9, 9), "finite")]
)
def test_boxes_that_show_nothing_are_refused(toy, monkeypatch, box, message):
    record = replace(toy.row(0), box_xywh_px=np.array(box, float))
    monkeypatch.setattr(ToyStore, "row", lambda self, index: record)
    with pytest.raises(DataError, match=message):
        Samples(toy, body_layout(), augment.body(), **SETTINGS).sample(0, epoch=0, index=0)


def test_damage_beyond_the_reference(toy):
    cfg = replace(augment.whole(view_px=96), degrade=DegradeConfig(1.0, 1.0, 1.0, 1.0), truncate=1.0)
    plain = Samples(toy, body_layout(), augment.whole(view_px=96), **SETTINGS).sample(1, epoch=0, index=1)
    hurt = Samples(toy, body_layout(), cfg, **SETTINGS).sample(1, epoch=0, index=1)
    assert hurt.crop.shape == plain.crop.shape and not torch.equal(hurt.crop, plain.crop)
