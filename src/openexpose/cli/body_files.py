"""`openexpose body show`: what a body-model file holds. `openexpose body convert`: the same as safetensors."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tyro
from numpy.typing import NDArray
from rich.table import Table

from openexpose.body.arrays import ModelArrays
from openexpose.body.files import read_model, write_model
from openexpose.body.load import FREE, load_arrays
from openexpose.cli.recognise import describe_model, value_range, wide_console
from openexpose.errors import ConfigError
from openexpose.readers import sha256_of


@dataclass(frozen=True)
class Show:
    """Tell what a body-model file holds: family, counts, ranges, hash."""

    file: tyro.conf.Positional[str]
    """A .pkl, .npz or .safetensors file, or free, free-hand, free-head for the models that ship."""


@dataclass(frozen=True)
class Convert:
    """Turn a body-model file into one safetensors file, which loads faster and needs no unpickling.

    Files beside the model (landmarks, regressors, vertex ids) go into it. The licence of the model stays what it was.
    """

    file: tyro.conf.Positional[Path]
    """A SMPL, SMPL-X, MANO or FLAME file (.pkl, .npz)."""
    out: tyro.conf.Positional[Path]
    """Where to write; the suffix is .safetensors."""
    dtype: Literal["float64", "float32", "float16"] = "float32"
    """How numbers are stored. float32 moves no vertex by more than a tenth of a micrometre, float16 by a millimetre."""
    betas: int | None = None
    """Keep only the first shape columns."""
    expressions: int | None = None
    """Keep only the first expression columns."""
    overwrite: bool = False
    """Replace the output if it is there."""


def run(config: Show | Convert) -> int:
    """Carry out one of the two commands and return the exit status."""
    return _show(config) if isinstance(config, Show) else _convert(config)


def _show(config: Show) -> int:
    arrays = load_arrays(config.file)
    console = wide_console()
    console.print(f"[bold]{describe_model(arrays)}[/]")
    table = Table(box=None, padding=(0, 2))
    for title in ("", "shape", "range", ""):
        table.add_column(title)
    for name, values, unit in _rows(arrays):
        table.add_row(name, " x ".join(map(str, values.shape)), value_range(values), unit)
    console.print(table)
    console.print(f"family {arrays.family}, gender {arrays.gender}, height {_height_m(arrays):.3f} m at rest")
    console.print(f"sha256 {arrays.sha256 or 'unknown'}")
    return 0


def _rows(arrays: ModelArrays) -> list[tuple[str, NDArray[Any], str]]:
    units = {"v_template": "m", "shapedirs": "m per beta", "exprdirs": "m per expression", "posedirs": "m per feature"}
    names = (
        "v_template", "faces", "shapedirs", "exprdirs", "posedirs", "J_regressor", "weights", "parents",
        "extra_vertices", "static_faces", "static_bary", "dynamic_faces", "dynamic_bary",
    )  # fmt: skip
    rows = [(n, getattr(arrays, n), units.get(n, "")) for n in names if getattr(arrays, n) is not None]
    for group in ("regressors", "regions", "means"):
        rows += [(f"{group}: {key}", value, "") for key, value in getattr(arrays, group).items()]
    return rows


def _height_m(arrays: ModelArrays) -> float:
    return float(np.ptp(arrays.v_template[:, 1]))


def _convert(config: Convert) -> int:
    if str(config.file) in FREE:
        raise ConfigError(f"{config.file} already is safetensors inside the package; convert is for files")
    if config.out.exists() and not config.overwrite:
        raise ConfigError(f"{config.out} is there already: choose another name or add --overwrite")
    if config.out.suffix != ".safetensors":
        raise ConfigError(f"{config.out}: the output is a .safetensors file; change the suffix")
    console = wide_console()
    arrays = read_model(config.file, num_betas=config.betas, num_expression=config.expressions)
    write_model(arrays, config.out, dtype=config.dtype)
    check = read_model(config.out)
    moved_m = float(np.abs(check.v_template - arrays.v_template).max())
    console.print(f"{describe_model(replace(check, label=arrays.label))}")
    size = config.out.stat().st_size / 2**20
    console.print(f"wrote {config.out}: {size:.1f} MiB as {config.dtype}, template moved by at most {moved_m:.1e} m")
    console.print(f"sha256 {sha256_of(config.out)}")
    return 0
