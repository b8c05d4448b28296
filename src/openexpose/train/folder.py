"""A run is a folder: what was asked for, where it ran, what happened, and the weights.

config.json        every setting, resolved            metrics.jsonl   one line for each logged step or evaluation
environment.json   versions, machine, git state       tensorboard/    the same numbers for TensorBoard
checkpoints/       to go on from                       curves.png      the same numbers drawn
best.safetensors   the best weights so far             report.html     one page with curves and pictures
pictures/          the fixed samples at every evaluation
skipped_process*.txt   photos and rows that could not be used (data.on_error=skip), one a line, each once
"""

import importlib.metadata
import json
import platform
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from jaxtyping import UInt8
from safetensors.torch import save_file

from openexpose.errors import ConfigError
from openexpose.readers import write_atomically
from openexpose.train.batch import Batch

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

PACKAGES = ("openexpose", "torch", "lightning", "numpy", "timm", "opencv-python-headless", "safetensors")
MOVABLE = ("out", "workers", "devices", "nodes", "log_every", "save_every", "keep", "epochs", "steps", "accelerator")
"""Settings that may differ when a run goes on; anything else would make it another run."""


class RunFolder:
    """The folder of one run, written by the first process only."""

    def __init__(self, path: Path, *, tensorboard: bool) -> None:
        self.path = path
        self._tensorboard = tensorboard
        self._writer: SummaryWriter | None = None
        self._opened = time.monotonic()
        self._skipped: dict[int, set[str]] = {}

    @property
    def checkpoints(self) -> Path:
        """Where checkpoints lie."""
        return self.path / "checkpoints"

    @property
    def metrics(self) -> Path:
        """The metrics file: JSON lines."""
        return self.path / "metrics.jsonl"

    def begin(self, config: Mapping[str, Any], *, step: int, defaults: Mapping[str, Any] | None = None) -> None:
        """Write down settings and environment; drop what an interrupted run logged after `step`.

        defaults: settings that an older version of this package may not have known when it began the run.
        Raises ConfigError if the folder holds a run with other settings.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        asked = json.loads(json.dumps(config, default=str))
        held = self.path / "config.json"
        if step and held.is_file():
            plain = json.loads(json.dumps(defaults or {}, default=str))
            differ = _differences(_over(plain, json.loads(held.read_text(encoding="utf-8"))), asked)
            if differ:
                raise ConfigError(
                    f"{self.path} holds a run with other settings: {', '.join(differ[:5])}. "
                    "Give another --out, or the same settings to go on."
                )
        self._write("config.json", asked)
        self._write("environment.json", environment())
        for old in () if step else self.path.glob("skipped_process*.txt"):
            old.unlink()
        lines = [line for line in self.read_metrics() if step and line["step"] <= step]
        with write_atomically(self.metrics) as temporary:
            temporary.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")

    def log(self, kind: str, step: int, numbers: Mapping[str, float]) -> None:
        """Append one line to the metrics file, and the same to TensorBoard."""
        with self.metrics.open("a", encoding="utf-8") as f:
            at_s = round(time.monotonic() - self._opened, 4)
            f.write(json.dumps({"step": step, "kind": kind, "at_s": at_s, **numbers}) + "\n")
        if self._tensorboard:
            for name, value in numbers.items():
                self._board(step).add_scalar(f"{kind}/{name}", value, step)

    def read_metrics(self) -> list[dict[str, Any]]:
        """All lines of the metrics file; a last line cut by a kill is left out."""
        if not self.metrics.is_file():
            return []
        rows = []
        for line in self.metrics.read_text(encoding="utf-8").splitlines():
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError:
                break
        return rows

    def keep_batch(self, step: int, turn: int, batch: Batch, rank: int) -> Path:
        """The file with every tensor of a batch that made trouble."""
        path = self.path / f"bad_batch_step{step}_turn{turn}_process{rank}.safetensors"
        with write_atomically(path) as temporary:
            save_file(batch.tensors(), str(temporary))
        return path

    def keep_picture(self, step: int, picture: UInt8[np.ndarray, "H W 3"]) -> Path:
        """The JPEG file with an RGB picture of what the network says after this step."""
        path = self.path / "pictures" / f"step_{step:08d}.jpg"
        with write_atomically(path) as temporary:
            cv2.imwrite(str(temporary), picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])
        return path

    def note_skipped(self, messages: Sequence[str], rank: int) -> None:
        """Write down what was wrong with skipped rows; what this process has written already is left out."""
        if not messages:
            return
        path = self.path / f"skipped_process{rank}.txt"
        known = self._skipped.setdefault(rank, set(_lines(path)))
        new = [line for line in dict.fromkeys(" ".join(m.split()) for m in messages) if line not in known]
        if new:
            known.update(new)
            with path.open("a", encoding="utf-8") as f:
                f.writelines(f"{line}\n" for line in new)

    def skipped(self) -> list[str]:
        """What all processes skipped so far, sorted."""
        return sorted({line for path in self.path.glob("skipped_process*.txt") for line in _lines(path)})

    def close(self) -> None:
        """Flush what is still in memory."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _write(self, name: str, value: object) -> None:
        with write_atomically(self.path / name) as temporary:
            temporary.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")

    def _board(self, step: int) -> "SummaryWriter":
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter  # slow to import

            self._writer = SummaryWriter(str(self.path / "tensorboard"), purge_step=step)
        return self._writer


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


def environment() -> dict[str, Any]:
    """Versions, machine and git state: enough to say later what made a set of weights."""
    return {
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "packages": {name: _version(name) for name in PACKAGES},
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "threads": torch.get_num_threads(),
        "git": git_state(Path(__file__).parent),
    }


def git_state(folder: Path) -> dict[str, Any] | None:
    """Commit and names of changed files of the checkout that holds `folder`; None outside a checkout."""
    ask = ["git", "-C", str(folder)]
    try:
        commit = subprocess.run([*ask, "rev-parse", "HEAD"], capture_output=True, text=True, check=True, timeout=10)  # noqa: S603
        status = subprocess.run([*ask, "status", "--porcelain"], capture_output=True, text=True, check=True, timeout=10)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": commit.stdout.strip(), "changed": [line[3:] for line in status.stdout.splitlines()]}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _over(defaults: Mapping[str, Any], held: Mapping[str, Any]) -> dict[str, Any]:
    """Defaults for what `held` does not have, at every depth."""
    both = {k: _over(defaults[k], v) if isinstance(v, dict) and isinstance(defaults.get(k), dict) else v
            for k, v in held.items()}  # fmt: skip
    return {**defaults, **both}


def _differences(held: Mapping[str, Any], asked: Mapping[str, Any], prefix: str = "") -> list[str]:
    found = []
    for key in {**held, **asked}:
        a, b = held.get(key), asked.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            found += _differences(a, b, f"{prefix}{key}.")
        elif a != b and key not in MOVABLE:
            found.append(f"{prefix}{key} (was {a}, now {b})")
    return found
