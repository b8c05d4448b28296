"""Every converter works in pieces: stopped in the middle it makes the same bytes, as with any number of workers."""

import pytest

from openexpose.data.convert import coco, common, ehf, openpose
from openexpose.data.convert.common import Options
from openexpose.data.convert.run import convert
from openexpose.data.convert.table import CONVERTERS, converter
from tests.raw_trees.every import TREES


@pytest.fixture
def small_pieces(monkeypatch):
    for module, name in (
        (common, "CHUNK_ROWS"), (coco, "CHUNK_ROWS"), (ehf, "PHOTOS_A_PIECE"), (openpose, "CHUNK_FILES"),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, 1)


def test_every_converter_has_a_miniature_tree():
    assert set(TREES) == set(CONVERTERS)


@pytest.mark.parametrize("name", sorted(TREES))
def test_a_run_stopped_in_the_middle_goes_on_to_the_same_bytes(name, tmp_path, small_pieces, monkeypatch):
    options = Options(TREES[name](tmp_path, 4, False), body_models=tmp_path / "body_models")
    at_once, stopped = tmp_path / "once", tmp_path / "stopped"
    whole = {o.output: o.path.read_bytes() for o in convert(name, options, at_once)}
    assert set(whole) == set(CONVERTERS[name].outputs)

    def stop(output, done, total, rows):
        if total > 1 and done == (total + 1) // 2:
            raise KeyboardInterrupt

    module, read = converter(name), []
    original = module.rows
    monkeypatch.setattr(module, "rows", lambda job, *rest: read.append(job.name) or original(job, *rest))
    with pytest.raises(KeyboardInterrupt):
        convert(name, options, stopped, progress=stop)
    before, pieces = list(read), [p.name for p in (stopped / ".parts").rglob("*.npz")]
    assert pieces and len(whole) > len(list(stopped.glob("*.npz")))
    read.clear()
    again = convert(name, options, stopped)
    assert {o.output: o.path.read_bytes() for o in again} == whole
    assert not (stopped / ".parts").exists()
    if len(whole) == 1:
        assert read and not set(read) & set(before)  # what was done is not done again


def test_workers_share_a_file_and_do_not_show(tmp_path, small_pieces):
    options, name, output = Options(TREES["coco"](tmp_path, 6, False)), "coco_wholebody", "coco_wholebody_train"
    (one,) = convert(name, options, tmp_path / "one", outputs=(output,))
    (two,) = convert(name, options, tmp_path / "two", outputs=(output,), workers=2)
    assert one.rows > 2 and one.path.read_bytes() == two.path.read_bytes() and one.problems == two.problems


def test_what_pieces_share_is_said_once(tmp_path, small_pieces):
    root = TREES["coco"](tmp_path, 8, False)
    photo = min((root / "train2017").iterdir())
    photo.write_bytes(b"no photo")
    file = root / "annotations" / "person_keypoints_train2017.json"
    text = file.read_text().replace('"category_id": 1', f'"category_id": 1, "image_id": {int(photo.stem)}')
    file.write_text(text)
    (outcome,) = convert("coco", Options(root), tmp_path / "out", outputs=("coco_train",))
    assert outcome.path is None
    assert [photo.name in str(p) for p in outcome.problems] == [True, False]
