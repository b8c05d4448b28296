"""Preprocessed data sets of a tree as training data."""

import io
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from rich.console import Console

from openexpose.data.humandata_write import write_humandata
from openexpose.errors import ConfigError, DataError
from openexpose.nets.config import expose, only
from openexpose.skeleton import Skeleton
from openexpose.train import build
from openexpose.train.config import DataConfig
from openexpose.train.files import _store, file_sources
from openexpose.train.presets import expose as expose_preset
from openexpose.train.presets import lite_head
from openexpose.train.report import write_report
from openexpose.train.run import train
from train.runs import body_file, small

ROWS = 12


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data tree with curated fits of random numbers and small photos."""
    rng = np.random.default_rng(0)
    names = [f"people/{i}.jpg" for i in range(ROWS)]
    (tmp_path / "datasets" / "people").mkdir(parents=True)
    for name in names:
        cv2.imwrite(str(tmp_path / "datasets" / name), rng.integers(0, 255, (90, 120, 3), np.uint8))
    human = Skeleton.read("human_data")
    points = np.zeros((ROWS, len(human), 3))
    for point in Skeleton.read("smplx").names:
        points[:, human.index(point)] = np.concatenate([rng.uniform(20, 80, (ROWS, 2)), np.ones((ROWS, 1))], 1)
    smplx = {
        "global_orient": rng.normal(size=(ROWS, 3)),
        "body_pose": 0.1 * rng.normal(size=(ROWS, 21, 3)),
        "jaw_pose": np.zeros((ROWS, 3)),
        "left_hand_pose": np.zeros((ROWS, 15, 3)),
        "right_hand_pose": np.zeros((ROWS, 15, 3)),
        "betas": rng.normal(size=(ROWS, 10)),
        "expression": rng.normal(size=(ROWS, 10)),
    }
    box = np.tile([20.0, 10, 70, 70, 1], (ROWS, 1))
    (tmp_path / "preprocessed_datasets").mkdir()
    write_humandata(
        tmp_path / "preprocessed_datasets" / "curated_fits_train.npz",
        {"image_path": names, "bbox_xywh": box, "keypoints2d": points, "smplx": smplx},
    )
    monkeypatch.setenv("OPENEXPOSE_DATA", str(tmp_path))
    return tmp_path


CURATED = DataConfig(train=("curated_fits_train",), shares=(1.0,), held_out=0.25)


def test_a_run_on_files(tree: Path) -> None:
    config = replace(small(tree), data=CURATED, steps=3, eval_every=3, save_every=3, workers=1, best_by="points_px")
    rows = train(config, tree / "run").read_metrics()
    assert [row["step"] for row in rows] == [0, 1, 2, 3, 3]
    assert all(np.isfinite(row["loss"]) for row in rows)
    assert rows[-1]["keypoints3d"] == 0  # nobody's 3D points are known


def test_held_out_people_are_never_trained_on(tree: Path) -> None:
    config = replace(small(tree), data=CURATED)
    train_on, judge_on = file_sources(config, build.network_config(config))
    assert judge_on is not None
    parts = [source.mixture.parts[0].store for source in (train_on, judge_on)]
    kept, held = (set(store.rows) for store in parts)
    assert len(held) == 3 and kept | held == set(range(ROWS)) and not kept & held
    again, _ = file_sources(config, build.network_config(config))
    assert torch.equal(again.batch([1, 2]).crops, train_on.batch([1, 2]).crops)


def test_the_whole_network_gets_its_photos(tree: Path) -> None:
    config = replace(expose_preset(), data=replace(CURATED, reference_quirks=True), body_model=body_file(tree))
    source, _ = file_sources(config, expose())
    batch = source.batch(range(4))
    assert batch.photos is not None and len(batch.photos.pixels) == 4
    assert batch.crops.shape == (4, 3, 256, 256)
    # the crop is what the affine says it is: the middle of the crop lies in the photo it came from
    middle = torch.linalg.inv(batch.photos.T_crop_photo[:, :, :2]) @ (128 - batch.photos.T_crop_photo[:, :, 2:])
    sizes = torch.tensor([[p.shape[1], p.shape[0]] for p in batch.photos.pixels])
    assert ((middle[..., 0] > 0) & (middle[..., 0] < sizes)).all()


def test_by_heart_means_the_same_crops_again(tree: Path) -> None:
    config = replace(small(tree), data=replace(CURATED, only_first=3))
    sources = build.build_sources(config, build.build_learner(config))
    assert sources.train.samples_per_epoch == 3
    assert torch.equal(sources.train.batch([0, 4]).crops, sources.train.batch([3, 1]).crops)


def test_a_bad_photo_is_skipped_and_reported(tree: Path) -> None:
    (tree / "datasets" / "people" / "3.jpg").write_bytes(b"no photo")
    data = replace(CURATED, held_out=0.0, only_first=None, on_error="skip")
    config = replace(small(tree), data=data, steps=4, save_every=2, workers=1)
    told = io.StringIO()
    folder = train(config, tree / "run", console=Console(file=told, width=200))
    assert len(folder.skipped()) == 1 and "people/3.jpg" in folder.skipped()[0]
    assert "1 rows were skipped" in told.getvalue() and "people/3.jpg" in told.getvalue()
    write_report(folder, title="t", summary="s")
    assert "people/3.jpg" in (tree / "run" / "report.html").read_text()
    with pytest.raises(DataError, match=r"people/3\.jpg"):
        train(replace(config, data=replace(data, on_error="raise")), tree / "strict")


def test_what_is_missing_is_named(tree: Path) -> None:
    config = replace(small(tree), data=replace(CURATED, photos=("nowhere",)))
    net = only("body", expose())
    with pytest.raises(DataError, match="nowhere"):
        file_sources(config, net)
    with pytest.raises(ConfigError, match="2 folders for 1"):
        file_sources(replace(config, data=replace(CURATED, photos=("a", "b"))), net)
    with pytest.raises(ConfigError, match=r"data\.photos"):
        file_sources(replace(config, data=replace(CURATED, train=("mine",))), net)


def test_rendered_people_need_no_file(tmp_path: Path) -> None:
    data = DataConfig(train=("synth",), shares=(1.0,), held_out=0.5, samples_per_epoch=8)
    config = replace(small(tmp_path), data=data)
    source, judge = file_sources(config, build.network_config(config))
    assert judge is not None
    one, again = source.batch([0]), source.batch([0])
    assert torch.equal(one.crops, again.crops) and one.crops.std() > 0.1
    assert all(one.targets[name].weight.item() == 1 for name in ("keypoints2d", "body_pose", "betas"))


def test_a_pack_may_leave_out_its_last_photos(tmp_path: Path) -> None:
    webp = cv2.imencode(".webp", np.full((40, 40, 3), 90, np.uint8))[1].ravel()
    points = np.ones((5, 14, 3), np.float32) * [20, 20, 1]
    points[:, :7, :2] += 10
    pack = tmp_path / "bodies.npz"
    np.savez(pack, webp=np.tile(webp, 5), offsets=np.arange(6) * len(webp), keypoints2d=points.astype(np.float32))
    data = DataConfig(train=(f"{pack}@0:-2",), shares=(1.0,))
    config = replace(small(tmp_path), data=data)
    source, judge = file_sources(config, build.network_config(config))
    assert source.samples_per_epoch == 3 and judge is None
    batch = source.batch([0, 1])
    assert batch.targets["body_pose"].weight.sum() == 0 and batch.targets["keypoints2d"].value[..., 2].sum() > 0
    with pytest.raises(ConfigError, match="FIRST:LAST"):
        file_sources(replace(config, data=replace(data, train=(f"{pack}@last",))), build.network_config(config))


def test_a_pack_by_the_halves_of_its_split(tmp_path):
    n = 260
    webp = cv2.imencode(".webp", np.full((40, 40, 3), 90, np.uint8))[1].ravel()
    points = np.dstack([np.random.default_rng(0).uniform(2, 38, (n, 68, 2)), np.ones((n, 68, 1))])
    files = np.array([f"a/Person{i // 3}_{i}.jpg" for i in range(n)])
    path = tmp_path / "faces.npz"
    np.savez(path, webp=np.tile(webp, n), offsets=np.arange(n + 1) * len(webp), keypoints2d=points.astype(np.float32),
             source=np.zeros(n, np.uint8), source_file=files)  # fmt: skip
    config = replace(lite_head(), data=DataConfig(train=(f"{path}@train",), shares=(1.0,)))
    halves = [_store(f"{path}@{half}", None, config) for half in ("train", "validation")]
    people = [{files[int(store.row(i).photo.rpartition("#")[2])].split("_")[0] for i in range(len(store))}
              for store in halves]  # fmt: skip
    assert len(halves[1]) == 200 and len(halves[0]) > 0 and not people[0] & people[1]
    with pytest.raises(ConfigError, match="rows are written"):
        _store(f"{path}@trian:", None, config)
