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
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from openexpose.data.convert.common import Options
from openexpose.data.convert.run import convert
from tests.raw_trees.every import TREES

FULL_ROWS = {
    "curated_fits": 32_617, "spin_smplx": 46_000, "h36m": 312_188, "ehf": 100, "pw3d": 35_515, "freihand": 134_200,
    "stirling": 2_000, "lsp": 2_000, "lspet": 10_000, "coco": 156_165, "coco_wholebody": 156_165, "mpii": 28_800,
}  # fmt: skip
"""Rows of the real data sets, approximately where docs/data.md says so."""


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
            root = TREES[name](Path(folder), asked.rows, False)
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
