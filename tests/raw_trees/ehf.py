"""A miniature EHF: FreeBody in the scanner's frame, one camera, OpenPose keypoints."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from openexpose.geometry.camera import PerspectiveCamera
from openexpose.skeleton import Skeleton
from tests.raw_trees.drawing import photo_of, save_photo
from tests.raw_trees.people import STAND_INS, Person

R_CAMERA_SCAN = Rotation.from_rotvec([-2.9874789618512025, 0.011724572107320893, -0.05704686818955933]).as_matrix()
T_CAMERA_SCAN_M = np.array([-0.03609917, 0.43416458, 2.37101226])
K = np.array([[1498.22426237, 0, 790.263706], [0, 1498.22426237, 578.90334], [0, 0, 1]])
SIZE_PX = (1600, 1200)
UNSEEN = ("left_smalltoe", "right_ear", "left_pinky")
"""Points that OpenPose did not find in these photos: position (0, 0), confidence 0."""
_PARTS = (("pose_keypoints_2d", 25), ("hand_left_keypoints_2d", 21), ("hand_right_keypoints_2d", 21),
          ("face_keypoints_2d", 70))  # fmt: skip


def write_ehf(root: Path, people: Sequence[Person], *, drawn: bool = True) -> list[dict[str, NDArray[np.float64]]]:
    """Write `01_img.jpg`, `01_2Djnt.json`, `01_align.ply` ... as in EHF.zip; root becomes `datasets/EHF`.

    Returns for each person the mesh in the camera's frame (`vertices_m`) and OpenPose's points (`xyc_px`, 137 x 3).
    """
    names = Skeleton.read("openpose_137").names
    camera = PerspectiveCamera(K, np.eye(4), *SIZE_PX)
    out = []
    for i, person in enumerate(people):
        shift = np.array([0.0, 0.0, 2.6 - person.vertices_m[:, 2].mean()])  # so near that the person fills the photo
        vertices = person.vertices_m + shift
        points = {n: camera.project(p + shift) for n, p in person.points_m.items()}
        xyc = np.array([[*points[STAND_INS.get(n, n)], 0.3 + 0.7 * ((k * 7) % 11) / 10] for k, n in enumerate(names)])
        xyc[[k for k, n in enumerate(names) if n in UNSEEN]] = 0
        xyc[:, 2] = np.minimum(xyc[:, 2], 1)
        stem = root / f"{i + 1:02d}"
        photo = np.full((SIZE_PX[1], SIZE_PX[0], 3), 120, np.uint8)
        save_photo(Path(f"{stem}_img.jpg"), photo_of(vertices, person.faces, camera) if drawn else photo)
        _write_json(Path(f"{stem}_2Djnt.json"), xyc)
        write_ply(Path(f"{stem}_align.ply"), (vertices - T_CAMERA_SCAN_M) @ R_CAMERA_SCAN, person.faces)
        out.append({"vertices_m": vertices, "xyc_px": xyc})
    return out


def _write_json(path: Path, xyc: NDArray[np.float64]) -> None:
    """OpenPose 1.x: flat lists of x, y, confidence; one person."""
    starts = np.cumsum([0, *(n for _, n in _PARTS)])
    person = {
        key: np.round(xyc[a : a + n], 4).ravel().tolist() for (key, n), a in zip(_PARTS, starts[:-1], strict=True)
    }
    path.write_text(json.dumps({"version": 1.1, "people": [person]}))


def write_ply(path: Path, vertices_m: NDArray[np.floating], faces: NDArray[np.integer]) -> None:
    """A binary little-endian PLY of single-precision positions and triangles."""
    header = (
        f"ply\nformat binary_little_endian 1.0\ncomment of a scan\nelement vertex {len(vertices_m)}\n"
        "property float x\nproperty float y\nproperty float z\n"
        f"element face {len(faces)}\nproperty list uchar int vertex_indices\nend_header\n"
    )
    triangles = np.empty(len(faces), np.dtype([("n", "u1"), ("v", "<i4", 3)]))
    triangles["n"], triangles["v"] = 3, faces
    path.write_bytes(header.encode() + np.asarray(vertices_m, "<f4").tobytes() + triangles.tobytes())
