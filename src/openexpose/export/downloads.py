"""Files that a page carries: packed, and what several have in common stored once."""

import base64
import json
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_LEVEL = 1
"""Of zlib: 5 % larger than its best, in half the time."""


@dataclass(frozen=True)
class Download:
    """A file inside the page."""

    file_name: str
    data: bytes
    media_type: str = "application/octet-stream"
    note: str = ""


@dataclass(frozen=True)
class Downloads:
    """Files that the page carries: each a button that saves it, without any network.

    Not links with `data:` addresses, which browsers cut off at two megabytes.
    """

    title: str
    items: Sequence[Download]
    lead: str = ""

    def body(self) -> str:
        """HTML, escaped."""
        places: dict[bytes, int] = {}
        buttons = []
        for item in self.items:
            parts = [places.setdefault(piece, len(places)) for piece in pieces(item.data)]
            buttons.append(
                f'<li><button class="card" type="button" data-name="{escape(item.file_name)}" '
                f'data-type="{escape(item.media_type)}" data-parts="{json.dumps(parts)}">'
                f"<b>{escape(item.file_name)}</b><span>{escape(_about(item))}</span></button></li>"
            )
        packed = [base64.b64encode(zlib.compress(piece, _LEVEL)).decode() for piece in places]
        return (
            f'<div class="carried"><ul class="downloads">{"".join(buttons)}</ul>'
            "<noscript><p>Saving a file from this page needs JavaScript.</p></noscript>"
            f'<script type="application/json">{json.dumps(packed)}</script></div>'
        )


def pieces(data: bytes) -> list[bytes]:
    """A file in pieces that add up to it: a .glb of `export.gltf` at its arrays, so that those of other people with the
    same body model are equal; any other file whole.
    """
    if data[:4] != b"glTF":
        return [data]
    length = struct.unpack_from("<I", data, 12)[0]
    start = 20 + length + 8  # header, JSON chunk and the head of the binary chunk
    views = json.loads(data[20 : 20 + length]).get("bufferViews", [])
    cuts = [0, *sorted({start + v.get("byteOffset", 0) for v in views}), len(data)]
    return [data[a:b] for a, b in zip(cuts, cuts[1:], strict=False) if b > a]


def _about(item: Download) -> str:
    size = len(item.data)
    text = f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{max(1, round(size / 1e3))} kB"
    return f"{item.note} · {text}" if item.note else text
