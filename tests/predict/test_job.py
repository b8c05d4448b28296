"""Whole folders: bad photos are skipped by name, good ones complete, and stopping leaves nothing half done."""

import errno
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from openexpose.detect import Detection
from openexpose.errors import DataError
from openexpose.export.result import About, read_result
from openexpose.predict import job as module
from openexpose.predict.job import JobConfig, Report, run
from openexpose.predict.listing import list_all
from tiny_weights import blobs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    photos = tmp_path / "photos"
    photos.mkdir()
    for i in range(5):
        Image.fromarray(blobs(i, 90 + i, 80)).save(photos / f"good{i}.jpg")
    whole = (photos / "good0.jpg").read_bytes()
    (photos / "empty.jpg").write_bytes(b"")
    (photos / "text.jpg").write_text("not an image")
    (photos / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    Image.fromarray(np.zeros((400, 500), np.uint8)).save(photos / "large.png")
    deep = Image.fromarray(blobs(9)[..., 0].astype(np.uint16) * 257)
    deep.save(photos / "deep.png")
    Image.fromarray(np.dstack([blobs(10), np.full((120, 160), 200, np.uint8)])).save(photos / "alpha.webp")
    return photos


def config(out: Path, **changes: object) -> JobConfig:
    return JobConfig(**{"out": out, "batch": 4, "max_pixels": 100_000} | changes)


def test_bad_photos_are_skipped_by_name_and_good_ones_complete(predictor, folder, tmp_path):
    steps: list[int] = []
    report = run(
        predictor,
        list_all([str(folder)]),
        config(tmp_path / "out"),
        step=lambda r: steps.append(r.done + r.resumed + len(r.skipped)),
    )
    assert {p.name for p, _ in report.skipped} == {"empty.jpg", "text.jpg", "truncated.jpg", "large.png"}
    assert all(p.name in why for p, why in report.skipped)
    assert "100,000 allowed" in {p.name: why for p, why in report.skipped}["large.png"]
    assert (report.done, report.people, report.empty) == (7, 7, 0)
    assert sorted(steps) == list(range(1, 12)) and all(v > 0 for v in report.seconds.values())
    made = {str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*") if p.is_file()}
    good = [*(f"good{i}" for i in range(5)), "deep", "alpha"]
    assert made == {f"{name}/result.{kind}" for name in good for kind in ("json", "npz")}


def test_a_photo_in_a_job_is_the_photo_alone(predictor, folder, tmp_path):
    run(predictor, list_all([str(folder)]), config(tmp_path / "out"))
    alone = predictor(folder / "good3.jpg")[0]
    _, arrays = read_result(tmp_path / "out" / "good3")
    np.testing.assert_allclose(arrays["keypoints_m"][0], alone.keypoints_m, atol=1e-4)  # metres
    np.testing.assert_allclose(arrays["keypoints_px"][0], alone.keypoints_px, atol=1e-2)  # pixels


def test_resuming_redoes_only_what_is_not_complete(predictor, folder, tmp_path):
    photos, out = list_all([str(folder / "good*.jpg")]), tmp_path / "out"
    run(predictor, photos, config(out, settings={"focal": None}))
    (out / "good1" / "result.npz").unlink()
    (out / "good2" / "result.json").write_text("{")
    stamp = (out / "good0" / "result.json").stat().st_mtime_ns
    again = run(predictor, photos, config(out, settings={"focal": None}, resume=True))
    assert (again.resumed, again.done) == (3, 2)
    assert (out / "good0" / "result.json").stat().st_mtime_ns == stamp
    other = run(predictor, photos, config(out, settings={"focal": 99.0}, resume=True))
    assert (other.resumed, other.done) == (0, 5)


def test_given_people_nobody_and_boxes_beside_the_photo(predictor, folder, tmp_path):
    photos = list_all([str(folder / "good*.jpg")])
    box = Detection((5.0, 5.0, 60.0, 70.0))
    beside = Detection((900.0, 900.0, 960.0, 970.0))
    people = dict(zip([p.path for p in photos], [[box, box], [], [beside], None, [box]], strict=True))
    report = run(predictor, photos, config(tmp_path / "out"), people=people)
    assert (report.done, report.people, report.empty) == (3, 3, 1)
    reasons = {p.name: why for p, why in report.skipped}
    assert "lies beside" in reasons["good2.jpg"] and "is not named in" in reasons["good3.jpg"]
    document = json.loads((tmp_path / "out" / "good0" / "result.json").read_text())
    assert [p["person"] for p in document["people"]] == [0, 1] and document["models"]["detector"] == "given"


def test_extras_are_named_in_the_result_and_replaced(predictor, folder, tmp_path):
    photos, out = list_all([str(folder / "good0.jpg")]), tmp_path / "out"
    (out / "good0").mkdir(parents=True)
    (out / "good0" / "notes.txt").write_text("mine")

    def extras(name: str):
        def write(where: Path, rgb: np.ndarray, people: list, about: About) -> None:
            assert rgb.shape == (80, 90, 3) and len(people) == 1 and about.photo == "good0.jpg"
            (where / name).write_bytes(b"x")

        return write

    for name in ("first.glb", "second.glb"):
        run(predictor, photos, config(out), extras=extras(name))
        document, _ = read_result(out / "good0")
        assert document["files"] == ["result.npz", name]
    left = sorted(p.name for p in (out / "good0").iterdir())
    assert left == ["notes.txt", "result.json", "result.npz", "second.glb"]


def test_a_full_disk_is_one_error_and_what_is_there_is_whole(predictor, folder, tmp_path, monkeypatch):
    settle, calls = module.write_result, []

    def full(where: Path, *args: object, **kwargs: object) -> None:
        calls.append(where)
        if len(calls) > 2:
            raise DataError(f"cannot write {where}: the disk is full") from OSError(errno.ENOSPC, "full")
        settle(where, *args, **kwargs)

    monkeypatch.setattr(module, "write_result", full)
    with pytest.raises(DataError, match="disk is full"):
        run(predictor, list_all([str(folder / "good*.jpg")]), config(tmp_path / "out", batch=1, writers=1))
    for made in (tmp_path / "out").rglob("result.json"):
        read_result(made.parent)
    assert len(list((tmp_path / "out").rglob("result.json"))) == 2


def test_interrupting_leaves_whole_results_only(predictor, folder, tmp_path):
    def interrupt(report: Report) -> None:
        if report.done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(predictor, list_all([str(folder / "good*.jpg")]), config(tmp_path / "out", batch=1), step=interrupt)
    files = [p for p in (tmp_path / "out").rglob("*") if p.is_file()]
    assert not [p for p in files if p.name.startswith(".")]  # no temporary file stays
    whole = {p.parent for p in files if p.name == "result.json"}
    assert len(whole) >= 2
    for where in whole:
        read_result(where)


def test_pixels_in_memory_are_bounded(predictor, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "HELD_PIXELS", 10_000)  # less than two photos
    held: list[int] = []
    look = module._Job._look

    def spy(self: module._Job, read: module._Read) -> None:
        held.append(self.held_pixels)
        look(self, read)

    monkeypatch.setattr(module._Job, "_look", spy)
    report = run(predictor, list_all([str(folder / "good*.jpg")]), config(tmp_path / "out"))
    assert report.done == 5 and max(held) <= 10_000 + 94 * 80


def test_answers_that_are_not_finite_cost_one_photo(predictor, folder, tmp_path, monkeypatch):
    fit = predictor.fit

    def picky(people: list, *, batch: int):
        if any(p.shot.name == "good1.jpg" for p in people):
            raise DataError("good1.jpg, person 0: the answer is not finite")
        return fit(people, batch=batch)

    monkeypatch.setattr(predictor, "fit", picky)
    report = run(predictor, list_all([str(folder / "good*.jpg")]), config(tmp_path / "out"))
    assert report.done == 4 and [p.name for p, _ in report.skipped] == ["good1.jpg"]
