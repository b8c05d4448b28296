"""`openexpose synth make` and `synth cut`: labelled photos of FreeBody as files."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from rich.console import Console
from rich.progress import Progress

from openexpose.data.pack import PhotoPack
from openexpose.errors import ConfigError
from openexpose.synth.background import crops_without_people
from openexpose.synth.cut import cut
from openexpose.synth.labels import Part
from openexpose.synth.make import Job, Renderer, make
from openexpose.synth.scene import SynthConfig
from openexpose.synth.sets import TEST_SETS


@dataclass(frozen=True)
class Make:
    """Make labelled photos of synthetic people: images/, masks/ and labels.npz (HumanData)."""

    out: Path
    """Folder to write into."""
    n: int | None = None
    """How many photos; default 100, or all of a test set."""
    seed: int = 0
    """The same seed makes the same bytes."""
    first: int = 0
    """Index of the first photo: parts of one seed can be made apart."""
    set: Literal["", "synth-body", "synth-hand", "synth-head"] = ""
    """Make a fixed test set instead; it brings its own seed and sizes."""
    part: Part = "body"
    """Which network the labels are for: whole body, right hand, head."""
    size: int = 384
    """Side of the photos in pixels."""
    whole: float | None = None
    """Share of photos framed on the whole body; the default suits the part."""
    upper: float | None = None
    """Share framed on the upper body."""
    head: float | None = None
    """Share framed on the head."""
    hand: float | None = None
    """Share framed on the right hand."""
    crowd: float = 0.22
    """Probability that other people are in the photo."""
    supersample: int = 2
    """Samples along each side of a pixel."""
    backgrounds: tuple[Path, ...] = ()
    """Packs of real photos whose parts without people become backgrounds."""
    bank_share: float = 0.5
    """How often such a background is used where there are some."""
    masks: bool = True
    """Write the person's mask as well."""
    renderer: Renderer = "auto"
    """"embree" traces rays, "raster" draws triangles: quicker for small photos, other bytes; "auto": embree."""
    workers: int = 0
    """Processes; 0 takes one for each core."""


@dataclass(frozen=True)
class Cut:
    """Cut hands or heads out of rendered whole people, as attention sees them: images/ and labels.npz (HumanData)."""

    of: Path
    """Folder of `openexpose synth make --part body`."""
    out: Path
    """Folder to write into."""
    part: Literal["hand", "head"] = "hand"
    """What to cut out; left hands come out mirrored."""


_FRAMING = {
    "body": {"whole": 0.65, "upper": 0.35, "head": 0.0, "hand": 0.0},
    "hand": {"whole": 0.0, "upper": 0.0, "head": 0.0, "hand": 1.0},
    "head": {"whole": 0.0, "upper": 0.0, "head": 1.0, "hand": 0.0},
}


def run(config: Make | Cut) -> int:
    """Make the photos, or cut parts out of them; returns the exit status.

    Raises ConfigError for settings that contradict each other.
    """
    if isinstance(config, Cut):
        return _cut(config)
    job = _job(config)
    workers = config.workers or os.cpu_count() or 1
    if workers < 0:
        raise ConfigError(f"--workers {config.workers}: 0 or more")
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("photos", total=job.count)
        for done in make(job, workers=min(workers, job.count)):
            progress.update(task, completed=done)
    Console(highlight=False).print(f"wrote {job.count:,} photos and labels.npz to {job.out}", soft_wrap=True)
    return 0


def _cut(config: Cut) -> int:
    found = 0
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("photos")
        for done, so_far in cut(config.of, config.out, config.part):
            found = so_far
            progress.update(task, completed=done)
    Console(highlight=False).print(f"wrote {found:,} {config.part}s and labels.npz to {config.out}", soft_wrap=True)
    return 0


def _job(c: Make) -> Job:
    shares = {name: getattr(c, name) for name in ("whole", "upper", "head", "hand")}
    if c.set:
        fixed = TEST_SETS[c.set]
        if c.backgrounds or c.renderer != "auto" or any(v is not None for v in shares.values()):
            raise ConfigError(f"--set {c.set} fixes the pictures: leave --backgrounds, --renderer and the shares out")
        count = fixed.count if c.n is None else min(c.n, fixed.count - c.first)
        return Job(fixed.cfg, fixed.seed, c.first, count, fixed.part, c.out, c.masks)
    given = {k: v for k, v in shares.items() if v is not None} or _FRAMING[c.part]
    framing = dict.fromkeys(shares, 0.0) | given
    cfg = SynthConfig(size_px=c.size, crowd=c.crowd, supersample=c.supersample, bank_share=c.bank_share, **framing)
    packs = [crops_without_people(PhotoPack.open(p)) for p in c.backgrounds]
    real = np.concatenate(packs) if packs else None
    return Job(cfg, c.seed, c.first, 100 if c.n is None else c.n, c.part, c.out, c.masks, real, c.renderer)
