"""Names of bones: one skeleton, called as SMPL-X's tools, Mixamo or VRM call it."""

from collections.abc import Sequence
from typing import Literal, get_args

from openexpose.errors import ConfigError

Rig = Literal["smplx", "mixamo", "vrm"]
RIGS: tuple[Rig, ...] = get_args(Rig)
"""What `rig_names` can speak."""

_BODY: tuple[tuple[str, str, str, str], ...] = (
    # ours, SMPL-X's tools, Mixamo, VRM 1.0
    ("pelvis", "pelvis", "Hips", "hips"),
    ("spine_1", "spine1", "Spine", "spine"),
    ("spine_2", "spine2", "Spine1", "chest"),
    ("spine_3", "spine3", "Spine2", "upperChest"),
    ("neck", "neck", "Neck", "neck"),
    ("head", "head", "Head", "head"),
    ("jaw", "jaw", "Jaw", "jaw"),
)
_SIDED: tuple[tuple[str, str, str, str], ...] = (
    # the same behind left_ / right_, left_ / right_, Left / Right, left / right
    ("eyeball", "eye_smplhf", "Eye", "Eye"),
    ("hip", "hip", "UpLeg", "UpperLeg"),
    ("knee", "knee", "Leg", "LowerLeg"),
    ("ankle", "ankle", "Foot", "Foot"),
    ("foot", "foot", "ToeBase", "Toes"),
    ("collar", "collar", "Shoulder", "Shoulder"),
    ("shoulder", "shoulder", "Arm", "UpperArm"),
    ("elbow", "elbow", "ForeArm", "LowerArm"),
    ("wrist", "wrist", "Hand", "Hand"),
)
_FINGERS = (("index", "Index"), ("middle", "Middle"), ("pinky", "Little"), ("ring", "Ring"), ("thumb", "Thumb"))
_PHALANGES = ("Proximal", "Intermediate", "Distal")
_THUMB = ("Metacarpal", "Proximal", "Distal")


def rig_names(joint_names: Sequence[str], rig: str) -> tuple[str, ...]:
    """What another program calls the joints of a body of SMPL-X's skeleton, in the same order.

    "smplx": as SMPL-X's own tools and its Blender add-on (spine1, left_index1). "mixamo": mixamorig:Hips and so on; it
    has no jaw and no eyes, they are mixamorig:Jaw, :LeftEye, :RightEye. "vrm": humanoid bones of VRM 1.0.
    Raises ConfigError for another rig, or for a joint that is not of this skeleton.
    """
    if rig not in RIGS:
        raise ConfigError(f"rig {rig!r} is not known: {', '.join(RIGS)}")
    table = _table(RIGS.index(rig))
    unknown = [name for name in joint_names if name not in table]
    if unknown:
        raise ConfigError(f"joints {unknown[:3]} have no names for a rig: only bodies of SMPL-X's skeleton have")
    return tuple(table[name] for name in joint_names)


def _table(column: int) -> dict[str, str]:
    """Ours -> theirs; column 0 SMPL-X, 1 Mixamo, 2 VRM."""
    prefix = ("", "mixamorig:", "")[column]
    names = {row[0]: prefix + row[1 + column] for row in _BODY}
    for side in ("left", "right"):
        start = (f"{side}_", f"{prefix}{side.title()}", side)[column]
        names |= {f"{side}_{row[0]}": start + row[1 + column] for row in _SIDED}
        for ours, theirs in _FINGERS:
            for k in range(3):
                bone = (_THUMB if ours == "thumb" else _PHALANGES)[k]
                name = (f"{ours}{k + 1}", f"Hand{ours.title()}{k + 1}", f"{theirs}{bone}")[column]
                names[f"{side}_{ours}_{k + 1}"] = start + name
    return names
