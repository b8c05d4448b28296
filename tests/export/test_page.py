"""The HTML page: escaping and self-containment by parsing, the viewer by a real browser where one is installed."""

import base64
import hashlib
import html as entities
import io
import json
import re
import shutil
import subprocess
import zlib
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from openexpose.body import load_model
from openexpose.errors import DataError
from openexpose.export.bodies import skinned_mesh
from openexpose.export.downloads import Download, Downloads, pieces
from openexpose.export.gltf import glb
from openexpose.export.page import BeforeAfter, Gallery, Page, Table, Text, Viewer
from openexpose.export.picture import Picture
from openexpose.export.viewer import ViewerMesh, viewer_data

EVIL = "</script><script>alert('x')</script><img src=x onerror=alert(1)>&\"'"
BALL = trimesh.creation.icosphere(3, radius=0.5)
V, F = np.asarray(BALL.vertices), np.asarray(BALL.faces)
GREY = np.full((20, 30, 3), 128, dtype=np.uint8)


def page() -> Page:
    picture = Picture.png(GREY, alt=EVIL, caption=EVIL)
    meshes = [
        ViewerMesh("ball", V, F, colour=(0.9, 0.1, 0.1)),
        ViewerMesh(EVIL, V * [0.5, 2.0, 1.0], F, note=EVIL, vertex_colours=np.abs(V)),
    ]
    return Page(
        title=EVIL,
        subtitle=EVIL,
        footer=EVIL,
        sections=[
            Viewer(EVIL, meshes, lead=EVIL, poster=picture),
            Gallery(
                EVIL, [picture, Picture.jpeg(GREY, alt="a"), Picture.webp(np.dstack([GREY, GREY[..., 0]]), alt="b")]
            ),
            BeforeAfter(EVIL, picture, picture, names=(EVIL, EVIL)),
            Table(EVIL, [EVIL, "n"], [[EVIL, 3], [EVIL, 0.123456]]),
            Text(EVIL, [EVIL]),
            Downloads(EVIL, [Download("a.glb", b"bytes", "model/gltf-binary", EVIL)]),
        ],
    )


class Parsed(HTMLParser):
    """Tags, addresses and texts of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.handlers: list[str] = []
        self.texts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [v or "" for k, v in attrs if k in ("src", "href", "action", "srcset", "data")]
        self.handlers += [k for k, _ in attrs if k.startswith("on") or k == "style"]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_everything_is_escaped_and_nothing_is_outside() -> None:
    parsed = Parsed(page().html())
    assert parsed.tags.count("script") == 3  # the meshes' data, the files' and the viewer
    assert not parsed.handlers
    assert all(a.startswith("data:") for a in parsed.addresses), [a[:40] for a in parsed.addresses]
    assert parsed.texts.count(EVIL) >= 8
    assert "0.1235" in parsed.texts
    html = page().html()
    assert "default-src 'none'" in html
    assert "<link" not in html.replace('<link rel="icon" href="data:,">', "")


def test_policy_names_the_hashes_of_what_is_inside() -> None:
    html = page().html()
    for tag in ("style", "script"):
        text = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.S)[-1]
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in html


def test_viewer_data_holds_the_mesh_to_a_fraction_of_a_millimetre() -> None:
    text = viewer_data(
        [ViewerMesh("a", V, F), ViewerMesh("b", V * 2, F), ViewerMesh("c", V[:12], np.array([[0, 1, 2]]))]
    )
    assert not set("<>&") & set(text)
    data = json.loads(text)
    assert len(data["topologies"]) == 2  # equal faces are stored once
    for mesh, scale in zip(data["meshes"][:2], (1, 2), strict=True):
        q = np.frombuffer(base64.b64decode(mesh["positions"]), "<u2").reshape(-1, 3)
        got = np.array(mesh["low"]) + q * np.array(mesh["step"])
        np.testing.assert_allclose(got, V * scale, atol=scale * 1.0 / 65_535)  # metres: one step
        faces = np.frombuffer(base64.b64decode(data["topologies"][mesh["topology"]]["faces"]), "<u2")
        np.testing.assert_array_equal(faces.reshape(-1, 3), F)
        colours = np.frombuffer(base64.b64decode(mesh["colours"]), "u1").reshape(-1, 4)
        assert colours[:, 3].min() > 240  # a ball is open to the sky everywhere


def test_pictures_come_back() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (20, 30, 4), dtype=np.uint8)
    png = Picture.png(noise, alt="noise")
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png.data))), noise)
    for picture in (Picture.jpeg(GREY, alt="grey"), Picture.webp(GREY, alt="grey")):
        got = np.asarray(Image.open(io.BytesIO(picture.data)))
        assert np.abs(got.astype(int) - GREY).max() <= 3  # grey levels, lossy
        assert (picture.width_px, picture.height_px) == (30, 20)


def carried(html: str) -> dict[str, bytes]:
    """The files in a page, put together as its script does."""
    text = re.search(r'</noscript><script type="application/json">(.*?)</script>', html, re.S)
    assert text
    packed = [zlib.decompress(base64.b64decode(piece)) for piece in json.loads(text[1])]
    found = re.findall(r'data-name="(.*?)" data-type=".*?" data-parts="(.*?)"', html)
    return {entities.unescape(name): b"".join(packed[k] for k in json.loads(parts)) for name, parts in found}


def test_files_are_carried_whole_and_what_they_share_once() -> None:
    model = load_model("free")
    bodies = [skinned_mesh(model.shape(torch.full((10,), b)).pose(), name="a") for b in (0.0, 1.0)]
    files = {f"{k}.glb": glb([b])[0] for k, b in enumerate(bodies)} | {"both.glb": glb(bodies)[0], EVIL: b"x" * 10}
    for data in files.values():
        assert b"".join(pieces(data)) == data
    html = Downloads("", [Download(name, data) for name, data in files.items()]).body()
    assert carried(html) == files
    alone = len(Downloads("", [Download("0.glb", files["0.glb"])]).body())
    assert len(html) < 1.7 * alone  # three of them


def test_write_replaces_the_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "index.html"
    page().write(path)
    assert path.read_text() == page().html()
    assert [p.name for p in path.parent.iterdir()] == ["index.html"]


def test_refusals() -> None:
    picture = Picture.png(GREY, alt="")
    with pytest.raises(DataError, match="row 1"):
        Table("t", ["a", "b"], [[1, 2], [1]]).body()
    with pytest.raises(DataError, match="pixels"):
        BeforeAfter("t", picture, Picture.png(GREY[:5], alt="")).body()
    with pytest.raises(DataError, match="no meshes"):
        Viewer("t", []).body()
    with pytest.raises(DataError, match="not finite"):
        viewer_data([ViewerMesh("a", V * np.nan, F)])


BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--hide-scrollbars",
    "--enable-logging=stderr",
    "--virtual-time-budget=3000",
    "--window-size=1000,900",
]
needs_browser = pytest.mark.skipif(BROWSER is None, reason="no chromium on this machine")


def browse(tmp_path: Path, html: str, *flags: str) -> tuple[str, list[str]]:
    """Standard output, and the lines that the page wrote on its console."""
    (tmp_path / "page.html").write_text(html)
    command = [str(BROWSER), *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", *flags]
    done = subprocess.run(
        [*command, (tmp_path / "page.html").as_uri()], capture_output=True, text=True, timeout=60, check=True
    )
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line and "GL Driver Message" not in line]
    return done.stdout, console


@needs_browser
def test_browser_shows_the_mesh_and_complains_about_nothing(tmp_path: Path) -> None:
    red = ViewerMesh("ball", V, F, colour=(0.95, 0.05, 0.05))
    html = Page("Red ball", [Viewer("Ball", [red])]).html()
    _, console = browse(tmp_path, html, f"--screenshot={tmp_path / 'shot.png'}")
    assert console == []
    shot = np.asarray(Image.open(tmp_path / "shot.png").convert("RGB")).astype(int)
    reddish = (shot[..., 0] > 90) & (shot[..., 0] > 2 * shot[..., 1])
    assert reddish.sum() > 20_000  # pixels of the ball
    rows, columns = np.nonzero(reddish)
    assert abs(np.ptp(rows) / np.ptp(columns) - 1) < 0.1  # round


PLAY = """
const root = document.querySelector(".viewer"), canvas = root.querySelector("canvas"), seen = {};
const look = () => new Promise((done) => setTimeout(() => {
  viewers[0].draw(); done(canvas.toDataURL()); }, 10));  // a timer: virtual time waits for it, not for a frame
const point = (kind, x, y, id = 1) => canvas.dispatchEvent(new PointerEvent(kind,
  { pointerId: id, clientX: x, clientY: y, bubbles: true, buttons: 1 }));
canvas.setPointerCapture = () => {};
(async () => {
  const first = await look();
  seen.steady = first === await look();
  point("pointerdown", 100, 100); point("pointermove", 160, 120); point("pointerup", 160, 120);
  const turned = await look();
  seen.turned = turned !== first;
  canvas.dispatchEvent(new MouseEvent("dblclick"));
  seen.reset = first === await look();
  point("pointerdown", 100, 100, 1); point("pointerdown", 200, 100, 2); point("pointermove", 300, 100, 2);
  point("pointerup", 300, 100, 2); point("pointerup", 100, 100, 1);
  seen.pinched = viewers[0].view.distance;
  canvas.dispatchEvent(new MouseEvent("dblclick"));
  seen.distance = viewers[0].view.distance;
  canvas.dispatchEvent(new WheelEvent("wheel", { deltaY: 100 }));
  seen.wheelWithoutFocus = viewers[0].view.distance === seen.distance;
  canvas.focus();
  canvas.dispatchEvent(new WheelEvent("wheel", { deltaY: 100 }));
  seen.wheelWithFocus = viewers[0].view.distance > seen.distance;
  root.querySelectorAll(".chip")[1].click();
  const reached = () => viewers[0].positions.every((x, k) => x === viewers[0].meshes[1].positions[k]);
  viewers[0].step(performance.now() + 100);
  seen.gliding = !reached();
  viewers[0].step(performance.now() + 1000);
  seen.chip = root.querySelectorAll(".chip")[1].getAttribute("aria-pressed");
  seen.note = root.querySelector(".viewer-note").textContent;
  seen.glided = reached();
  const range = document.querySelector(".compare input");
  range.value = 20; range.dispatchEvent(new Event("input"));
  seen.cut = document.querySelector(".compare").style.getPropertyValue("--cut");
  document.querySelector(".enlarge").click();
  seen.dialog = byId("enlarged").open;
  const files = [];
  URL.createObjectURL = (blob) => { files.push(blob); return "#"; };
  document.querySelector(".carried button").click();
  while (!files.length) await new Promise((done) => setTimeout(done, 5));
  seen.file = [files[0].type, files[0].size];
  byId("theme").click();
  seen.theme = document.documentElement.dataset.theme;
  document.title = "seen " + JSON.stringify(seen);
})();
"""


@needs_browser
def test_browser_follows_the_hand(tmp_path: Path) -> None:
    html = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page().html())  # lets the test's script in
    html = html.replace("</body>", f"<script>{PLAY}</script></body>")
    dom, console = browse(tmp_path, html, "--dump-dom")
    assert console == []
    found = re.search(r"<title>seen (.*?)</title>", dom)
    assert found, "the script did not finish"
    seen = json.loads(entities.unescape(found[1]))
    assert seen["steady"] and seen["turned"] and seen["reset"], seen
    assert seen["pinched"] < 0.6 * seen["distance"]  # fingers twice as far apart: half the distance
    assert seen["wheelWithoutFocus"] and seen["wheelWithFocus"]
    assert seen["chip"] == "true" and seen["gliding"] and seen["glided"]
    assert seen["note"].startswith(EVIL)
    assert seen["file"] == ["model/gltf-binary", len(b"bytes")]
    assert seen["cut"] == "20%" and seen["dialog"] and seen["theme"] in ("dark", "light")


@needs_browser
def test_browser_without_webgl_shows_the_poster(tmp_path: Path) -> None:
    html = page().html()
    dom, console = browse(tmp_path, html, "--dump-dom", "--disable-3d-apis")
    assert console == []
    assert 'data-state="failed"' in dom
    assert re.search(r'<div class="viewer-fallback"><img src="data:image/png', dom)
    assert "The 3D view cannot start here" in dom
