"""Which photos are meant: every way to name them, each once, each with a folder of its own."""

from pathlib import Path

import pytest

from openexpose.errors import ConfigError, DataError
from openexpose.predict.listing import list_all


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("a.jpg", "b.PNG", "notes.md", "sub/a.jpg", "sub/deep/c.webp", "out/a/overlay.jpg"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return tmp_path


def names(listed: list) -> list[str]:
    return [photo.name for photo in listed]


def test_folders_globs_files_and_lists(tree):
    assert names(list_all([str(tree)])) == ["a", "b"]
    assert names(list_all([str(tree)], recursive=True, skip=tree / "out")) == ["a", "b", "sub/a", "sub/deep/c"]
    assert names(list_all([str(tree / "**" / "*.webp")])) == ["c"]
    assert names(list_all([str(tree / "b.PNG"), str(tree)])) == ["b", "a"]  # each once
    (tree / "list.txt").write_text("# mine\na.jpg\n\nsub\n")
    assert names(list_all([str(tree / "list.txt")])) == ["a", "a_jpg"]
    assert names(list_all(["-"], stdin=[f"{tree / 'a.jpg'}\n", f"{tree}/sub/deep/*\n"])) == ["a", "c"]
    assert names(list_all([str(tree / "missing.jpg")])) == ["missing"]  # the reader says so


def test_equal_names_get_folders_of_their_own(tmp_path):
    paths = [tmp_path / n for n in ("a.jpg", "a.png", "x/a.jpg", "y/a.jpg", "z/A.jpg")]
    assert names(list_all([str(p) for p in paths])) == ["a", "a_png", "a_jpg", "a_2", "A_3"]


def test_no_folder_is_called_like_a_way_out(tmp_path):
    assert names(list_all([str(tmp_path / n) for n in ("..jpg", "...png", "a.b.jpg")])) == ["photo", "photo_png", "a.b"]


def test_nothing_and_broken_lists_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="no photos in"):
        list_all([str(tmp_path)])
    (tmp_path / "bad.txt").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(DataError, match="UTF-8"):
        list_all([str(tmp_path / "bad.txt")])
