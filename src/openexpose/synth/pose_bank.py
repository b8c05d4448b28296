"""The poses that people take: a compact bank of motion-capture and hand-made poses (docs/synth.md names sources)."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import as_file, files
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy.typing import NDArray

from openexpose.errors import DataError
from openexpose.readers import read_safetensors
from openexpose.skeleton import Skeleton

JOINTS: tuple[str, ...] = Skeleton.read("smplx").names[:22]
"""Order of the rotations: pelvis first."""
MIRROR = np.array(Skeleton.read("smplx").flip_permutation[:22])
"""Which joint takes each one's place in a mirror."""
_FLIP = np.array([1.0, -1.0, -1.0], np.float32)


@dataclass(frozen=True, eq=False)
class PoseBank:
    """Body poses, each kept once: its mirror image is as good."""

    rotvec_rad: Float[np.ndarray, "N 22 3"]
    """Axis-angle relative to the parent, pelvis first and free of yaw: upright and facing +z is zero."""
    source: UInt8[np.ndarray, " N"]
    """0, 3 CMU; 1 DeepMimic; 2 authored; 4 Mesh2Motion; 5 MakeHuman; 6 ReActIdle; 7 Quaternius."""
    held_out: Bool[np.ndarray, " N"]
    """Rows of clips that only the fixed test sets use."""
    limits_rad: Float[np.ndarray, "22 2 3"]
    """Smallest and largest axis-angle component of each joint."""

    @classmethod
    def shipped(cls) -> "PoseBank":
        """The bank inside the package."""
        return _shipped()


@cache
def _shipped() -> PoseBank:
    with as_file(files("openexpose.synth") / "data" / "poses.safetensors") as path:
        arrays, _ = read_safetensors(path)
    return from_arrays(arrays)


def from_arrays(arrays: Mapping[str, NDArray[Any]]) -> PoseBank:
    """A bank from the arrays of its file. Raises DataError naming an array that is missing or does not fit."""
    try:
        steps, scale = arrays["steps"], arrays["scale"]
        bank = PoseBank(
            steps.astype(np.float32) * scale, arrays["source"], arrays["held_out"].astype(bool), arrays["limits_rad"]
        )
    except KeyError as e:
        raise DataError(f"the pose bank has no array {e}; make it again with synth.pose_bank.compact") from e
    counts = {len(bank.rotvec_rad), len(bank.source), len(bank.held_out)}
    if bank.rotvec_rad.shape[1:] != (22, 3) or len(counts) > 1:
        raise DataError(f"poses {bank.rotvec_rad.shape} and sources {bank.source.shape} of the pose bank disagree")
    return bank


def mirrored(rotvec_rad: Float[np.ndarray, "*N 22 3"]) -> Float[np.ndarray, "*N 22 3"]:
    """The pose of the person in the mirror: sides swapped, y and z of each rotation turned round."""
    return rotvec_rad[..., MIRROR, :] * _FLIP


def compact(
    banks: list[Mapping[str, NDArray[Any]]], limits_deg: Mapping[str, Mapping[str, list[float]]], held_out_every: int
) -> dict[str, NDArray[Any]]:
    """Arrays of the pose file from banks of full size: one of each mirror pair, rotations in 8 bits.

    banks: body_pose (N, 21, 3), global_orient (N, 3) yaw-free, source (N,), and `clip` (N,) where clips are known.
    limits_deg: for each joint but the pelvis limit_min and limit_max.
    held_out_every: of the known clips, each so-many-th (in order of names) is kept for tests.
    Raises DataError if a pose has no mirror partner.
    """
    poses, sources, tests = [], [], []
    for bank in banks:
        pose = np.concatenate([bank["global_orient"][:, None], bank["body_pose"]], 1).astype(np.float32)
        keep = _one_of_each_pair(pose)
        poses.append(pose[keep])
        sources.append(bank["source"][keep])
        names = np.unique(bank["clip"]) if "clip" in bank else np.array([], str)
        tests.append(np.isin(bank["clip"][keep], names[::held_out_every]) if len(names) else np.zeros(len(keep), bool))
    pose = np.concatenate(poses)
    scale = np.maximum(np.abs(pose).max(0), 1e-6) / 127
    free = np.full((1, 2, 3), 4.0) * np.array([-1, 1])[None, :, None]
    table = np.array(
        [[limits_deg[old]["limit_min"], limits_deg[old]["limit_max"]] for old in map(_table_name, JOINTS[1:])]
    )
    return {
        "steps": np.rint(pose / scale).astype(np.int8),
        "scale": scale.astype(np.float32),
        "source": np.concatenate(sources).astype(np.uint8),
        "held_out": np.concatenate(tests).astype(np.uint8),
        "limits_rad": np.concatenate([free, np.deg2rad(table)]).astype(np.float32),
    }


def _table_name(joint: str) -> str:
    return joint.replace("spine_", "spine")


def _one_of_each_pair(pose: NDArray[np.float32]) -> NDArray[np.int64]:
    """Rows that stand before their mirror image, and those that are their own."""
    place = {(row + 0.0).tobytes(): i for i, row in enumerate(pose)}
    partners = [place.get((row + 0.0).tobytes()) for row in mirrored(pose)]
    lonely = [i for i, p in enumerate(partners) if p is None]
    if lonely:
        raise DataError(f"row {lonely[0]} and {len(lonely) - 1} others have no mirror image in the bank")
    return np.array([i for i, p in enumerate(partners) if p is not None and i <= p], np.int64)
