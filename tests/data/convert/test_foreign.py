"""Annotation files that somebody damaged: a converter says so, and nothing else happens."""

import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openexpose.data.convert.common import Options, Problem
from openexpose.data.convert.foreign import numbers, photo_name, read_json
from openexpose.data.convert.table import converter
from openexpose.data.record import Record
from openexpose.errors import AssetError, DataError
from tests.raw_trees.coco import write_coco
from tests.raw_trees.ffhq import write_ffhq
from tests.raw_trees.freihand import write_freihand, write_means
from tests.raw_trees.lsp import write_lsp
from tests.raw_trees.mpii import FILE, write_mpii
from tests.raw_trees.openpose import write_openpose

SETS: dict[str, tuple[str, str, Callable[[Path], object]]] = {
    "freihand": ("freihand_test", "evaluation_mano.json", lambda p: write_freihand(p, evaluation=1, drawn=False)),
    "ffhq": ("ffhq_flame_train", "ffhq_annotations.npz", lambda p: write_ffhq(p, count=2, drawn=False)),
    "lsp": ("lsp_train", "joints.mat", lambda p: write_lsp(p, count=2, drawn=False)),
    "mpii": ("mpii_train", FILE, lambda p: write_mpii(p, count=1, drawn=False)),
    "coco": (
        "coco_train",
        "annotations/person_keypoints_train2017.json",
        lambda p: write_coco(p, count=1, drawn=False, wholebody=False),
    ),
    "openpose": ("openpose", "keypoints/beach_keypoints.json", lambda p: write_openpose(p, drawn=False)),
}


@cache
def tree(name: str) -> tuple[Path, bytes]:
    """A raw tree, and the annotation file of it that will be damaged."""
    folder = Path(tempfile.mkdtemp(prefix="damaged"))
    write_means(folder / "body_models")
    SETS[name][2](folder / name)
    return folder, (folder / name / SETS[name][1]).read_bytes()


@pytest.fixture(scope="module", autouse=True)
def tidy():
    yield
    for name in SETS:
        shutil.rmtree(tree(name)[0], ignore_errors=True)


@pytest.mark.parametrize("name", SETS)
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_a_damaged_file_gives_rows_and_problems_or_a_data_error(name: str, data: st.DataObject) -> None:
    folder, raw = tree(name)
    damaged = bytearray(raw)
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        junk = data.draw(st.sampled_from([b"\0", b"\xff", b"9", b"[", b"}", b'"', b"null", b"-", b"e"]))
        damaged[at : at + data.draw(st.integers(0, 3))] = junk
    if data.draw(st.integers(0, 3)) == 0:
        del damaged[data.draw(st.integers(0, len(damaged))) :]
    (folder / name / SETS[name][1]).write_bytes(bytes(damaged))
    options = Options(folder / name, photos=False, body_models=folder / "body_models")
    module, output = converter(name), SETS[name][0]
    try:
        loaded = module.load(output, options)
        for job in module.jobs(output, options):
            for row in module.rows(job, loaded, options):
                assert isinstance(row, Record | Problem)
    except (AssetError, DataError) as e:
        assert str(e)


def test_dropped_names_are_forgotten(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text('{"keep": [{"segmentation": [1, 2], "id": 3}], "segmentation": 4}')
    assert read_json(file, drop=("segmentation",)) == {"keep": [{"id": 3}]}
    assert read_json(file)["segmentation"] == 4


@pytest.mark.parametrize("content", [b"", b"[1,", b"\xff\xfe", b"[" * 10**6, b"{'a': 1}"])
def test_what_is_no_json_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "a.json"
    file.write_bytes(content)
    with pytest.raises(AssetError, match=r"a\.json: it is no whole json file"):
        read_json(file)


def test_numbers_of_a_shape() -> None:
    np.testing.assert_array_equal(numbers([[1, 2], [3, 4.5]], (None, 2), "x"), [[1, 2], [3, 4.5]])
    for wrong in ([[1, 2], [3]], [["a", "b"]], [[None, 1]], {"a": 1}, 3, [[1, 2, 3]], [[10**400, 1]]):
        with pytest.raises(DataError, match="N x 2"):
            numbers(wrong, (None, 2), "x")


@pytest.mark.parametrize(
    "name", ["", "../a.jpg", "/etc/passwd", "a/../../b.jpg", "C:/a.jpg", "a\\b.jpg", 3, None, "a\0b"]
)
def test_photos_outside_their_folder_are_refused(name: object) -> None:
    with pytest.raises(DataError, match="file"):
        photo_name(name, "file")


def test_names_of_photos() -> None:
    assert photo_name("a/b c.jpg", "file") == "a/b c.jpg" and photo_name(b"a.jpg", "file") == "a.jpg"
