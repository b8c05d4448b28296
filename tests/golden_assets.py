"""Where the stored numbers of the reference are, and the synthetic model files they were made with."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

_DEFAULT_SET = Path(__file__).resolve().parents[2] / "shared" / "golden" / "set_public"
_MAKER = "make_assets.py"


def golden_set() -> Path | None:
    """The folder of the golden set (OPENEXPOSE_GOLDEN, else beside the repository), or None if it is not there."""
    folder = Path(os.environ.get("OPENEXPOSE_GOLDEN") or _DEFAULT_SET)
    return folder if (folder / "meta.json").is_file() else None


def golden_seed() -> int:
    """The seed of the set's synthetic model files; skips the test where there is no set."""
    folder = golden_set()
    if folder is None:
        pytest.skip("no golden set: set OPENEXPOSE_GOLDEN")
    meta = json.loads((folder / "meta.json").read_text())
    return int(meta.get("asset_seed", meta["seed"]))


def golden_assets(root: Path | None = None) -> Path:
    """The synthetic `data` folder (`body_models/...` inside) of the set's seed, made on first use (0.7 GB, seconds).

    root: where to keep it, default OPENEXPOSE_GOLDEN_ASSETS, else a folder in the system's temporary one. Several
    processes may ask at once: each builds aside and the first to finish moves its folder into place.
    """
    seed = golden_seed()
    folder = golden_set()
    assert folder is not None
    maker = next((p / _MAKER for p in (folder, folder.parent, _DEFAULT_SET.parent) if (p / _MAKER).is_file()), None)
    kept = os.environ.get("OPENEXPOSE_GOLDEN_ASSETS")
    home = root or (Path(kept) if kept else Path(tempfile.gettempdir()) / "oe_assets")
    done = home / f"seed{seed}"
    if not done.is_dir():
        if maker is None:
            pytest.skip("make_assets.py is not beside the golden set")
        home.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".seed{seed}.", dir=home))
        try:
            subprocess.run(
                [sys.executable, str(maker), "--seed", str(seed), "--out", str(aside)], check=True, capture_output=True
            )
            try:
                aside.rename(done)
            except OSError:
                assert done.is_dir()  # another process was faster
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return done / "data"
