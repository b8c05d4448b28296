"""Sections that lead to other files: lists, and cards with pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from urllib.parse import quote

from openexpose.export.page import img
from openexpose.export.picture import Picture


@dataclass(frozen=True)
class Link:
    """A file beside the page."""

    path: str
    """Relative to the page, with forward slashes."""
    note: str = ""
    label: str = ""
    """Instead of the path."""


@dataclass(frozen=True)
class Links:
    """Files beside the page, to open."""

    title: str
    items: Sequence[Link]
    lead: str = ""

    def body(self) -> str:
        """HTML, escaped."""
        links = [
            f'<li><a class="card" href="{_href(i.path)}"><b>{escape(i.label or i.path)}</b>'
            f"<span>{escape(i.note)}</span></a></li>"
            for i in self.items
        ]
        return f'<ul class="downloads">{"".join(links)}</ul>'


@dataclass(frozen=True)
class Card:
    """A picture that opens another page."""

    path: str
    """Relative to the page, with forward slashes; empty for a card that opens nothing."""
    name: str
    note: str = ""
    picture: Picture | None = None


@dataclass(frozen=True)
class Cards:
    """Pictures in a grid, each a link."""

    title: str
    items: Sequence[Card]
    lead: str = ""

    def body(self) -> str:
        """HTML, escaped."""
        cells = []
        for card in self.items:
            picture = "" if card.picture is None else img(card.picture)
            inside = f"{picture}<b>{escape(card.name)}</b><span>{escape(card.note)}</span>"
            if card.path:
                cells.append(f'<li><a class="card" href="{_href(card.path)}">{inside}</a></li>')
            else:
                cells.append(f'<li><div class="card">{inside}</div></li>')
        return f'<ul class="cards">{"".join(cells)}</ul>'


def _href(path: str) -> str:
    """A relative address; never another scheme or another host, whatever the file is called."""
    return escape("./" + quote(path))
