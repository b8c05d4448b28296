"""SPIN's SMPL fits to COCO, LSP, LSPET and MPII, turned into SMPL-X (spec 6.2): four `.npz` files, photos elsewhere."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from types import MappingProxyType

import numpy as np

from openexpose.data.convert.common import (
    Job,
    Options,
    Problem,
    chunks,
    need_keys,
    photo_problem,
    same_length,
)
from openexpose.data.convert.curated_fits import binarised, split_smplx
from openexpose.data.convert.foreign import photo_name
from openexpose.data.record import Keypoints, Record
from openexpose.errors import DataError
from openexpose.readers import Npz, read_npz
from openexpose.skeleton import Skeleton

WANTED = ("has_smpl", "pose", "betas", "part", "imgname", "center", "scale")
FOLDERS: Mapping[str, str] = MappingProxyType(
    {
        "coco": "coco/train2014",
        "lsp": "lsp/lsp_dataset_original/images",
        "lspet": "lsp/lspet/images",
        "mpii": "mpii/images",
    }
)
"""File, in the order of the rows -> where its photos lie, beside the folder of this data set."""
SIDE_PX = 200.0
"""Side of a box of scale 1."""
SWAPPED = ("lsp", 26, (9, 11))
"""In this row of this file the left shoulder and the left wrist stand in each other's place."""


def jobs(output: str, options: Options) -> Sequence[Job]:
    """Pieces of each file; one that is missing becomes a piece that says so. DataError if all are missing."""
    out = []
    paths = {name: options.root / f"{name}.npz" for name in FOLDERS}
    if not any(p.is_file() for p in paths.values()):
        raise DataError(f"{options.root} has none of {', '.join(p.name for p in paths.values())}; see docs/data.md")
    for name, path in paths.items():
        if not path.is_file():
            out.append(Job(f"{name}.npz", (path,), (name, 0, 0)))
            continue
        with Npz(path) as z:
            need_keys(dict.fromkeys(z.keys()), WANTED, path)
            count = z.header("has_smpl").shape[0]
        out += [Job(f"{name}, {j.name}", j.sources, (name, *j.args)) for j in chunks(count, (path,))]
    return out


def load(output: str, options: Options) -> dict[str, dict[str, np.ndarray]]:
    """The columns of each file that is there. Raises DataError if those of one contradict each other."""
    return {n: _columns(options, n) for n in FOLDERS if (options.root / f"{n}.npz").is_file()}


def rows(job: Job, loaded: Mapping[str, Mapping[str, np.ndarray]], options: Options) -> Iterator[Record | Problem]:
    """Yield the fits among rows start to stop - 1 of a file; rows without a fit are passed over in silence."""
    path, (name, start, stop) = job.sources[0], job.args
    if name not in loaded:
        raise DataError(f"{path} is missing; it holds the fits to {name}")
    columns = loaded[str(name)]
    skeleton = Skeleton.read("spin_smplx" if options.reference_quirks else "spin_24")
    for i in range(int(start or 0), int(stop or 0)):
        if not columns["has_smpl"][i]:
            continue
        where = f"{path}, row {i}"
        photo = f"{FOLDERS[str(name)]}/{PurePosixPath(photo_name(columns['imgname'][i], where)).name}"
        problem = photo_problem(options.root.parent / photo) if options.photos else None
        points = np.array(columns["part"][i], np.float64)
        if (name, i) == SWAPPED[:2]:
            points[list(SWAPPED[2])] = points[list(SWAPPED[2][::-1])]
        xyc = binarised(points, skeleton)
        side = SIDE_PX * float(columns["scale"][i])
        box = np.array([*(columns["center"][i] - side / 2), side, side], np.float64)
        params = split_smplx(columns["pose"][i].reshape(-1, 3)) | {"betas": columns["betas"][i].astype(np.float64)}
        if problem is None and not all(np.isfinite(v).all() for v in (xyc, box, *params.values())):
            problem = Problem(where, "holds a value that is not finite; row left out")
        if problem is None and side <= 0:
            problem = Problem(where, f"its scale is {side / SIDE_PX:g}; row left out")
        yield problem or Record(photo, box, Keypoints(skeleton, xyc), params=params, family="smplx")


def _columns(options: Options, name: str) -> dict[str, np.ndarray]:
    path = options.root / f"{name}.npz"
    columns = read_npz(path, WANTED)
    same_length(columns, path)
    shapes = {"pose": (165,), "betas": (10,), "part": (24, 3), "center": (2,)}
    for key, shape in shapes.items():
        if columns[key].shape[1:] != shape:
            raise DataError(f"{path}: {key!r} should be N x {shape}, but is {columns[key].shape}")
    return columns
