"""Lists found in a json file by brackets and quotes: what json itself reads; what is no such file is refused."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openexpose.data.convert.json_lists import Span, list_spans, read_span
from openexpose.errors import AssetError

TEXT = st.text(st.sampled_from(list('"\\{}[],: aä\n')), max_size=6)
VALUES = st.recursive(
    st.none() | st.integers() | TEXT, lambda v: st.lists(v, max_size=3) | st.dictionaries(TEXT, v, max_size=3)
)
OBJECTS = st.lists(st.dictionaries(TEXT, VALUES, max_size=3), max_size=7)


@given(
    before=st.dictionaries(TEXT, VALUES, max_size=2), rows=OBJECTS, size=st.integers(1, 4),
    block_bytes=st.integers(1, 40), indent=st.sampled_from([None, 0, 3]), ascii_only=st.booleans(),
)  # fmt: skip
@settings(max_examples=60)
def test_spans_hold_what_json_reads(tmp_path_factory, before, rows, size, block_bytes, indent, ascii_only) -> None:
    file = tmp_path_factory.getbasetemp() / "spans.json"
    content = {**before, "rows": rows, "other": [{"rows": [1]}, 2]}
    file.write_text(json.dumps(content, indent=indent, ensure_ascii=ascii_only), encoding="utf-8")
    spans = list_spans(file, {"rows": size}, block_bytes=block_bytes)["rows"]
    assert [s.first for s in spans] == list(range(0, len(rows), size))
    assert [one for s in spans for one in read_span(file, s)] == rows


def test_dropped_names_are_forgotten(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text('{"rows": [{"a": 1, "b": {"a": 2, "c": 3}}]}')
    (span,) = list_spans(file, {"rows": 5})["rows"]
    assert read_span(file, span, drop=("a",)) == [{"b": {"c": 3}}]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "no object"),
        ("[{}]", "no list rows"),
        ("3", "no object"),
        ('{"rows": [{}]', "too early"),
        ('{"rows": [{}, {"', "too early"),
        ('{"rows": [{}]}}', "closes more"),
        ('{"rows": [{}]} {}', "no object"),
        ('{"rows": {"a": {}}}', "no list"),
        ('{"rows": [{}], "rows": []}', "twice"),
        ('{"rows": [{} {}]}', "something else"),
        ('{"rows": [{}, 5, {}]}', "something else"),
        ('{"rows": [{}, 5]}', "something else"),
        ('{"rows": [5]}', "something else"),
        ('{"a": {"rows": [{}]}}', "no list rows"),
    ],
)
def test_what_is_no_such_file_is_named(tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "a.json"
    file.write_text(content)
    with pytest.raises(AssetError, match=rf"a\.json: it is no whole json file.*{said}"):
        list_spans(file, {"rows": 1})


def test_damaged_spans_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text('{"rows": [{"a": nul}, {"a": 1}]}')
    first, second = list_spans(file, {"rows": 1})["rows"]
    assert read_span(file, second) == [{"a": 1}]
    with pytest.raises(AssetError, match="no whole json"):
        read_span(file, first)
    with pytest.raises(AssetError, match="elements 0 to 2"):
        read_span(file, Span(0, 3, second.start, second.stop))
    with pytest.raises(AssetError, match="shorter"):
        read_span(file, Span(0, 1, 0, 10_000))
    with pytest.raises(AssetError, match="no such file"):
        list_spans(tmp_path / "b.json", {"rows": 1})
