"""SPIN's SMPL fits to COCO, LSP, LSPET and MPII, turned into SMPL-X (spec 6.2): four `.npz` files, photos elsewhere."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from types import MappingProxyType

import numpy as np

from openexpose.data.convert.common import (
    Job,
    Options,
    Problem,
    chunks,
    left_out,
    need_file,
    photo_problem,
    row_count,
    same_length,
)
from openexpose.data.convert.curated_fits import binarised, split_smplx
from openexpose.data.convert.foreign import photo_name
from openexpose.data.record import Keypoints, Record
from openexpose.errors import AssetError, DataError
from openexpose.readers import read_npz
from openexpose.readers.json_files import numbers
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
        pieces = chunks(row_count(path, WANTED), (path,))
        out += [Job(f"{name}, {j.name}", j.sources, (name, *j.args)) for j in pieces]
    return out


def load(output: str, options: Options) -> dict[str, dict[str, np.ndarray] | Problem]:
    """The columns of each file, or what is wrong with it."""
    return {n: _columns(options.root / f"{n}.npz") for n in FOLDERS}


def rows(
    job: Job, loaded: Mapping[str, Mapping[str, np.ndarray] | Problem], options: Options
) -> Iterator[Record | Problem]:
    """Yield the fits among rows start to stop - 1 of a file; rows without a fit are passed over in silence."""
    path, (name, start, stop) = job.sources[0], job.args
    columns = loaded[str(name)]
    if isinstance(columns, Problem):
        yield columns
        return
    skeleton = Skeleton.read("spin_smplx" if options.reference_quirks else "spin_24")
    for i in range(int(start or 0), int(stop or 0)):
        if not columns["has_smpl"][i]:
            continue
        where = f"{path}, row {i}"
        try:
            photo = f"{FOLDERS[str(name)]}/{PurePosixPath(photo_name(columns['imgname'][i], where)).name}"
        except DataError as e:
            yield left_out(where, e)
            continue
        problem = photo_problem(options.root.parent / photo) if options.photos else None
        points = np.array(columns["part"][i])
        if (name, i) == SWAPPED[:2]:
            points[list(SWAPPED[2])] = points[list(SWAPPED[2][::-1])]
        xyc = binarised(points, skeleton)
        side = SIDE_PX * float(columns["scale"][i])
        box = np.array([*(columns["center"][i] - side / 2), side, side])
        params = split_smplx(columns["pose"][i].reshape(-1, 3)) | {"betas": columns["betas"][i]}
        if problem is None and not all(np.isfinite(v).all() for v in (xyc, box, *params.values())):
            problem = Problem(where, "holds a value that is not finite; row left out")
        if problem is None and side <= 0:
            problem = Problem(where, f"its scale is {side / SIDE_PX:g}; row left out")
        yield problem or Record(photo, box, Keypoints(skeleton, xyc), params=params, family="smplx")


def _columns(path: Path) -> dict[str, np.ndarray] | Problem:
    try:
        found = read_npz(need_file(path, f"the fits to {path.stem}"), WANTED)
        same_length(found, path)
        shapes = {"has_smpl": (), "pose": (165,), "betas": (10,), "part": (24, 3), "center": (2,), "scale": ()}
        columns: dict[str, np.ndarray] = {k: numbers(found[k], (None, *s), f"{path}: {k}") for k, s in shapes.items()}
    except (AssetError, DataError) as e:
        return left_out(str(path), e, "its rows")
    return columns | {"imgname": found["imgname"]}
