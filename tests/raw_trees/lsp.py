"""Miniature Leeds Sports Poses, original (2,000 photos in the real set) and extended (10,000)."""

from pathlib import Path

import numpy as np
import scipy.io
from numpy.typing import NDArray

from openexpose.skeleton import Skeleton
from tests.raw_trees.drawing import save_photo
from tests.raw_trees.people import person


def write_lsp(root: Path, *, count: int = 4, seed: int = 0, drawn: bool = True) -> NDArray[np.float64]:
    """Write `images/im0001.jpg` ... and joints.mat with `joints` (3, 14, N): x, y, and a flag for hidden joints.

    root: becomes `datasets/lsp/lsp_dataset_original`. Returns (N, 14, 3) as written.
    """
    xyf = _people(root, "im{:04d}.jpg", count, seed, drawn)
    xyf[..., 2] = np.random.default_rng(seed).random((count, 14)) < 0.2  # hidden ones have positions all the same
    scipy.io.savemat(root / "joints.mat", {"joints": xyf.transpose(2, 1, 0)}, do_compression=True)
    return xyf


def write_lspet(root: Path, *, count: int = 4, seed: int = 1, drawn: bool = True) -> NDArray[np.float64]:
    """Write `images/im00001.jpg` ... and joints.mat with `joints` (14, 3, N): x, y, 1 where annotated.

    root: becomes `datasets/lsp/lspet`. Returns (N, 14, 3) as written; joints without annotation lie anywhere.
    """
    xyf = _people(root, "im{:05d}.jpg", count, seed, drawn)
    rng = np.random.default_rng(seed)
    xyf[..., 2] = rng.random((count, 14)) < 0.8
    xyf[..., :2][xyf[..., 2] == 0] = rng.uniform(-50, 0, (int((xyf[..., 2] == 0).sum()), 2))
    scipy.io.savemat(root / "joints.mat", {"joints": xyf.transpose(1, 2, 0)}, do_compression=False)
    return xyf


def _people(root: Path, name: str, count: int, seed: int, drawn: bool) -> NDArray[np.float64]:
    xyf = np.ones((count, 14, 3))
    for i in range(count):
        one = person(1000 * seed + i, drawn=drawn)
        save_photo(root / "images" / name.format(i + 1), one.photo)
        xyf[i, :, :2] = one.seen(Skeleton.read("lsp"))
    return xyf
