"""What people do: body poses from the bank, recombined and jittered; fingers; faces; where they look.

Everything is numpy and takes its chances from the generator handed in.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from openexpose.body.free import FacialActions
from openexpose.body.hands import named_hand_poses
from openexpose.errors import ConfigError
from openexpose.synth.capsules import goes_through_itself, joint_positions
from openexpose.synth.pose_bank import JOINTS, PoseBank, mirrored

SOURCE_SHARE = {0: 0.22, 1: 0.13, 2: 0.30, 3: 0.13, 4: 0.06, 5: 0.01, 6: 0.06, 7: 0.09}
"""How often a pose comes from each source; sources that a bank lacks are left out."""
LIMBS = {
    "left_arm": tuple(JOINTS.index(f"left_{n}") for n in ("collar", "shoulder", "elbow", "wrist")),
    "right_arm": tuple(JOINTS.index(f"right_{n}") for n in ("collar", "shoulder", "elbow", "wrist")),
    "left_leg": tuple(JOINTS.index(f"left_{n}") for n in ("hip", "knee", "ankle", "foot")),
    "right_leg": tuple(JOINTS.index(f"right_{n}") for n in ("hip", "knee", "ankle", "foot")),
    "head": tuple(JOINTS.index(n) for n in ("neck", "head")),
    "trunk": tuple(JOINTS.index(n) for n in ("spine_1", "spine_2", "spine_3")),
}
HAND_WEIGHTS = {
    "flat": 0.06, "relaxed": 0.30, "slightly_curled": 0.13, "fist": 0.09, "grip": 0.10, "point": 0.06, "pinch": 0.05,
    "ok": 0.025, "thumbs_up": 0.025, "peace": 0.03, "claw": 0.03, "spread": 0.05, "three": 0.02, "phone_hold": 0.02,
    "horns": 0.005, "call_me": 0.005,
}  # fmt: skip
"""How often each named hand pose is one of the two that are blended."""
SLACK_RAD = np.deg2rad(4.0)
TRIES = 12
"""Draws after which an unmixed pose of the bank is taken instead."""


@dataclass(frozen=True)
class PoseDraws:
    """How body poses are drawn."""

    swap_arm: float = 0.22
    """Probability that an arm comes from another pose; each arm on its own."""
    swap_leg: float = 0.08
    swap_head: float = 0.30
    swap_trunk: float = 0.08
    jitter_rad: float = 0.06
    """Spread of the random turn added to each joint."""
    held_out: bool = False
    """Draw from the clips that are kept for tests, and from them only."""

    def __post_init__(self) -> None:
        """Raises ConfigError for a probability outside 0 to 1 or a negative jitter."""
        shares = (self.swap_arm, self.swap_leg, self.swap_head, self.swap_trunk)
        if not all(0 <= p <= 1 for p in shares) or self.jitter_rad < 0:
            raise ConfigError(f"{self}: probabilities lie between 0 and 1, jitter is not negative")


class BodyPoses:
    """Draws body poses: `poses.draw(rng)` gives (22, 3) axis-angles, pelvis first and free of yaw."""

    def __init__(
        self, bank: PoseBank, rest_m: Float[np.ndarray, "J 3"], parents: Sequence[int], cfg: PoseDraws = PoseDraws()
    ) -> None:
        """rest_m, parents: of the body model; its first 22 joints are those of SMPL-X.

        Raises ConfigError if the bank has no poses of the wanted kind.
        """
        rows = np.flatnonzero(bank.held_out == cfg.held_out)
        if not len(rows):
            raise ConfigError(f"the pose bank has no rows with held_out={cfg.held_out}")
        self.bank, self.cfg = bank, cfg
        self.rest_m, self.parents = np.asarray(rest_m[:22], np.float64), tuple(parents[:22])
        self._rows = {s: rows[bank.source[rows] == s] for s in SOURCE_SHARE if (bank.source[rows] == s).any()}
        share = np.array([SOURCE_SHARE[s] * (len(r) / (len(r) + 20)) for s, r in self._rows.items()])
        self._sources, self._share = list(self._rows), share / share.sum()

    def draw(self, rng: np.random.Generator) -> Float[np.ndarray, "22 3"]:
        """One pose: inside the joint limits, not through itself as far as capsules tell.

        Where `TRIES` recombined poses in a row fail, a pose of the bank as it is, unchecked.
        """
        for _ in range(TRIES):
            pose = self._jittered(self._mixed(rng), rng)
            if self.allows(pose):
                return pose.astype(np.float32)
        return self._row(rng).astype(np.float32)

    def allows(self, rotvec_rad: Float[np.ndarray, "22 3"]) -> bool:
        """Whether a pose is inside the limits and does not go through itself."""
        low, high = self.bank.limits_rad[:, 0] - SLACK_RAD, self.bank.limits_rad[:, 1] + SLACK_RAD
        if ((rotvec_rad < low) | (rotvec_rad > high)).any():
            return False
        R = Rotation.from_rotvec(rotvec_rad).as_matrix()
        return not goes_through_itself(*joint_positions(R, self.rest_m, self.parents))

    def _row(self, rng: np.random.Generator) -> NDArray[np.float32]:
        source = self._sources[int(rng.choice(len(self._sources), p=self._share))]
        rows = self._rows[source]
        pose = self.bank.rotvec_rad[int(rows[rng.integers(len(rows))])]
        return mirrored(pose) if rng.random() < 0.5 else pose.copy()

    def _mixed(self, rng: np.random.Generator) -> NDArray[np.float32]:
        pose = self._row(rng)
        c = self.cfg
        chances = {
            "left_arm": c.swap_arm, "right_arm": c.swap_arm, "left_leg": c.swap_leg, "right_leg": c.swap_leg,
            "head": c.swap_head, "trunk": c.swap_trunk,
        }  # fmt: skip
        for limb, chance in chances.items():
            if rng.random() < chance:
                joints = list(LIMBS[limb])
                pose[joints] = self._row(rng)[joints]
        return pose

    def _jittered(self, pose: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float64]:
        noise = rng.standard_normal((22, 3)) * self.cfg.jitter_rad
        for side in ("left", "right"):
            for hinge in ("knee", "elbow"):
                noise[JOINTS.index(f"{side}_{hinge}")] *= [1.0, 1.0, 1.0] if hinge == "elbow" else [1.0, 0.2, 0.2]
        turned = Rotation.from_rotvec(noise) * Rotation.from_rotvec(pose)
        # jitter may not push a straight joint over its limit: it is held at the bank's border instead
        return np.clip(
            turned.as_rotvec(), self.bank.limits_rad[:, 0] - SLACK_RAD, self.bank.limits_rad[:, 1] + SLACK_RAD
        )


@cache
def _hand_table() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    poses = np.array([named_hand_poses()[name] for name in HAND_WEIGHTS], np.float64)
    weights = np.array(list(HAND_WEIGHTS.values()))
    return poses, weights / weights.sum()


FLEX_LIMITS_DEG = np.array([[-25, 90], [-3, 110], [-5, 80]] * 4 + [[-20, 45], [-10, 60], [-20, 80]], np.float64)
SPREAD_LIMITS_DEG = np.array(
    [[-12, 22], [-2, 2], [-2, 2], [-12, 12], [-2, 2], [-2, 2], [-30, 12], [-2, 2], [-2, 2]]
    + [[-18, 12], [-2, 2], [-2, 2], [-15, 50], [-8, 8], [-2, 2]],
    np.float64,
)
"""Smallest and largest flexion and abduction of the 15 joints: index, middle, pinky, ring, thumb."""


def draw_hand(rng: np.random.Generator) -> Float[np.ndarray, "15 3"]:
    """Flexion, abduction and twist in degrees of one hand's finger joints.

    Two named poses blended, each finger bent a little more or less, noise at the knuckles, clamped to what fingers can.
    """
    poses, weights = _hand_table()
    first, second = rng.choice(len(poses), 2, p=weights)
    mix = rng.uniform(0, 0.5)
    angles = (1 - mix) * poses[first] + mix * poses[second]
    fingers = angles.reshape(5, 3, 3).copy()
    if rng.random() < 0.3:  # some fingers follow the second pose alone
        own = rng.random(5) < 0.5
        fingers[own] = poses[second].reshape(5, 3, 3)[own]
    fingers[..., 0] *= rng.uniform(0.85, 1.15, (5, 1))
    fingers[:, 0, 0] += rng.normal(0, 6, 5)
    fingers[:, 1, 0] += rng.normal(0, 5, 5)
    fingers[:, 0, 1] += rng.normal(0, 3, 5)
    fingers[:4, 2, 0] = 0.3 * fingers[:4, 2, 0] + 0.7 * 0.6 * fingers[:4, 1, 0]
    fingers[4, 0, 2] += rng.normal(0, 4)
    out = fingers.reshape(15, 3)
    out[:, 0] = np.clip(out[:, 0], FLEX_LIMITS_DEG[:, 0], FLEX_LIMITS_DEG[:, 1])
    out[:, 1] = np.clip(out[:, 1], SPREAD_LIMITS_DEG[:, 0], SPREAD_LIMITS_DEG[:, 1])
    return out


def draw_hands(rng: np.random.Generator) -> Float[np.ndarray, "2 15 3"]:
    """Angles in degrees of the left and the right hand, alike half of the time."""
    left = draw_hand(rng)
    right = draw_hand(rng)
    if rng.random() < 0.5:
        right = left + rng.normal(0, 2, left.shape) * (left != 0)
    return np.stack([left, right])


def hand_rotations(angles_deg: Float[np.ndarray, "15 3"], axes: Float[np.ndarray, "15 3 3"]) -> NDArray[np.float64]:
    """(15, 3, 3) rotations from flexion, abduction and twist about the axes of `body.hands.hand_axes`."""
    rotvec = np.deg2rad(angles_deg)[..., None] * axes
    R = Rotation.from_rotvec(rotvec.reshape(-1, 3)).as_matrix().reshape(15, 3, 3, 3)
    return np.asarray(R[:, 1] @ R[:, 0] @ R[:, 2])


@dataclass(frozen=True, eq=False)
class Face:
    """What a face does: coefficients, jaw and eyes (axis-angle)."""

    expression: Float[np.ndarray, " E"]
    jaw_rad: Float[np.ndarray, "3"]
    eyes_rad: Float[np.ndarray, "2 3"]
    """Left and right eyeball."""


def draw_face(actions: FacialActions, expressions: int, rng: np.random.Generator) -> Face:
    """A face: a few facial actions at random strengths, noise on the components, and a glance.

    Pairs of actions (left, right) mostly go together. expressions: how many components the body model has.
    """
    names = actions.names
    strength = np.zeros(len(names))
    for _ in range(int(rng.choice([0, 1, 2, 3, 4], p=[0.15, 0.2, 0.25, 0.25, 0.15]))):
        k = int(rng.integers(len(names)))
        strength[k] = max(strength[k], rng.beta(1.3, 1.5))
        twin = _twin(names, k)
        if twin is not None and rng.random() < 0.8:
            strength[twin] = strength[k] * rng.uniform(0.8, 1.0)
    for pair, chance in ((("mouthSmileLeft", "mouthSmileRight"), 0.25), (("eyeBlinkLeft", "eyeBlinkRight"), 0.06)):
        if rng.random() < chance:
            amount = rng.uniform(0.2, 1.0)
            for name in pair:
                if name in names:
                    strength[names.index(name)] = amount
    looks = [k for k, n in enumerate(names) if n.startswith("eyeLook")]
    strength[looks] = 0.0
    expression = strength @ actions.expression + rng.normal(0, 0.25, actions.expression.shape[1])
    jaw = strength @ actions.jaw_rad
    if rng.random() < 0.25:
        jaw = jaw + [abs(rng.normal(0, 0.12)), rng.normal(0, 0.02), 0.0]
    jaw = np.clip(jaw, [-0.02, -0.12, -0.05], [0.55, 0.12, 0.05])
    return Face(np.clip(expression[:expressions], -4, 4), jaw, draw_gaze(rng))


def draw_gaze(rng: np.random.Generator) -> Float[np.ndarray, "2 3"]:
    """Axis-angle of both eyeballs looking at one point: pitch and yaw together, a little vergence."""
    pitch, yaw = np.clip(rng.normal(0, [0.12, 0.22]), -0.45, 0.45)
    toward = abs(rng.normal(0, 0.03))
    left = Rotation.from_euler("yx", [yaw - toward, pitch]).as_rotvec()
    right = Rotation.from_euler("yx", [yaw + toward, pitch]).as_rotvec()
    return np.stack([left, right])


def _twin(names: Sequence[str], k: int) -> int | None:
    """The action of the other side, if there is one."""
    for here, there in (("Left", "Right"), ("Right", "Left")):
        if names[k].endswith(here):
            other = names[k].removesuffix(here) + there
            return list(names).index(other) if other in names else None
    return None
