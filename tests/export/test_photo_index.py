"""The way into many results: every photo has a card that opens its page, pages and sheets stay small."""

from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

from openexpose.export import photo_index
from openexpose.export.links import Card, Cards, Link, Links
from openexpose.export.photo_index import write_index

from .test_page import EVIL, Parsed

NAMES = ["a", "trip/b c#1", "ü%20", "d"]


def results(out: Path, names: list[str]) -> None:
    for k, name in enumerate(names):
        (out / name).mkdir(parents=True, exist_ok=True)
        people = ", ".join(["{}"] * k)
        text = f'{{"schema": "openexpose-result", "schema_version": 1, "people": [{people}]}}'
        (out / name / "result.json").write_text(text)
        Image.fromarray(np.full((300, 200, 3), 20 * k, np.uint8)).save(out / name / "overlay.jpg")
        (out / name / "index.html").write_text("x")


def pages_of(path: Path) -> list[str]:
    """What the links of a page open, relative to it."""
    return [unquote(a.removeprefix("./")) for a in Parsed(path.read_text()).addresses if not a.startswith("data:")]


def test_every_photo_has_a_card(tmp_path: Path) -> None:
    results(tmp_path, NAMES)
    written = write_index(tmp_path, [*NAMES, "unfinished"], title=EVIL, skipped=[(EVIL, "not an image")])
    assert [p.name for p in written] == ["contact_sheet.jpg", "index.html"]
    opened = pages_of(tmp_path / "index.html")
    assert opened == [*(f"{n}/index.html" for n in NAMES), "contact_sheet.jpg"]
    assert all((tmp_path / path).is_file() for path in opened)
    parsed = Parsed((tmp_path / "index.html").read_text())
    assert {"nobody", "1 person", "2 people", "4 photos", "not an image"} <= set(parsed.texts)
    assert not parsed.handlers
    with Image.open(tmp_path / "contact_sheet.jpg") as sheet:
        assert sheet.size[0] > 4 * 133  # pixels: four in a row


def test_many_photos_are_many_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photo_index, "PER_PAGE", 2)
    monkeypatch.setattr(photo_index, "PER_SHEET", 3)
    names = [f"p{k}" for k in range(5)]
    results(tmp_path, names)
    write_index(tmp_path, names)
    sheets = ["contact_sheet.jpg", "contact_sheet_2.jpg"]
    assert pages_of(tmp_path / "index.html") == [
        *("p0/index.html", "p1/index.html", "index_2.html", "index_3.html"),
        *sheets,
    ]
    assert pages_of(tmp_path / "index_3.html") == ["p4/index.html", "index.html", "index_2.html"]
    write_index(tmp_path, names[:2])
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_file()) == ["contact_sheet.jpg", "index.html"]


def test_two_hundred_photos_stay_small(tmp_path: Path) -> None:
    results(tmp_path, [f"p{k}" for k in range(8)])
    names = [f"p{k % 8}" for k in range(200)]
    write_index(tmp_path, names)
    assert (tmp_path / "index.html").stat().st_size < 3_000_000


def test_nothing_but_results_without_pictures(tmp_path: Path) -> None:
    results(tmp_path, ["a"])
    (tmp_path / "a" / "overlay.jpg").unlink()
    (tmp_path / "a" / "index.html").unlink()
    assert [p.name for p in write_index(tmp_path, ["a"])] == ["index.html"]
    assert pages_of(tmp_path / "index.html") == ["a/result.json"]
    (tmp_path / "a" / "result.json").write_text("{")
    write_index(tmp_path, ["a"])
    assert "result cannot be read" in (tmp_path / "index.html").read_text()


def test_a_name_is_never_another_address() -> None:
    for section in (Links("", [Link("javascript:alert(1)", EVIL)]), Cards("", [Card("//host/a?b#c", EVIL)])):
        parsed = Parsed(section.body())
        assert parsed.addresses in (["./javascript%3Aalert%281%29"], [".///host/a%3Fb%23c"]) and not parsed.handlers
        assert EVIL in parsed.texts
    assert "href" not in Cards("", [Card("", "a")]).body()
