"""One self-contained HTML page: pictures, a 3D viewer, tables, comparisons; `downloads.py` has files to save.

The page opens from a file, asks nothing of any network (its content security policy forbids it), and shows a still
picture where a browser has no WebGL. All text is escaped.
"""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Protocol, runtime_checkable

from openexpose.errors import DataError
from openexpose.export.files import write_whole
from openexpose.export.picture import Picture
from openexpose.export.viewer import ViewerMesh, viewer_data
from openexpose.geometry.camera import PerspectiveCamera


@runtime_checkable
class Section(Protocol):
    """Anything with a title and HTML below it."""

    @property
    def title(self) -> str:
        """Heading; empty for none."""
        ...

    @property
    def lead(self) -> str:
        """A sentence below the heading; empty for none."""
        ...

    def body(self) -> str:
        """HTML, escaped."""
        ...


@dataclass(frozen=True)
class Gallery:
    """Pictures in a grid; a click enlarges one."""

    title: str
    pictures: Sequence[Picture]
    lead: str = ""
    wide: bool = False
    """Large cells, for contact sheets."""

    def body(self) -> str:
        """HTML, escaped."""
        cells = [
            f'<figure class="card"><button class="enlarge" type="button" aria-label="Enlarge: {escape(p.alt)}">'
            f"{img(p)}</button>{f'<figcaption>{escape(p.caption)}</figcaption>' if p.caption else ''}</figure>"
            for p in self.pictures
        ]
        return f'<div class="gallery{" wide" if self.wide else ""}">{"".join(cells)}</div>'


@dataclass(frozen=True)
class Viewer:
    """Meshes to turn around; one is shown, the others are in a list."""

    title: str
    meshes: Sequence[ViewerMesh]
    lead: str = ""
    poster: Picture | None = None
    """Shown where WebGL or JavaScript is missing."""
    together: str = ""
    """Name of a first entry that shows all meshes at once; empty for none."""
    camera: PerspectiveCamera | None = None
    """The photo's camera in the meshes' y-up frame: adds a button that looks through it."""

    def body(self) -> str:
        """HTML, escaped."""
        if not self.meshes:
            raise DataError(f"viewer {self.title!r} has no meshes")
        names = [*([self.together] if self.together else []), *(m.name for m in self.meshes)]
        chips = "".join(f'<button class="chip" type="button">{escape(n)}</button>' for n in names)
        photo = '<button class="tool do-photo" type="button">Photo</button>' if self.camera is not None else ""
        data = viewer_data(self.meshes, together=self.together, camera=self.camera)
        poster = "" if self.poster is None else img(self.poster)
        return (
            '<div class="viewer card"><div class="stage">'
            f'<canvas tabindex="0" aria-label="3D view of {escape(self.title)}: drag to turn"></canvas>'
            f'<div class="tools">{photo}<button class="tool do-spin" type="button" aria-pressed="false">Spin</button>'
            '<button class="tool do-reset" type="button">Reset</button></div>'
            '<p class="hint">Drag to turn · shift-drag to move · click, then scroll to zoom</p>'
            f'<div class="viewer-fallback" hidden>{poster}<p class="viewer-why"></p></div>'
            f'<noscript><div class="viewer-fallback">{poster}<p>The 3D view needs JavaScript.</p></div></noscript>'
            f'</div><div class="side"><div class="chips">{chips}</div><p class="viewer-note"></p></div>'
            f'<script type="application/json">{data}</script></div>'
        )


@dataclass(frozen=True)
class Table:
    """Rows of texts and numbers; numbers stand on the right."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | int | float]]
    lead: str = ""

    def body(self) -> str:
        """HTML, escaped."""
        wrong = [k for k, row in enumerate(self.rows) if len(row) != len(self.columns)]
        if wrong:
            raise DataError(f"table {self.title!r}: row {wrong[0]} has not {len(self.columns)} cells")
        numeric = [
            bool(self.rows) and all(not isinstance(r[k], str) for r in self.rows) for k in range(len(self.columns))
        ]
        kind = [' class="number"' if n else "" for n in numeric]
        head = "".join(f"<th{k}>{escape(c)}</th>" for c, k in zip(self.columns, kind, strict=True))
        rows = "".join(
            "<tr>" + "".join(f"<td{k}>{_cell(c)}</td>" for c, k in zip(row, kind, strict=True)) + "</tr>"
            for row in self.rows
        )
        return f'<div class="card scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


@dataclass(frozen=True)
class Text:
    """Paragraphs of plain text."""

    title: str
    paragraphs: Sequence[str]
    lead: str = ""

    def body(self) -> str:
        """HTML, escaped."""
        return f'<div class="text">{"".join(f"<p>{escape(p)}</p>" for p in self.paragraphs)}</div>'


@dataclass(frozen=True)
class BeforeAfter:
    """Two pictures of one size, with a line to drag between them."""

    title: str
    before: Picture
    after: Picture
    lead: str = ""
    names: tuple[str, str] = ("photo", "prediction")

    def body(self) -> str:
        """HTML, escaped."""
        sizes = [(p.width_px, p.height_px) for p in (self.before, self.after)]
        if sizes[0] != sizes[1]:
            raise DataError(f"comparison {self.title!r}: pictures of {sizes[0]} and {sizes[1]} pixels")
        left, right = (escape(n) for n in self.names)
        caption = self.after.caption or self.before.caption
        return (
            f'<figure class="compare card"><div class="pair">{img(self.before)}{img(self.after, " class=after")}'
            f'<span class="tag left">{left}</span><span class="tag right">{right}</span>'
            f'<input type="range" min="0" max="100" value="50" aria-label="{left} to {right}"></div>'
            f"{f'<figcaption>{escape(caption)}</figcaption>' if caption else ''}</figure>"
        )


@dataclass(frozen=True)
class Page:
    """A page of sections, top to bottom."""

    title: str
    sections: Sequence[Section]
    subtitle: str = ""
    footer: str = ""

    def html(self) -> str:
        """The whole page as one text."""
        here = files("openexpose.export")
        css, script = (here.joinpath(n).read_text(encoding="utf-8") for n in ("page.css", "viewer.js"))
        policy = (
            f"default-src 'none'; img-src data:; style-src '{_sha256(css)}'; script-src '{_sha256(script)}'; "
            "base-uri 'none'; form-action 'none'"
        )
        return (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            '<meta name="generator" content="OpenExPose"><link rel="icon" href="data:,">'
            f"<title>{escape(self.title)}</title><style>{css}</style></head>\n<body>"
            f'<header class="top"><div><h1>{escape(self.title)}</h1>'
            f"{f'<p class=subtitle>{escape(self.subtitle)}</p>' if self.subtitle else ''}</div>"
            '<button class="tool" id="theme" type="button">Light / dark</button></header>\n'
            f"<main>{''.join(_section(s) for s in self.sections)}</main>\n<footer>{escape(self.footer)}</footer>"
            '<dialog id="enlarged"><img alt=""><p></p></dialog>'
            f"<script>{script}</script></body></html>\n"
        )

    def write(self, path: Path) -> None:
        """Leave the page in a file, whole or not at all."""
        write_whole(path, self.html().encode())


def _section(section: Section) -> str:
    title = f"<h2>{escape(section.title)}</h2>" if section.title else ""
    lead = f'<p class="lead">{escape(section.lead)}</p>' if section.lead else ""
    return f"<section>{title}{lead}{section.body()}</section>\n"


def img(picture: Picture, extra: str = "") -> str:
    """An image element that holds its bytes; `extra` goes into the tag."""
    return (
        f'<img{extra} src="{_data_uri(picture.media_type, picture.data)}" alt="{escape(picture.alt)}" '
        f'width="{picture.width_px}" height="{picture.height_px}">'
    )


def _cell(value: str | int | float) -> str:
    if isinstance(value, float):
        return escape(f"{value:.4g}")
    return escape(str(value))


def _data_uri(media_type: str, data: bytes) -> str:
    return f"data:{escape(media_type)};base64,{base64.b64encode(data).decode()}"


def _sha256(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
