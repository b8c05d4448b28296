"""`openexpose weights import|show|join|average`: released checkpoints as our safetensors; what a weight file holds."""

import json as jsonlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from torch import Tensor

from openexpose.errors import WeightsError
from openexpose.nets.config import PRESETS
from openexpose.readers import sha256_of
from openexpose.weights.importer import convert, recognise, wanted_tensors
from openexpose.weights.join import average, join
from openexpose.weights.native import WeightFile, read_header
from openexpose.weights.starts import is_bare
from openexpose.weights.tables import Match, match_keys
from openexpose.weights.torchfile import open_torch_file


@dataclass(frozen=True)
class Import:
    """Turn a released checkpoint into one of our weight files. Nothing of a licensed body model is kept."""

    file: tyro.conf.Positional[Path]
    """A checkpoint of mmhuman3d (body, face, hand or whole model) or of the original release (model.ckpt, its
    latest_checkpoint, or the folder around them)."""
    out: Path
    """The .safetensors file to write."""
    half: bool = False
    """Store large tensors as float16: half the size. Parameters move by up to 6e-3 (measured on random weights)."""
    verbose: Annotated[bool, tyro.conf.arg(aliases=["-v"])] = False
    """List every key that was not used, with the reason."""


@dataclass(frozen=True)
class Show:
    """Tell what a weight file holds: ours, or one that could be imported."""

    file: tyro.conf.Positional[Path]
    """A weight file."""
    json: bool = False
    """Print one JSON object instead of tables."""
    verbose: Annotated[bool, tyro.conf.arg(aliases=["-v"])] = False
    """List every tensor (ours) or every key that an import would not use (foreign)."""


@dataclass(frozen=True)
class Join:
    """Put networks that were trained apart into one file of the whole model."""

    files: tyro.conf.Positional[tuple[Path, ...]]
    """Weight files (`best.safetensors` of training runs); each part comes from the first that has it."""
    out: Path
    """The .safetensors file to write; large tensors are stored as float16."""
    preset: str = "lite"
    """What the whole is called."""


@dataclass(frozen=True)
class Average:
    """Write the mean of weight files of one kind: stages of one training are often best together."""

    files: tyro.conf.Positional[tuple[Path, ...]]
    """Weight files, at least two."""
    out: Path
    """The .safetensors file to write, in float32."""


def run(config: Import | Show | Join | Average, console: Console | None = None) -> int:
    """Runs the command and returns its exit status: 0, or 1 if `show` finds that a foreign file would not fit."""
    console = console or Console(highlight=False, soft_wrap=True)
    if isinstance(config, Join):
        join(config.files, config.out, preset=config.preset)
    if isinstance(config, Average):
        average(config.files, config.out)
    if isinstance(config, Join | Average):
        console.print(f"wrote {escape(str(config.out))} ({config.out.stat().st_size / 1e6:.1f} MB)")
        return 0
    return _import(config, console) if isinstance(config, Import) else _show(config, console)


def _import(config: Import, console: Console) -> int:
    if config.out.suffix != ".safetensors":
        raise WeightsError(f"--out {config.out} must end in .safetensors")
    done = convert(config.file, config.out, storage="float16" if config.half else "float32")
    console.print(escape(done.match.summary()))
    if config.verbose:
        _print_match(done.match, console)
    size = config.out.stat().st_size / 1e6
    console.print(
        f"wrote {escape(str(config.out))} ({size:.0f} MB, preset {done.header.preset}, {done.header.storage})"
    )
    return 0


def _show(config: Show, console: Console) -> int:
    if config.file.suffix == ".safetensors":
        return _show_ours(config, console)
    file = open_torch_file(config.file)
    facts: dict[str, Any] = {
        "file": str(file.path),
        "sha256": sha256_of(file.path),
        "tensors": len(file.tensors),
        **{f"meta {k}": v for k, v in sorted(file.meta.items())},
    }
    if is_bare(file.tensors):
        return _show_bare(facts, file.tensors, config, console)
    layout = recognise(file.tensors, str(file.path))
    match = match_keys(file.tensors, wanted_tensors(PRESETS[layout.preset]()), layout.table)
    facts |= {"layout": match.layout, "preset": layout.preset, "import": match.summary()}
    if config.json:
        console.print_json(jsonlib.dumps(facts | {"match": asdict(match)}))
    else:
        _print_facts(facts, console)
        if config.verbose:
            _print_match(match, console)
        console.print(escape(f"Make it ours: openexpose weights import {file.path} --out NEW.safetensors"))
    return 1 if match.left_over or match.missing else 0


def _show_bare(facts: dict[str, Any], tensors: Mapping[str, Tensor], config: Show, console: Console) -> int:
    facts |= {
        "layout": "bare backbone: a start for training, which reads it as it is",
        "parameters and buffers": sum(t.numel() for t in tensors.values()),
    }
    if config.json:
        console.print_json(jsonlib.dumps(facts))
    else:
        _print_facts(facts, console)
        for name, tensor in tensors.items() if config.verbose else ():
            console.print(f"  {escape(name)} {tuple(tensor.shape)}")
    return 0


def _show_ours(config: Show, console: Console) -> int:
    found = read_header(config.file)
    counts = parameter_counts(found)
    header = found.header
    facts: dict[str, Any] = {
        "file": str(config.file),
        "preset": header.preset,
        "sha256": sha256_of(config.file),
        "size": f"{found.n_bytes:,} bytes, large tensors as {header.storage}",
        "tensors": len(found.shapes),
        "body model family": header.body_family,
        "came from": header.provenance.layout,
        "source file": header.provenance.source,
        "source sha256": header.provenance.source_sha256,
        "made by": header.provenance.maker,
        "note": header.provenance.note,
    }
    if config.json:
        console.print_json(jsonlib.dumps(facts | {"parameters": counts, "header": asdict(header)}))
        return 0
    _print_facts({k: v for k, v in facts.items() if v != ""}, console)
    table = Table("network", "numbers", title="parameters and buffers", title_justify="left")
    for name, n in counts.items():
        table.add_row(escape(name), f"{n:,}")
    console.print(table)
    for part, rows in header.codecs.items():
        codec = Table("block", "numbers", "count", title=f"{part}: parameter vector", title_justify="left")
        for name, first, end in rows:
            codec.add_row(escape(name), f"{first}:{end}", str(end - first))
        console.print(codec)
    for name, shape in found.shapes.items() if config.verbose else ():
        console.print(f"  {escape(name)} {tuple(shape)}")
    return 0


def parameter_counts(found: WeightFile) -> dict[str, int]:
    """Numbers stored per network piece ("body.backbone": 60,187,456...), and in all under "total"."""
    counts = dict[str, int]()
    for name, shape in found.shapes.items():
        piece = ".".join(name.split(".")[:2])
        counts[piece] = counts.get(piece, 0) + prod(shape)
    return counts | {"total": sum(counts.values())}


def _print_facts(facts: Mapping[str, Any], console: Console) -> None:
    width = max(len(k) for k in facts)
    for name, value in facts.items():
        text = f"{value:,}" if isinstance(value, int) else str(value)
        console.print(f"[bold]{escape(name):<{width}}[/]  {escape(text)}")


def _print_match(match: Match, console: Console) -> None:
    groups = {
        **{f"dropped: {reason}": keys for reason, keys in match.dropped.items()},
        "dropped: second copies": tuple(match.copies),
        "dropped: outside the networks": match.strangers,
        "set to 0": match.filled,
        "left over": match.left_over,
        "missing": match.missing,
    }
    for title, keys in groups.items():
        if keys:
            console.print(f"[bold]{escape(title)}[/] ({len(keys)})")
            console.print("\n".join(f"  {escape(k)}" for k in keys))
