"""A record's labels moved the way its crop was: keypoints, 3D joints and rotations, each known or weighing zero."""

from functools import cache

import numpy as np
from jaxtyping import Float

from openexpose.data.augment import Placement
from openexpose.data.record import Keypoints, Record
from openexpose.data.sample import Labelled, TargetLayout
from openexpose.errors import DataError
from openexpose.geometry.affine import moved
from openexpose.skeleton import Skeleton

PARAM_FAMILIES = ("smplx", "mano", "flame")
"""Families whose params mean the same thing here; the reference files MANO and FLAME params under smplx as well."""
_OTHER_HAND = {"left_hand_pose": "right_hand_pose", "right_hand_pose": "left_hand_pose"}


def targets_of(
    record: Record, layout: TargetLayout, placement: Placement, *, leave_unseen: bool
) -> dict[str, Labelled]:
    """Return every target of the layout, moved with the crop; what the record does not know has weight 0.

    leave_unseen: keypoints with confidence <= 0 keep their position in the photo (a quirk of the reference); off:
    they are zeros.
    Raises DataError naming the field if a value is not finite or has another size than the layout wants.
    """
    out: dict[str, Labelled] = {}
    if record.keypoints2d is not None:
        points = _finite("keypoints2d", record.keypoints2d.as_skeleton(layout.skeleton).xyc)
        out["keypoints2d"] = Labelled.known(move_points(points, layout.skeleton, placement, leave_unseen=leave_unseen))
    if record.keypoints3d is not None:
        points = _finite("keypoints3d", record.keypoints3d.as_skeleton(layout.skeleton).xyc)
        out["keypoints3d"] = Labelled.known(move_joints(points, layout.skeleton, placement))
    if record.family in PARAM_FAMILIES:
        out |= _params(record, layout, placement)
    return {name: out.get(name) or Labelled.unknown(*shape) for name, shape in layout.shapes().items()}


def move_points(
    xyc_px: Float[np.ndarray, "K 3"], skeleton: Skeleton, placement: Placement, *, leave_unseen: bool
) -> Float[np.ndarray, "K 3"]:
    """Return photo keypoints in crop pixels, left and right swapped if mirrored; confidence below 0 becomes 0."""
    xyc_px = np.asarray(xyc_px, np.float64)
    if placement.flipped:
        xyc_px = xyc_px[list(skeleton.flip_permutation)]
    seen = xyc_px[:, 2:] > 0
    work = placement.points_in_work(xyc_px[:, :2])
    unseen = work if leave_unseen else np.zeros_like(work)
    return np.column_stack([np.where(seen, moved(placement.T_crop_work, work), unseen), np.maximum(xyc_px[:, 2], 0)])


def move_joints(xyzc_m: Float[np.ndarray, "K 4"], skeleton: Skeleton, placement: Placement) -> Float[np.ndarray, "K 4"]:
    """Return 3D keypoints (x right, y down, metres) mirrored and turned about the viewing axis as the crop was."""
    xyzc_m = np.asarray(xyzc_m, np.float64)
    if placement.flipped:
        xyzc_m = xyzc_m[list(skeleton.flip_permutation)] * [-1, 1, 1, 1]
    return np.column_stack([xyzc_m[:, :3] @ turn_matrix(placement.turn_deg).T, np.maximum(xyzc_m[:, 3], 0)])


def turn_matrix(turn_deg: float) -> Float[np.ndarray, "3 3"]:
    """Return the 3D rotation that a turned picture shows: [[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]] (spec 7.3)."""
    c, s = np.cos(np.deg2rad(turn_deg)), np.sin(np.deg2rad(turn_deg))
    return np.array([[c, s, 0], [-s, c, 0], [0, 0, 1.0]])


def move_rotations(
    name: str, axis_angle_rad: Float[np.ndarray, "J 3"], placement: Placement
) -> Float[np.ndarray, "J 3 3"]:
    """Return a pose as matrices, mirrored and turned: only `global_orient` feels the turn.

    Mirroring swaps the sides of `body_pose`; the caller hands in the other hand's pose for a hand.
    """
    aa = np.asarray(axis_angle_rad, np.float64)
    if placement.flipped:
        aa = aa * [1, -1, -1]
        if name == "body_pose":
            aa = aa[list(_body_flip()[: len(aa)])]
    R = _matrices(aa)
    return turn_matrix(placement.turn_deg) @ R if name == "global_orient" else R


def _matrices(axis_angle_rad: Float[np.ndarray, "J 3"]) -> Float[np.ndarray, "J 3 3"]:
    """Rotation matrices, I + sin K + (1 - cos) K K (Rodrigues), exact for small angles too."""
    angle = np.linalg.norm(axis_angle_rad, axis=-1)
    x, y, z = (axis_angle_rad / np.maximum(angle, 1e-12)[:, None]).T
    zero = np.zeros_like(x)
    K = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(-1, 3, 3)
    return np.eye(3) + np.sin(angle)[:, None, None] * K + (1 - np.cos(angle))[:, None, None] * (K @ K)


@cache
def _body_flip() -> tuple[int, ...]:
    """Which entry of the 21 body joint rotations takes each one's place in a mirror (joint 0, the pelvis, left out)."""
    return tuple(i - 1 for i in Skeleton.read("smplx").flip_permutation[1:22])


def _params(record: Record, layout: TargetLayout, placement: Placement) -> dict[str, Labelled]:
    out: dict[str, Labelled] = {}
    for name, joints in layout.rotations.items():
        source = _OTHER_HAND.get(name, name) if placement.flipped else name
        if source in record.params:
            aa = _sized(source, _finite(source, record.params[source]).reshape(-1), 3 * max(joints, 1), exact=True)
            R = move_rotations(name, aa.reshape(-1, 3), placement)
            out[name] = Labelled.known(R if joints else R[0])
    if "betas" in record.params:
        betas = _finite("betas", record.params["betas"]).reshape(-1)
        out["betas"] = Labelled.known(_sized("betas", betas, layout.betas, exact=False))
    # A mirrored expression has other coefficients, and which ones is not known: it is unlabelled then (spec 7.3).
    if layout.expression and "expression" in record.params and not placement.flipped:
        expression = _finite("expression", record.params["expression"]).reshape(-1)
        out["expression"] = Labelled.known(_sized("expression", expression, layout.expression, exact=False))
    return out


def _finite(name: str, values: np.ndarray) -> np.ndarray:
    if not np.isfinite(values).all():
        raise DataError(f"{name} holds a value that is not finite; `openexpose data check` lists such rows")
    return np.asarray(values, np.float64)


def _sized(name: str, values: np.ndarray, want: int, *, exact: bool) -> np.ndarray:
    """The first `want` values (bases are ordered by importance); DataError if there are too few."""
    if len(values) < want or (exact and len(values) != want):
        raise DataError(
            f"{name} has {len(values)} numbers, {want} are wanted; is this data set meant for this network?"
        )
    return values[:want]


def misnamed_hand(points: Keypoints) -> Keypoints:
    """Return a hand's points under their true names, from a file of the reference's FreiHAND converter.

    It stores FreiHAND's order under MANO's names (spec 10.1), so in its files every finger carries a wrong name.
    """
    mano, freihand = Skeleton.read("mano"), Skeleton.read("freihand")
    return Keypoints(freihand, points.as_skeleton(mano).xyc)


def hands_are_misnamed(points: Keypoints) -> bool:
    """Do a right hand's names contradict its places, as in files of the reference's FreiHAND converter?

    Under the right names bones are shorter, in 3D and in pixels alike. False where the hand is not known in full.
    """
    freihand = Skeleton.read("freihand")
    lengths = []
    for xyc in (points.as_skeleton(freihand).xyc, misnamed_hand(points).xyc):
        if not (xyc[:, -1] > 0).all():
            return False
        child, parent = np.array(freihand.bones).T
        lengths.append(np.linalg.norm(xyc[child, :-1] - xyc[parent, :-1], axis=1).sum())
    return bool(lengths[1] < lengths[0])
