"""Rows a second of each converter, on its miniature raw set written large.

    python benchmarks/bench_convert.py [NAME ...] [--rows 400]

One process, one thread, files in the cache of the disk. Photos are looked for (stat and header), never decoded. The
last column is what the full data set would take at that rate; reading tables once counts into it.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from openexpose.data.convert.common import Options
from openexpose.data.convert.run import convert
from tests.raw_trees.coco import write_coco
from tests.raw_trees.ehf import write_ehf
from tests.raw_trees.ffhq import write_ffhq
from tests.raw_trees.fits import write_curated_fits, write_spin_smplx
from tests.raw_trees.freihand import write_freihand, write_means
from tests.raw_trees.h36m import write_h36m
from tests.raw_trees.lsp import write_lsp, write_lspet
from tests.raw_trees.mpii import write_mpii
from tests.raw_trees.openpose import write_openpose
from tests.raw_trees.people import person
from tests.raw_trees.pw3d import write_pw3d
from tests.raw_trees.stirling import write_stirling

FULL_ROWS = {
    "curated_fits": 32_617, "spin_smplx": 46_000, "h36m": 312_188, "ehf": 100, "pw3d": 35_515, "freihand": 134_200,
    "stirling": 2_000, "lsp": 2_000, "lspet": 10_000, "coco": 156_165, "coco_wholebody": 156_165, "mpii": 28_800,
}  # fmt: skip
"""Rows of the real data sets, approximately where docs/data.md says so."""


def _people(count: int):
    some = [person(i, drawn=False) for i in range(min(count, 4))]
    return [some[i % len(some)] for i in range(count)]


def _ehf(root: Path, rows: int) -> Path:
    write_ehf(root / "EHF", _people(min(rows, 60)), drawn=False)
    return root / "EHF"


def _pw3d(root: Path, rows: int) -> Path:
    write_pw3d(root / "3DPW", [_people(2)], frames=rows // 2, lost=(), drawn=False)
    return root / "3DPW"


def _h36m(root: Path, rows: int) -> Path:
    write_h36m(root / "h36m", _people(4), frames=max(1, min(rows, 400) // 4) * 5, drawn=False)
    return root / "h36m"


def _curated_fits(root: Path, rows: int) -> Path:
    write_curated_fits(root / "ExPose_curated_fits", _people(rows))
    return root / "ExPose_curated_fits"


def _spin_smplx(root: Path, rows: int) -> Path:
    write_spin_smplx(root / "spin_in_smplx", _people(4), fitted=max(1, rows // 4))
    return root / "spin_in_smplx"


def _freihand(root: Path, rows: int) -> Path:
    write_means(root / "body_models")
    write_freihand(root / "FreiHand", training=rows // 4, evaluation=1, drawn=False)
    return root / "FreiHand"


def _ffhq(root: Path, rows: int) -> Path:
    write_ffhq(root / "ffhq", count=rows, drawn=False)
    return root / "ffhq"


def _stirling(root: Path, rows: int) -> Path:
    write_stirling(root / "stirling", photos_each=max(1, min(rows, 60) // 6))
    return root / "stirling"


def _lsp(root: Path, rows: int) -> Path:
    write_lsp(root / "lsp", count=rows, drawn=False)
    return root / "lsp"


def _lspet(root: Path, rows: int) -> Path:
    write_lspet(root / "lspet", count=rows, drawn=False)
    return root / "lspet"


def _coco(root: Path, rows: int) -> Path:
    write_coco(root / "coco", count=rows // 2, drawn=False)
    return root / "coco"


def _mpii(root: Path, rows: int) -> Path:
    write_mpii(root / "mpii", count=rows, drawn=False)
    return root / "mpii"


def _openpose(root: Path, rows: int) -> Path:
    write_openpose(root / "openpose", drawn=False)
    text = (root / "openpose" / "keypoints" / "beach_keypoints.json").read_text()
    photo = (root / "openpose" / "images" / "beach.jpg").read_bytes()
    for i in range(rows):
        (root / "openpose" / "keypoints" / f"{i:06d}_keypoints.json").write_text(text)
        (root / "openpose" / "images" / f"{i:06d}.jpg").write_bytes(photo)
    return root / "openpose"


TREES: dict[str, Callable[[Path, int], Path]] = {
    "curated_fits": _curated_fits,
    "spin_smplx": _spin_smplx,
    "h36m": _h36m,
    "ehf": _ehf,
    "pw3d": _pw3d,
    "freihand": _freihand,
    "ffhq": _ffhq,
    "stirling": _stirling,
    "lsp": _lsp,
    "lspet": _lspet,
    "coco": _coco,
    "coco_wholebody": _coco,
    "mpii": _mpii,
    "openpose": _openpose,
}
"""Converter -> what writes its raw tree with about that many rows and returns its folder. Add yours here."""


def main() -> None:
    """Print a line for each converter."""
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", help=f"some of {', '.join(TREES)}; default all")
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    results = {}
    print(f"{'':14}{'rows':>8}{'s':>8}{'cpu s':>8}{'rows/s':>9}{'  full set':>14}")
    for name in asked.names or TREES:
        with tempfile.TemporaryDirectory() as folder:
            root = TREES[name](Path(folder), asked.rows)
            clock, cpu = time.perf_counter(), time.process_time()
            outcomes = convert(name, Options(root, body_models=Path(folder) / "body_models"), Path(folder) / "out")
            took, used = time.perf_counter() - clock, time.process_time() - cpu
        rows = sum(o.rows for o in outcomes)
        full = FULL_ROWS.get(name)
        whole = "" if full is None else f"{full * used / rows / 60:9.1f} min"
        print(f"{name:14}{rows:8,}{took:8.2f}{used:8.2f}{rows / used:9,.0f}{whole:>14}", flush=True)
        results[name] = {"rows": rows, "seconds": took, "cpu_seconds": used}
    if asked.json:
        asked.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
