"""The T-pose: how each of Anny's bones must turn so that zero pose parameters mean what they mean for SMPL-X."""

import numpy as np
from numpy.typing import NDArray

from openexpose.body.build_free.kinematics import about, compose, frame, rotation, swing

F64 = NDArray[np.float64]

COLLAR_RAISE_RAD = float(np.deg2rad(9.0))
"""With the arm raised sideways the shoulder girdle is up: the pose bank's collars take 18 % of the arm's swing."""

LEG = {"upperleg01": (0.025, -1.0, -0.02), "lowerleg01": (0.0, -1.0, -0.06), "foot": None}
FINGER_YAW_DEG = {2: 5.0, 3: 0.0, 4: -4.5, 5: -10.0}
"""Direction of the straight left fingers in the palm's plane; towards the thumb is positive."""
FINGER_PITCH_DEG = (-1.0, -3.0, -5.0)
"""A flat hand of a living person is not a ruler: each bone bends a little more than the one before."""
THUMB = {1: (0.79, -0.12, 0.60), 2: (0.86, -0.08, 0.50), 3: (0.93, -0.05, 0.37)}
"""Directions of the three left thumb bones, hand flat, palm down."""

MIRROR = np.diag([-1.0, 1.0, 1.0])


def bone_turns(bones: tuple[str, ...], parents: tuple[int, ...], heads: F64, tails: F64) -> F64:
    """(B, 3, 3) world rotation of each bone from Anny's rest pose to the T-pose; bones at `heads`, `tails` (B, 3)."""
    own = _left_turns({b: heads[i] for i, b in enumerate(bones)}, {b: tails[i] for i, b in enumerate(bones)})
    out: list[F64] = []
    for bone, parent in zip(bones, parents, strict=True):
        stem, _, side = bone.partition(".")
        if side and f"{stem}.L" in own:
            turn = own[f"{stem}.L"]
            out.append(turn if side == "L" else MIRROR @ turn @ MIRROR)
        else:
            out.append(np.eye(3) if parent < 0 else out[parent])
    return np.stack(out)


def motions(turns: F64, heads: F64, parents: tuple[int, ...]) -> F64:
    """(B, 3, 4) motion of each bone of a person with bones at `heads` (B, 3); chains stay joined."""
    placed: list[F64] = []
    for b, parent in enumerate(parents):
        at = heads[b] if parent < 0 else placed[parent][:, :3] @ heads[b] + placed[parent][:, 3]
        shift = np.concatenate([np.eye(3), (at - heads[b])[:, None]], 1)
        placed.append(compose(shift, about(turns[b], heads[b])))
    return np.stack(placed)


def _left_turns(heads: dict[str, F64], tails: dict[str, F64]) -> dict[str, F64]:
    turns = {"clavicle.L": rotation(np.array([0.0, 0.0, COLLAR_RAISE_RAD]))}
    ankle = heads["foot.L"]
    turns["upperleg01.L"] = swing(heads["lowerleg01.L"] - heads["upperleg01.L"], np.array(LEG["upperleg01"]))
    turns["lowerleg01.L"] = swing(ankle - heads["lowerleg01.L"], np.array(LEG["lowerleg01"]))
    turns["foot.L"] = np.eye(3)
    turns |= _arm(heads) | _fingers(heads, tails)
    return turns


def _arm(heads: dict[str, F64]) -> dict[str, F64]:
    """Arm straight to the side, elbow pit to the front, palm down, the forearm's turn spread over its two bones."""
    upper = heads["lowerarm01.L"] - heads["upperarm01.L"]
    fore = heads["wrist.L"] - heads["lowerarm01.L"]
    hinge = np.cross(upper, fore)
    side, down = np.array([1.0, 0.0, 0.0]), np.array([0.0, -1.0, 0.0])
    target = frame(side, down)
    upper_turn, fore_turn = target @ frame(upper, hinge).T, target @ frame(fore, hinge).T
    hand = hand_turn(heads)
    twist = float(np.arctan2(*_about_x(hand @ fore_turn.T)))
    half = rotation(np.array([0.5 * twist, 0.0, 0.0])) @ fore_turn
    return {"upperarm01.L": upper_turn, "lowerarm01.L": fore_turn, "lowerarm02.L": half, "wrist.L": hand}


def _about_x(R: F64) -> tuple[float, float]:
    return float(R[2, 1] - R[1, 2]), float(R[1, 1] + R[2, 2])


def hand_turn(heads: dict[str, F64]) -> F64:
    """(3, 3) turn of the left hand: wrist to middle knuckle along +x, little finger to index finger along +z."""
    along = heads["finger3-1.L"] - heads["wrist.L"]
    across = heads["finger2-1.L"] - heads["finger5-1.L"]
    return frame(np.array([1.0, 0.0, 0.0]), np.array([0.0, 0.0, 1.0])) @ frame(along, across).T


def _fingers(heads: dict[str, F64], tails: dict[str, F64]) -> dict[str, F64]:
    hand = hand_turn(heads)
    turns = {}
    for finger in range(1, 6):
        base = hand
        for k in (1, 2, 3):
            name = f"finger{finger}-{k}.L"
            if finger == 1:
                wanted = np.array(THUMB[k])
            else:
                yaw, pitch = np.deg2rad(FINGER_YAW_DEG[finger]), np.deg2rad(FINGER_PITCH_DEG[k - 1])
                wanted = np.array([np.cos(yaw) * np.cos(pitch), np.sin(pitch), np.sin(yaw) * np.cos(pitch)])
            base = swing(base @ (tails[name] - heads[name]), wanted) @ base
            turns[name] = base
    return turns
