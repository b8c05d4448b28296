"""`openexpose data show | check | look`: what a data file holds, what is wrong with it, what it looks like."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import tyro
from PIL import Image
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from openexpose.body import load_model
from openexpose.data import augment
from openexpose.data.check import Finding, check
from openexpose.data.dataset import HumanDataStore, Samples, Store
from openexpose.data.humandata import KEYPOINTS, HumanData
from openexpose.data.look import LookConfig, contact_sheet
from openexpose.data.pack import PhotoPack
from openexpose.data.sample import TargetLayout, body_layout, hand_layout, head_layout, skip_report
from openexpose.errors import ConfigError
from openexpose.readers import Npz, write_atomically


@dataclass(frozen=True)
class Show:
    """Print keys, counts, conventions and ranges of a HumanData file or a photo pack."""

    file: tyro.conf.Positional[Path]
    """A HumanData `.npz`, or a pack of photos (docs/data_format.md)."""
    cache_dir: Path | None = None
    """Folder for the unpacked copy of a large compressed file; default `.openexpose` beside it."""


@dataclass(frozen=True)
class Check:
    """Validate every row: finite values, sane units, photos that exist and hold their box. Exits with 1 if not."""

    file: tyro.conf.Positional[Path]
    """A HumanData `.npz`, or a pack of photos."""
    photos: Path | None = None
    """Folder that `image_path` is relative to; without it photos are not looked for (a pack brings its own)."""
    decode: bool = False
    """Read every photo in full, which finds truncated ones."""
    most: int = 50
    """Findings printed before only counting on."""
    cache_dir: Path | None = None
    """Folder for the unpacked copy of a large compressed file; default `.openexpose` beside it."""


@dataclass(frozen=True)
class Look:
    """Draw a contact sheet: photo, box, keypoints, the crop as augmented, and the body where it is known."""

    file: tyro.conf.Positional[Path]
    """A HumanData `.npz`, or a pack of photos."""
    out: Path = Path("sheet.png")
    """Picture to write (.png, .jpg or .webp)."""
    photos: Path | None = None
    """Folder that `image_path` is relative to."""
    rows: int = 8
    """How many rows, spread evenly over the file."""
    first: int | None = None
    """Show consecutive rows from this one on instead."""
    layout: Literal["body", "head", "hand", "own"] = "own"
    """Keypoints shown: those a network is trained on, or the file's own."""
    box_scale: float = 1.0
    """Side of the crop over the longer side of the box."""
    versions: int = 3
    """Augmented versions of each row."""
    cell_px: int = 256
    """Side of each picture."""
    seed: int = 0
    """Decides the augmentation."""
    model: str | None = None
    """Body model for the params: free, free-hand, free-head, or a model file."""
    skeleton: str | None = None
    """Convention of a pack's keypoints, where their number does not tell."""
    cache_dir: Path | None = None
    """Folder for the unpacked copy of a large compressed file; default `.openexpose` beside it."""


def run(config: Show | Check | Look) -> int:
    """Carry out one of the three commands and return the exit status."""
    match config:
        case Show():
            return _show(config)
        case Check():
            return _check(config)
        case Look():
            return _look(config)


def _open(file: Path, photos: Path | None, cache_dir: Path | None, skeleton: str | None = None) -> Store:
    """A store over either kind of file: only packs hold the pictures themselves."""
    with Npz(file) as z:
        is_pack = "webp" in z and "offsets" in z
    if is_pack:
        return PhotoPack.open(file, skeleton=skeleton)
    return HumanDataStore(HumanData.open(file, cache_dir=cache_dir), Path() if photos is None else photos)


def _console() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=160)


def _show(config: Show) -> int:
    store = _open(config.file, None, config.cache_dir)
    console = _console()
    console.print(f"[bold]{escape(store.name)}[/]: {len(store):,} rows")
    if isinstance(store, PhotoPack):
        points = np.stack([k.xyc for i in range(len(store)) if (k := store.row(i).keypoints2d) is not None])
        console.print(
            f"a pack of photos; {store.skeleton.name} keypoints ({len(store.skeleton)}), "
            f"{(points[..., 2] > 0).mean():.1%} annotated; sources {sorted(set(store.sources.tolist()))}"
        )
        return 0
    assert isinstance(store, HumanDataStore)
    data = store.data
    table = Table(box=None, padding=(0, 2))
    for title in ("key", "type", "shape", "range", ""):
        table.add_column(title)
    for key in data.keys():  # noqa: SIM118
        dtype, shape = data.columns.describe(key)
        size = " x ".join("varies" if n is None else f"{n:,}" for n in shape)
        table.add_row(escape(key), dtype, size, escape(_range(data, key)), _about(data, key))
    console.print(table)
    compressed = "compressed by mask" if data.keypoints_compressed else "in full"
    console.print(f"keypoints stored {compressed}; strict keys: {data.key_strict}; params: {data.family or 'none'}")
    return 0


def _range(data: HumanData, key: str) -> str:
    """Smallest and largest value, or the text of a single entry."""
    values = data.column(key)
    if values.dtype.kind in "US":
        return str(values) if values.ndim == 0 else (f"{values[0]} ..." if len(values) else "")
    if not values.size or values.dtype.kind not in "fiub":
        return ""
    if key in KEYPOINTS:
        values = values[..., :-1][values[..., -1] > 0]
    return f"{np.nanmin(values):.4g} to {np.nanmax(values):.4g}" if values.size else "none known"


def _about(data: HumanData, key: str) -> str:
    """What is worth knowing about a column beyond its numbers."""
    if key in KEYPOINTS:
        known = (data.column(key)[..., -1] > 0).mean()
        return (
            f"{data.skeleton(key).name}, {len(data.places(key))} of {len(data.skeleton(key))} points, {known:.0%} known"
        )
    values = data.column(key)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        return f"[red]{int((~np.isfinite(values)).sum()):,} not finite[/]"
    return ""


def _check(config: Check) -> int:
    store = _open(config.file, config.photos, config.cache_dir)
    console = _console()
    look_for_photos = isinstance(store, PhotoPack) or config.photos is not None
    if config.decode and not look_for_photos:
        raise ConfigError("--decode needs --photos, the folder that image_path is relative to")
    count = 0
    by_field: dict[str, set[int]] = {}
    for finding in check(store, photos=look_for_photos, decode=config.decode):
        count += 1
        by_field.setdefault(finding.field, set()).add(finding.row)
        if count <= config.most:
            console.print(escape(_line(finding)))
    if count > config.most:
        console.print(f"... and {count - config.most:,} more (--most)")
    for field, rows in by_field.items():
        console.print(f"[bold]{escape(field)}[/]: {len(rows):,} of {len(store):,} rows")
    photos = "photos checked" if look_for_photos else "photos not checked (--photos FOLDER)"
    console.print(f"{len(store):,} rows, {count:,} problems; {photos}")
    return 1 if count else 0


def _line(finding: Finding) -> str:
    return str(finding)


def _look(config: Look) -> int:
    store = _open(config.file, config.photos, config.cache_dir, config.skeleton)
    if config.out.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp"):
        raise ConfigError(f"--out {config.out}: the picture's name must end in .png, .jpg or .webp")
    if config.rows < 1 or config.versions < 0 or config.cell_px < 32:
        raise ConfigError(
            f"--rows {config.rows} --versions {config.versions} --cell-px {config.cell_px}: too few or too small"
        )
    layout, cfg = _layout_of(config, store)
    samples = Samples(store, layout, cfg, seed=config.seed, box_scale=config.box_scale, on_error="skip")
    count = min(config.rows, len(store))
    spread = np.unique(np.linspace(0, len(store) - 1, count).astype(int))
    rows = spread if config.first is None else np.arange(config.first, min(config.first + count, len(store)))
    if not len(rows) or rows[0] < 0:
        raise ConfigError(f"--first {config.first}: the file has rows 0 to {len(store) - 1}")
    model = None
    if config.model is not None:
        model = load_model(config.model, num_betas=None)
    made = contact_sheet(samples, rows.tolist(), LookConfig(config.versions, config.cell_px), model)
    picture = made.picture
    with write_atomically(config.out) as temporary:
        Image.fromarray(picture).save(temporary)
    if made.skipped:
        _console().print(escape(skip_report(made.skipped)))
    _console().print(
        f"wrote {escape(str(config.out))}: {len(rows)} of {len(store):,} rows, "
        f"{picture.shape[1]} x {picture.shape[0]} pixels"
    )
    return 0


def _layout_of(config: Look, store: Store) -> tuple[TargetLayout, augment.AugmentConfig]:
    """Targets and augmentation of the chosen network; for a file's own, of the network for such rows."""
    row, kind = store.row(0), str(config.layout)
    if kind == "own":
        part = "hand" if "right_hand_pose" in row.params else "head" if "jaw_pose" in row.params else "body"
        kind = "body" if "body_pose" in row.params else part
    layout, cfg = {
        "head": (head_layout(), augment.head()),
        "hand": (hand_layout(), augment.hand()),
        "body": (body_layout(), augment.body()),
    }[kind]
    if config.layout != "own":
        return layout, cfg
    betas, expression = (len(row.params.get(k, ())) for k in ("betas", "expression"))
    skeleton = layout.skeleton if row.keypoints2d is None else row.keypoints2d.skeleton
    return replace(layout, skeleton=skeleton, betas=betas or layout.betas, expression=expression), cfg
