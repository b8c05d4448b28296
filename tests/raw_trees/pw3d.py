"""A miniature 3DPW: people in the world's frame, a moving camera, sequences as Python 2 pickled them."""

import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from openexpose.geometry.camera import PerspectiveCamera
from openexpose.skeleton import Skeleton
from tests.raw_trees.drawing import photo_of, save_photo
from tests.raw_trees.people import Person

SIZE_PX = (270, 480)
"""Width and height; the real photos are 1080 x 1920 or 1920 x 1080."""
K = np.array([[500.0, 0, 135], [0, 500.0, 240], [0, 0, 1]])


def write_pw3d(
    root: Path,
    sequences: Sequence[Sequence[Person]],
    *,
    genders: Sequence[str] = ("m", "f"),
    frames: int = 3,
    lost: Sequence[int] = (1,),
    split: str = "test",
    drawn: bool = True,
) -> dict[str, dict[str, NDArray[np.float64]]]:
    """Write imageFiles/ and sequenceFiles/<split>/; root becomes `datasets/3DPW`.

    sequences: the people who stand in each sequence, side by side; the camera moves round them frame by frame.
    lost: frames whose camera pose is marked invalid.
    Returns for each sequence what holds in the camera's frame: `global_orient` (P, F, 3), `body_pose` (P, 69) of
    SMPL's joints, `betas` (P, 10), `points_m` (P, F, 24, 3) of FreeBody's first 22 joints and the hands' roots.
    """
    truth = {}
    for s, people in enumerate(sequences):
        name = f"downtown_walk_{s:02d}"
        T = np.stack([_T_camera_world(s, f) for f in range(frames)])
        truth[name] = {}
        content: dict[str, object] = {
            "sequence": name, "cam_poses": T, "cam_intrinsics": K, "img_frame_ids": np.arange(frames),
            "genders": [genders[p % len(genders)] for p in range(len(people))],
            "campose_valid": [np.array([int(f not in lost) for f in range(frames)]) for _ in people],
        }  # fmt: skip
        rows = [_person(p, q, T, f"{s}{q}") for q, p in enumerate(people)]
        for key in ("poses", "betas", "trans", "poses2d", "jointPositions"):
            content[key] = [r[key] for r in rows]
        path = root / "sequenceFiles" / split / f"{name}.pkl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pickle.dumps(content, protocol=2))
        for f in range(frames):
            save_photo(root / "imageFiles" / name / f"image_{f:05d}.jpg", _photo(people, T[f], drawn))
        for key in ("global_orient", "body_pose", "shape", "points_m"):
            truth[name][key] = np.stack([r[key] for r in rows])
    return truth


def _T_camera_world(sequence: int, frame: int) -> NDArray[np.float64]:
    """World -> camera: a world with y up, seen from 4 m, turning a little from frame to frame."""
    turn = Rotation.from_euler("yx", [0.1 * sequence + 0.15 * frame, 0.05 * frame])
    T = np.eye(4)
    T[:3, :3] = np.diag([1.0, -1, -1]) @ turn.as_matrix()
    T[:3, 3] = [0, 0, 4]
    return T


def _placed(person: Person, place: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rotation and shift from the person's own camera frame into the world."""
    R = np.diag([1.0, -1, -1])
    middle = person.vertices_m.mean(0)
    return R, np.array([0.7 * place - 0.3, 0.0, 0.0]) - R @ middle


def _person(person: Person, place: int, T: NDArray[np.float64], seed: str) -> dict[str, NDArray[np.float64]]:
    """One person's part of the file, and the truth it stands for."""
    frames, rng = len(T), np.random.default_rng(int(seed))
    R, shift = _placed(person, place)
    world = R @ Rotation.from_rotvec(person.params["global_orient"]).as_matrix()
    body = np.concatenate([person.params["body_pose"], np.zeros((2, 3))])
    joints = np.stack([person.points_m[n] for n in (*Skeleton.read("smplx").names[:22], "left_index_1",
                                                    "right_index_1")]) @ R.T + shift  # fmt: skip
    joints_camera = np.einsum("fij,kj->fki", T[:, :3, :3], joints) + T[:, None, :3, 3]
    seen = np.stack([person.points_m[n.removesuffix("_openpose")] for n in Skeleton.read("pw3d").names]) @ R.T + shift
    seen = np.einsum("fij,kj->fki", T[:, :3, :3], seen) + T[:, None, :3, 3]
    xy = seen[..., :2] / seen[..., 2:] * 500 + K[:2, 2]
    confidence = rng.uniform(0.4, 1, (frames, 18, 1))
    confidence[:, 16] = 0  # an ear was not found
    poses2d = np.concatenate([np.where(confidence > 0, xy, 0), confidence], -1)
    pose = np.concatenate([Rotation.from_matrix(world).as_rotvec(), body.ravel()])
    return {
        "poses": np.tile(pose, (frames, 1)),
        "betas": np.concatenate([person.params["betas"], np.zeros(290)]),
        "trans": np.tile(shift, (frames, 1)),
        "poses2d": poses2d.transpose(0, 2, 1),
        "jointPositions": np.tile(joints.ravel(), (frames, 1)),
        "global_orient": Rotation.from_matrix(T[:, :3, :3] @ world).as_rotvec(),
        "body_pose": body.ravel(),
        "shape": person.params["betas"],
        "points_m": joints_camera,
    }


def _photo(people: Sequence[Person], T: NDArray[np.float64], drawn: bool) -> NDArray[np.uint8]:
    width, height = SIZE_PX
    if not drawn:
        return np.full((height, width, 3), 120, np.uint8)
    meshes = []
    for place, person in enumerate(people):
        R, shift = _placed(person, place)
        meshes.append((person.vertices_m @ R.T + shift) @ T[:3, :3].T + T[:3, 3])
    faces = np.concatenate([p.faces + i * len(p.vertices_m) for i, p in enumerate(people)])
    return photo_of(np.concatenate(meshes), faces, PerspectiveCamera(K, np.eye(4), width, height))
