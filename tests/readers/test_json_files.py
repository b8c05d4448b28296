"""Other people's json: what is no json is named, numbers have their shape."""

from pathlib import Path

import numpy as np
import pytest

from openexpose.errors import AssetError, DataError
from openexpose.readers.json_files import numbers, parsed_json, read_json


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


def test_bytes_are_read_like_their_file(tmp_path: Path) -> None:
    assert parsed_json(b'[{"a": 1, "b": 2}]', tmp_path / "a.json", drop=("b",)) == [{"a": 1}]
    with pytest.raises(AssetError, match=r"a\.json"):
        parsed_json(b"[1", tmp_path / "a.json")
