"""Raw files that somebody damaged: every converter says so in one line each, and nothing else happens."""

import json
import pickle
from collections.abc import Iterator
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openexpose.data.convert.common import Options, Problem
from openexpose.data.convert.run import convert
from openexpose.data.convert.table import CONVERTERS, converter
from openexpose.data.record import Record
from openexpose.errors import AssetError, DataError
from tests.raw_trees.drawing import blank_photo
from tests.raw_trees.every import TREES

PHOTOS = (".jpg", ".png")
PHOTOS_BESIDE = ("curated_fits", "spin_smplx")
"""Their photos are those of other data sets, beside their own folder."""
ANY_SIZE = ("curated_fits", "spin_smplx", "h36m", "pw3d", "stirling", "lsp", "lspet", "mpii", "openpose")
"""Nothing says how large their photos should be."""
ONLY = {"coco": "person_keypoints_train", "coco_wholebody": "coco_wholebody_train", "freihand": "training"}
"""Of the files in a data set's folder, those that are looked at."""
UNLISTED = ("openpose", "pw3d")
"""Nothing says which files there should be."""
JUNK = st.sampled_from([b"\0", b"\xff", b"9", b"[", b"}", b'"', b"null", b"-", b"e", b" "])


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    """A folder with a tree of each set, made when it is asked for: files are put back after they were damaged."""

    @cache
    def tree(name: str) -> Path:
        return TREES[name](tmp_path_factory.mktemp(name), 4, False)

    return tree


def options(root: Path, **more: Any) -> Options:
    return Options(root, body_models=root.parent / "body_models", **more)


def annotations(name: str, root: Path) -> list[Path]:
    """Files of a tree that are no photos; of many of a kind only one."""
    files = [p for p in sorted(root.rglob("*")) if p.is_file() and p.suffix not in PHOTOS]
    kinds = {(p.suffix, p.parent): p for p in files if name not in ONLY or ONLY[name] in p.name}
    return list(kinds.values())


def photos(name: str, root: Path) -> list[Path]:
    place = root.parent if name in PHOTOS_BESIDE else root
    return sorted(p for p in place.rglob("*") if p.suffix in PHOTOS)


def outcome(name: str, root: Path, out: Path, **more: Any) -> tuple[int, list[str]]:
    """Rows of all outputs, and all problems, each of which is one line; nothing but whole files is left behind."""
    outcomes = convert(name, options(root), out, **more)
    said = [str(p) for o in outcomes for p in o.problems]
    assert all("\n" not in line and len(line) > 10 for line in said)
    assert {p.name for p in out.glob("*.npz")} == {o.path.name for o in outcomes if o.path}
    assert all(o.path is None or o.rows for o in outcomes)
    return sum(o.rows for o in outcomes if o.path), said


@pytest.mark.parametrize("name", sorted(TREES))
def test_files_that_are_missing_or_cut_short_are_named(name: str, trees, tmp_path: Path) -> None:
    root = trees(name)
    for i, file in enumerate(annotations(name, root)):
        raw = file.read_bytes()
        for j, damaged in enumerate((None, raw[: len(raw) // 2])):
            if name == "stirling" and j:
                continue  # of text that lost its end, another number is left
            if damaged is None and name in UNLISTED:
                continue
            out = tmp_path / f"{i}.{j}"
            file.unlink()
            if damaged is not None:
                file.write_bytes(damaged)
            try:
                rows, said = outcome(name, root, out)
                assert any(file.name in line or file.parent.name in line for line in said), (file, j, said)
                first = CONVERTERS[name].outputs[:1]
                rows, _ = outcome(name, root, tmp_path / f"{i}.{j}.strict", strict=True, outputs=first)
                assert rows == 0
            finally:
                file.write_bytes(raw)
    said = outcome(name, root, tmp_path / "whole")[1]
    assert len(said) == (3 if name == "h36m" else 0)  # two of five subjects are there


@pytest.mark.parametrize("name", sorted(TREES))
def test_a_damaged_photo_costs_its_rows_and_one_line(name: str, trees, tmp_path: Path) -> None:
    root = trees(name)
    rows, before = outcome(name, root, tmp_path / "whole")
    photo = photos(name, root)[-1]
    raw = photo.read_bytes()
    for j, damaged in enumerate((None, raw[:30], "other size")):
        if (damaged == "other size" and name in ANY_SIZE) or (damaged is None and name == "stirling"):
            continue
        photo.unlink()
        if damaged == "other size":
            blank_photo(photo, 30, 40)
        elif damaged is not None:
            photo.write_bytes(damaged)
        try:
            left, said = outcome(name, root, tmp_path / str(j))
            lines = [line for line in said if line not in before]
            of_photo = [line for line in lines if "nothing written" not in line]  # an output may have lost its only row
            assert left < rows and len(of_photo) == 1, (j, lines)
            assert photo.stem in of_photo[0]
        finally:
            photo.write_bytes(raw)


@pytest.mark.parametrize("name", sorted(TREES))
@given(data=st.data())
@settings(max_examples=6)
def test_damaged_bytes_give_rows_and_problems_or_an_error(name: str, data: st.DataObject, trees) -> None:
    root = trees(name)
    file = data.draw(st.sampled_from(annotations(name, root)))
    raw = file.read_bytes()
    damaged = bytearray(raw)
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at : at + data.draw(st.integers(0, 3))] = data.draw(JUNK)
    if data.draw(st.integers(0, 3)) == 0:
        del damaged[data.draw(st.integers(0, len(damaged))) :]
    with replaced(file, bytes(damaged)):
        run_through(name, root)


WRONG = st.sampled_from([None, "text", [], {}, 3, -1.5, True, [[1, 2], [3]], float("nan"), [None], {"a": 1}, 10**40])


@pytest.mark.parametrize("name", ["coco", "coco_wholebody", "ehf", "freihand", "openpose", "pw3d"])
@given(data=st.data())
@settings(max_examples=10)
def test_values_of_the_wrong_kind_give_rows_and_problems_or_an_error(name: str, data: st.DataObject, trees) -> None:
    root = trees(name)
    file = data.draw(st.sampled_from([f for f in annotations(name, root) if f.suffix in (".json", ".pkl")]))
    raw = file.read_bytes()
    content = json.loads(raw) if file.suffix == ".json" else pickle.loads(raw)  # of our own making
    for _ in range(data.draw(st.integers(1, 2))):
        at = content
        while True:
            keys = list(at) if isinstance(at, dict) else range(len(at))
            key = data.draw(st.sampled_from(keys))
            deeper = isinstance(at[key], dict | list) and len(at[key]) and data.draw(st.integers(0, 3))
            if not deeper:
                break
            at = at[key]
        if data.draw(st.integers(0, 4)):
            at[key] = deepcopy(data.draw(WRONG))
        else:
            del at[key]
        if not content:
            break
    with replaced(file, json.dumps(content).encode() if file.suffix == ".json" else pickle.dumps(content, protocol=2)):
        run_through(name, root)


COLUMNS = [
    np.float32(3), np.array(list("abcd")), np.array([None, 1, "x", []], object), np.full(4, np.nan),
]  # fmt: skip


@pytest.mark.parametrize(("name", "file"), [
    ("curated_fits", "train.npz"), ("spin_smplx", "lspet.npz"), ("ffhq", "ffhq_annotations.npz"),
])  # fmt: skip
def test_columns_of_the_wrong_kind_give_rows_and_problems_or_an_error(name: str, file: str, trees) -> None:
    path = trees(name) / file
    with np.load(path) as z:
        arrays = dict(z)
    for key in arrays:
        for wrong in COLUMNS:
            np.savez(path.with_suffix(".new.npz"), **{**arrays, key: wrong})
            with replaced(path, path.with_suffix(".new.npz").read_bytes()):
                path.with_suffix(".new.npz").unlink()
                run_through(name, path.parent)


class replaced:  # noqa: N801 - reads as a verb
    """A file with other contents for a while."""

    def __init__(self, file: Path, content: bytes) -> None:
        self.file, self.content, self.raw = file, content, file.read_bytes()

    def __enter__(self) -> None:
        self.file.write_bytes(self.content)

    def __exit__(self, *why: object) -> None:
        self.file.write_bytes(self.raw)


def run_through(name: str, root: Path) -> None:
    """All rows of a set's first output; nothing but records, problems and the errors a converter may raise."""
    for output in CONVERTERS[name].outputs[-1:]:
        module, chosen = converter(name), options(root, photos=False)
        try:
            pieces = module.jobs(output, chosen)
            loaded = module.load(output, chosen)
        except (AssetError, DataError) as e:
            assert str(e)
            continue
        for job in pieces:
            _one(iter(module.rows(job, loaded, chosen)))


def _one(rows: Iterator[Record | Problem]) -> None:
    try:
        for row in rows:
            assert isinstance(row, Record | Problem)
            if isinstance(row, Record):
                assert row.photo and np.isfinite(row.box_xywh_px).all()
    except (AssetError, DataError) as e:
        assert str(e)
