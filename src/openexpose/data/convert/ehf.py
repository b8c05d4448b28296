"""EHF: 100 photos of one person with SMPL-X meshes of the scanner, and OpenPose keypoints (spec 6.2).

The meshes lie in the scanner's frame; `vertices` are turned into the camera's axes, but not moved to the camera, as in
the reference. `cam_param` (K, R, T) does the rest: x_px ~ K (R vertex + T). The camera is that of `EHF_camera.txt`.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from openexpose.data.convert.common import (
    Job,
    Options,
    Problem,
    keypoint_box,
    left_out,
    need_folder,
    photo_problem,
)
from openexpose.data.convert.meshes import read_ply_vertices
from openexpose.data.record import Keypoints, Record
from openexpose.errors import AssetError, DataError
from openexpose.readers.openpose import body_25, read_openpose
from openexpose.skeleton import Skeleton

R_CAMERA_SCAN = Rotation.from_rotvec([-2.9874789618512025, 0.011724572107320893, -0.05704686818955933]).as_matrix()
T_CAMERA_SCAN_M = np.array([-0.03609917, 0.43416458, 2.37101226])
K = np.array([[1498.22426237, 0, 790.263706], [0, 1498.22426237, 578.90334], [0, 0, 1]])
SIZE_PX = (1600, 1200)
SUFFIX = "_img.jpg"
PHOTOS_A_PIECE = 10


def jobs(output: str, options: Options) -> Sequence[Job]:
    """Ten photos of `01_img.jpg` to `100_img.jpg` a piece; with quirks in the order the file system lists them."""
    folder = need_folder(options.root, "01_img.jpg, 01_2Djnt.json, 01_align.ply and so on")
    names = os.listdir(folder)  # noqa: PTH208 - its order is the quirk
    ends = (SUFFIX, "_2Djnt.json", "_align.ply")
    stems = [n.removesuffix(SUFFIX) for n in names if n.endswith(SUFFIX)]
    if not stems:
        raise DataError(f"{folder} has no photo *{SUFFIX}; unpack EHF.zip there")
    if not options.reference_quirks:  # also those whose photo is missing, so that it is said
        every = {n.removesuffix(e) for n in names for e in ends if n.endswith(e)}
        stems = sorted(every, key=lambda n: (len(n), n))
    pieces = [stems[i : i + PHOTOS_A_PIECE] for i in range(0, len(stems), PHOTOS_A_PIECE)]
    return [Job(f"{p[0]} to {p[-1]}", tuple(folder / f"{s}{e}" for s in p for e in ends)) for p in pieces]


def load(output: str, options: Options) -> None:
    """Nothing is shared."""


def rows(job: Job, loaded: None, options: Options) -> Iterator[Record | Problem]:
    """Yield a row for each photo of a piece."""
    for photo, keypoints, mesh in zip(job.sources[::3], job.sources[1::3], job.sources[2::3], strict=True):
        problem = photo_problem(photo, size_px=SIZE_PX) if options.photos else None
        try:
            yield problem or _row(photo, keypoints, mesh, options)
        except (DataError, AssetError) as e:
            yield left_out(photo.name, e)


def _row(photo: Path, keypoints: Path, mesh: Path, options: Options) -> Record | Problem:
    xyc = _detected(keypoints)
    box = keypoint_box(xyc, every=options.reference_quirks)
    if box is None:
        return Problem(str(keypoints), "no two keypoints were found; row left out")
    if options.reference_quirks:
        xyc[:, 2] = 1
    convention = "openpose_137_mmhuman3d" if options.reference_quirks else "openpose_137"
    camera = {"K": K, "R": np.eye(3), "T": T_CAMERA_SCAN_M}
    return Record(
        photo=photo.name,
        box_xywh_px=box,
        keypoints2d=Keypoints(Skeleton.read(convention), xyc),
        extras={"vertices": read_ply_vertices(mesh) @ R_CAMERA_SCAN.T}
        | ({} if options.reference_quirks else {"cam_param": camera}),
    )


def _detected(path: Path) -> Float[np.ndarray, "137 3"]:
    """OpenPose's points of the one person, as they stand in the file; hands or face that are not there are zero."""
    people = read_openpose(path)
    if len(people) != 1:
        raise DataError(f"{path} should hold one person of OpenPose, not {len(people)}")
    return body_25(people[0], str(path))
