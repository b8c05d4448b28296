"""Results side by side: `python benchmarks/gallery_sheet.py OUT.jpg FOLDER...`, folders of `openexpose predict`.

Each row is one photo: the overlay, the side view, the top view, as predict wrote them.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np

HEIGHT_PX = 400


def row(folder: Path, height_px: int) -> np.ndarray:
    """One photo's pictures in a row, all of one height."""
    pictures = [cv2.imread(str(folder / name)) for name in ("overlay.jpg", "side.jpg", "top.jpg")]
    missing = [n for n, p in zip(("overlay", "side", "top"), pictures, strict=True) if p is None]
    if missing:
        raise SystemExit(f"{folder} has no {', '.join(missing)}.jpg: run `openexpose predict` with pictures")
    return np.hstack([cv2.resize(p, (round(p.shape[1] * height_px / p.shape[0]), height_px),
                                 interpolation=cv2.INTER_AREA) for p in pictures])  # fmt: skip


def main() -> None:
    """Write the sheet."""
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--height", type=int, default=HEIGHT_PX)
    a = parser.parse_args()
    rows = [row(folder, a.height) for folder in a.folders]
    width = max(r.shape[1] for r in rows)
    sheet = np.vstack([np.pad(r, ((0, 0), (0, width - r.shape[1]), (0, 0)), constant_values=255) for r in rows])
    cv2.imwrite(str(a.out), sheet, [cv2.IMWRITE_JPEG_QUALITY, 82])


if __name__ == "__main__":
    main()
