"""The way into a folder of results: contact sheets, and index pages whose cards open each photo's own page."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from openexpose import images
from openexpose.errors import DataError
from openexpose.export.files import write_whole
from openexpose.export.links import Card, Cards, Link, Links
from openexpose.export.page import Page, Section, Table
from openexpose.export.people import OVERLAY_NAME, PAGE_NAME
from openexpose.export.picture import Picture
from openexpose.export.result import JSON_NAME, read_document
from openexpose.render.sheet import sheet

PER_PAGE, PER_SHEET = 200, 80
"""Photos on one index page and on one contact sheet."""
THUMB_PX = 200
"""Longer side of the small pictures."""
SHEET_NAME = "contact_sheet"
_COLUMNS = 10
_ANY_SIZE = 10**12
"""The overlays are our own files: no limit of pixels."""


@dataclass(frozen=True)
class _Entry:
    """What an index says of one photo."""

    name: str
    """Of its folder, relative, with forward slashes."""
    note: str
    page: bool
    thumb: UInt8[np.ndarray, "H W 3"] | None = field(repr=False)


def write_index(
    out: Path, names: Sequence[str], *, title: str = "People", skipped: Sequence[tuple[str, str]] = ()
) -> list[Path]:
    """Leave `index.html` and `contact_sheet.jpg` in the folder of many results; returns what was written.

    names: the photos' folders below `out`, in order; those without a finished result are left out.
    skipped: photos that could not be used, and why. More photos than a page or sheet holds go on in `index_2.html`,
    `contact_sheet_2.jpg` and so on; earlier ones that are too many now are removed. Pages hold small pictures of
    their own and open the photos' pages by relative links. Holds one page of small pictures in memory.
    Raises DataError when the disk is full or refuses.
    """
    present = [name for name in names if (out / name / JSON_NAME).is_file()]
    written: list[Path] = []
    for sheet_number, first in enumerate(range(0, len(present), PER_SHEET), 1):
        written += _write_sheet(out, present[first : first + PER_SHEET], sheet_number)
    sheets = [p.name for p in written]
    pages = max(1, -(-len(present) // PER_PAGE))
    for number in range(1, pages + 1):
        entries = [_entry(out, n) for n in present[(number - 1) * PER_PAGE : number * PER_PAGE]]
        own = skipped if number == pages else ()
        page = _page(entries, (number, pages), (title, len(present)), own, sheets if number == 1 else ())
        written.append(out / _numbered(number))
        page.write(written[-1])
    _remove_surplus(out, {p.name for p in written})
    return written


def _entry(out: Path, name: str) -> _Entry:
    folder = out / name
    try:
        count = len(read_document(folder / JSON_NAME)["people"])
        note = {0: "nobody", 1: "1 person"}.get(count, f"{count} people")
    except DataError:
        note = "result cannot be read"
    return _Entry(name, note, (folder / PAGE_NAME).is_file(), _thumb(folder / OVERLAY_NAME))


def _thumb(path: Path) -> UInt8[np.ndarray, "H W 3"] | None:
    """A small picture; None where there is no picture. JPEG is decoded at reduced size, so this is quick."""
    try:
        with images.opened(path) as photo:
            longest = max(photo.size_px)
            rgb = photo.decode(density=min(1.0, 1.5 * THUMB_PX / longest), max_pixels=_ANY_SIZE).rgb
    except DataError:
        return None
    k = min(1.0, THUMB_PX / max(rgb.shape[:2]))
    size = (max(1, round(rgb.shape[1] * k)), max(1, round(rgb.shape[0] * k)))
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)


def _write_sheet(out: Path, names: Sequence[str], number: int) -> list[Path]:
    thumbs = {name: thumb for name in names if (thumb := _thumb(out / name / OVERLAY_NAME)) is not None}
    if not thumbs:
        return []
    drawn = sheet(list(thumbs.values()), columns=_COLUMNS, captions=list(thumbs), text_px=13)
    path = out / _numbered(number, SHEET_NAME, ".jpg")
    write_whole(path, Picture.jpeg(drawn, alt="").data)
    return [path]


def _page(
    entries: Sequence[_Entry],
    place: tuple[int, int],
    about: tuple[str, int],
    skipped: Sequence[tuple[str, str]],
    sheets: Sequence[str],
) -> Page:
    (number, pages), (title, total) = place, about
    first = (number - 1) * PER_PAGE + 1
    turn = [
        Link(_numbered(n), f"photos {(n - 1) * PER_PAGE + 1} to {min(n * PER_PAGE, total)}", f"Page {n}")
        for n in range(1, pages + 1)
        if n != number
    ]
    sections: list[Section] = [Cards("", [_card(e) for e in entries])]
    if turn:
        sections.append(Links("More photos", turn))
    if skipped:
        sections.append(Table("Skipped", ["photo", "why"], [list(row) for row in skipped]))
    if sheets:
        links = [Link(s, "small pictures of all photos") for s in sheets]
        sections.append(Links("Contact sheets", links))
    shown = f"photos {first} to {first + len(entries) - 1} of {total}" if pages > 1 else f"{total} photos"
    return Page(title, sections, subtitle=shown, footer="Made by OpenExPose")


def _card(entry: _Entry) -> Card:
    picture = None
    if entry.thumb is not None:
        picture = Picture.jpeg(entry.thumb, alt=f"{entry.name} with the predicted bodies", quality=78)
    return Card(f"{entry.name}/{PAGE_NAME if entry.page else JSON_NAME}", entry.name, entry.note, picture)


def _numbered(number: int, stem: str = "index", ending: str = ".html") -> str:
    return f"{stem}{ending}" if number == 1 else f"{stem}_{number}{ending}"


def _remove_surplus(out: Path, kept: set[str]) -> None:
    """Pages and sheets of an earlier, longer index."""
    for stem, ending in (("index", ".html"), (SHEET_NAME, ".jpg")):
        number = 1
        while (path := out / _numbered(number, stem, ending)).is_file() or number == 1:
            if path.name not in kept:
                path.unlink(missing_ok=True)
            number += 1
