"""Pieces, resuming, workers, problems: with EHF and 3DPW standing for all data sets."""

import pytest

from openexpose.data.convert.common import Options
from openexpose.data.convert.run import convert
from openexpose.data.convert.table import CONVERTERS, converter, spec
from openexpose.data.humandata import HumanData
from openexpose.errors import ConfigError
from tests.raw_trees.pw3d import write_pw3d


@pytest.fixture(scope="module")
def tree(tmp_path_factory, people):
    root = tmp_path_factory.mktemp("raw") / "3DPW"
    write_pw3d(root, [people[:1], people[1:2], people[2:]], frames=2, drawn=False)
    return root


@pytest.fixture(scope="module")
def bytes_at_once(tree, tmp_path_factory):
    out = tmp_path_factory.mktemp("once")
    convert("pw3d", Options(tree), out)
    assert [p.name for p in out.iterdir()] == ["pw3d_test.npz"]  # no piece is left
    return (out / "pw3d_test.npz").read_bytes()


def test_the_number_of_workers_does_not_show(tree, bytes_at_once, tmp_path):
    seen = []
    (outcome,) = convert("pw3d", Options(tree), tmp_path, workers=2, progress=lambda *what: seen.append(what))
    assert outcome.path.read_bytes() == bytes_at_once
    assert [what[1:3] for what in seen] == [(1, 3), (2, 3), (3, 3)] and seen[-1][3] == outcome.rows == 3


def test_a_stopped_run_goes_on_where_it_was(tree, bytes_at_once, tmp_path, monkeypatch):
    def stop(output, done, total, rows):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert("pw3d", Options(tree), tmp_path, progress=stop)
    assert not (tmp_path / "pw3d_test.npz").exists()
    module, read = converter("pw3d"), []
    original = module.rows
    monkeypatch.setattr(module, "rows", lambda job, *rest: read.append(job.name) or original(job, *rest))
    (outcome,) = convert("pw3d", Options(tree), tmp_path)
    assert read == ["downtown_walk_02.pkl"]
    assert outcome.path.read_bytes() == bytes_at_once


def test_pieces_of_other_options_or_files_are_made_again(tree, tmp_path, monkeypatch):
    def stop(output, done, total, rows):
        if done == total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert("pw3d", Options(tree), tmp_path, progress=stop)
    for damaged in (tmp_path / ".parts/pw3d_test").iterdir():
        damaged.write_bytes(damaged.read_bytes()[:100])
        break
    module, read = converter("pw3d"), []
    original = module.rows
    monkeypatch.setattr(module, "rows", lambda job, *rest: read.append(job.name) or original(job, *rest))
    with pytest.raises(KeyboardInterrupt):
        convert("pw3d", Options(tree), tmp_path, progress=stop)
    assert len(read) == 1
    convert("pw3d", Options(tree, photos=False), tmp_path)
    assert len(read) == 4


def test_strict_writes_nothing_and_says_the_same(tree, bytes_at_once, tmp_path, people):
    root = tmp_path / "3DPW"
    write_pw3d(root, [people[:1]], frames=3, lost=(), drawn=False)
    (root / "imageFiles/downtown_walk_00/image_00001.jpg").write_bytes(b"no photo")
    (loose,) = convert("pw3d", Options(root), tmp_path / "loose")
    (strict,) = convert("pw3d", Options(root), tmp_path / "strict", strict=True)
    assert loose.problems == strict.problems and len(loose.problems) == 1
    assert len(HumanData.open(loose.path)) == 2 and strict.path is None
    assert not list((tmp_path / "strict").glob("*.npz"))


def test_names_that_do_not_exist_are_refused(tree, tmp_path):
    with pytest.raises(ConfigError, match=r"no converter 'ehv'; choose one of .*ehf"):
        convert("ehv", Options(tree), tmp_path)
    with pytest.raises(ConfigError, match="makes pw3d_test, not pw3d_train"):
        convert("pw3d", Options(tree), tmp_path, outputs=("pw3d_train",))
    with pytest.raises(ConfigError, match="is no folder"):
        convert("pw3d", Options(tree / "nowhere"), tmp_path)


@pytest.mark.parametrize("name", sorted(CONVERTERS))
def test_every_line_of_the_table_has_its_module(name):
    module = converter(name)
    assert all(callable(getattr(module, f)) for f in ("jobs", "load", "rows"))
    assert spec(name).outputs and spec(name).source.licence
