"""One photo before it is taken: who stands how and where, in which light, before what; a function of (seed, index)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from openexpose.body.free import FacialActions, load_facial_actions
from openexpose.body.hands import hand_axes
from openexpose.errors import ConfigError
from openexpose.skeleton import Skeleton
from openexpose.synth.background import draw_background
from openexpose.synth.lens import draw_lens
from openexpose.synth.mannequin import Mannequin
from openexpose.synth.outfit import NAMES as OUTFIT_NAMES
from openexpose.synth.outfit import draw_outfit
from openexpose.synth.pose_bank import JOINTS, PoseBank
from openexpose.synth.poses import BodyPoses, PoseDraws, draw_face, draw_hands, hand_rotations

Framing = Literal["whole", "upper", "head", "hand"]
FRAMINGS: tuple[Framing, ...] = get_args(Framing)
MOST_PEOPLE = 3
_UPSIDE_DOWN = np.diag([1.0, -1.0, -1.0])
"""From the body's axes (y up, z forward) to the camera's (y down, z away)."""


@dataclass(frozen=True)
class SynthConfig:
    """What the photos are like."""

    size_px: int = 256
    """Side of the square photo."""
    whole: float = 0.55
    """Share of photos framed on the whole body; the four shares are normalised."""
    upper: float = 0.25
    head: float = 0.10
    hand: float = 0.10
    """Of the right hand: hand networks see right hands, left ones arrive mirrored."""
    supersample: int = 2
    """Samples along each side of a pixel."""
    crowd: float = 0.22
    """Probability that other people are in the photo."""
    bank_share: float = 0.5
    """How often a real background is used where there are some."""
    held_out: bool = False
    """Body poses of the clips that are kept for tests, and only those."""
    clean: float = 0.12
    """Probability of a picture without blur, noise and JPEG."""

    def __post_init__(self) -> None:
        """Raises ConfigError naming a share that is negative or a size that is too small."""
        shares = {n: getattr(self, n) for n in FRAMINGS}
        if min(shares.values()) < 0 or sum(shares.values()) <= 0:
            raise ConfigError(f"synth framing shares {shares}: none may be negative, not all zero")
        if self.size_px < 32 or not 1 <= self.supersample <= 4:
            raise ConfigError(f"synth size_px={self.size_px}, supersample={self.supersample}: at least 32, and 1 to 4")
        for name in ("crowd", "bank_share", "clean"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"synth {name}={getattr(self, name)}: a probability between 0 and 1")


@dataclass(frozen=True, eq=False)
class SceneDraw:
    """Everything that chance decides about one photo. P = MOST_PEOPLE rows of people, the first one is the labelled."""

    seed: int
    index: int
    framing: Framing
    present: NDArray[np.bool_]
    betas: Float[np.ndarray, "P 10"]
    expression: Float[np.ndarray, "P E"]
    R: Float[np.ndarray, "P 55 3 3"]
    """Relative to the parent; the first is in camera axes."""
    outfit: Float[np.ndarray, "P O"]
    beside_m: Float[np.ndarray, "P 3"]
    """Where others stand relative to the first one: to the right, down, away."""
    numbers: Mapping[str, NDArray[np.float32]]
    """Camera, light, background, lens: arrays of the same shapes in every draw."""


class Casting:
    """Draws scenes: `casting.draw(seed, index)`."""

    def __init__(self, mannequin: Mannequin, cfg: SynthConfig, *, bank: int = 0) -> None:
        """bank: how many real backgrounds there are."""
        self.cfg, self.bank = cfg, bank
        model = mannequin.bare
        self.betas, self.expressions = model.num_betas, model.num_expression
        rest = model.shape().rest_joints_m.cpu().numpy()
        self.poses = BodyPoses(PoseBank.shipped(), rest, model.parents, PoseDraws(held_out=cfg.held_out))
        self.axes = [hand_axes(model.cpu(), side).numpy().astype(np.float64) for side in ("left", "right")]
        model.to(mannequin.device)
        self.actions: FacialActions = load_facial_actions()
        shares = np.array([getattr(cfg, f) for f in FRAMINGS])
        self._shares = shares / shares.sum()

    def draw(self, seed: int, index: int) -> SceneDraw:
        """The scene of this seed and index; the same on every machine."""
        rng = np.random.default_rng((seed, index))
        framing = FRAMINGS[int(rng.choice(len(FRAMINGS), p=self._shares))]
        tilt = _tilt(rng)
        count = 1 if rng.random() >= self.cfg.crowd else int(rng.integers(2, MOST_PEOPLE + 1))
        people = [self._person(rng, tilt, k < count, framing) for k in range(MOST_PEOPLE)]
        betas, expression, R, outfit = (np.stack([p[i] for p in people]).astype(np.float32) for i in range(4))
        beside = np.zeros((MOST_PEOPLE, 3), np.float32)
        for k in range(1, MOST_PEOPLE):
            behind = rng.random() < 0.8
            away = rng.uniform(0.25, 4.0) if behind else rng.uniform(-1.0, -0.2)
            sideways = rng.choice([-1, 1]) * (rng.uniform(0.15, 1.6) + (0 if behind else 0.45))
            beside[k] = tilt @ np.array([sideways, 0.0, away])
        numbers = self._camera(rng, framing, tilt) | draw_light(rng, -tilt[:, 1])
        numbers |= draw_background(rng, bank=self.bank, bank_share=self.cfg.bank_share)
        lens = draw_lens(rng)
        if rng.random() < self.cfg.clean:
            lens[:6] = [0, 0, 0, 1, 0, 0]
        lens[:2] *= self.cfg.size_px / 256
        present = np.arange(MOST_PEOPLE) < count
        return SceneDraw(seed, index, framing, present, betas, expression, R, outfit, beside, numbers | {"lens": lens})

    def _person(
        self, rng: np.random.Generator, tilt: NDArray[np.float64], there: bool, framing: Framing
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float32]]:
        betas, expression = np.zeros(self.betas), np.zeros(self.expressions)
        R = np.tile(np.eye(3), (55, 1, 1))
        if not there:
            return betas, expression, R, np.zeros(len(OUTFIT_NAMES), np.float32)
        betas = np.clip(rng.normal(0, 1.0, self.betas), -2.8, 2.8)
        face = draw_face(self.actions, self.expressions, rng)
        R[:22] = Rotation.from_rotvec(self.poses.draw(rng)).as_matrix()
        frontal = {"whole": 0.4, "upper": 0.55, "head": 0.8, "hand": 0.2}[framing]
        yaw = rng.normal(0, 0.6) if rng.random() < frontal else rng.uniform(-np.pi, np.pi)
        if framing == "head":
            yaw -= _heading(R)
        R[0] = tilt @ _UPSIDE_DOWN @ Rotation.from_euler("y", yaw).as_matrix() @ R[0]
        R[22], R[23], R[24] = Rotation.from_rotvec(np.concatenate([face.jaw_rad[None], face.eyes_rad])).as_matrix()
        for angles, axes, first in zip(draw_hands(rng), self.axes, (25, 40), strict=True):
            R[first : first + 15] = hand_rotations(angles, axes)
        return betas, face.expression, R, draw_outfit(rng)

    def _camera(
        self, rng: np.random.Generator, framing: Framing, tilt: NDArray[np.float64]
    ) -> dict[str, NDArray[np.float32]]:
        """Focal length in sides of the photo, how much of it the framed part fills, and where it stands."""
        fov = np.exp(rng.uniform(np.log(0.2), np.log(1.1)))
        low, high = {"whole": (0.38, 1.0), "upper": (0.7, 1.25), "head": (0.28, 0.85), "hand": (0.30, 0.80)}[framing]
        fills = rng.uniform(low, high)
        spread = 0.06 if fills > 0.8 else 0.14
        place = np.clip(rng.normal(0.5, spread, 2), 0.15, 0.85)
        return {
            "focal": np.array(0.5 / np.tan(fov / 2), np.float32),
            "fills": np.array(fills, np.float32),
            "place": place.astype(np.float32),
            "up": (-tilt[:, 1]).astype(np.float32),
            "nearest_m": np.array(0.45 if framing in ("whole", "upper") else 0.22, np.float32),
            "floor_gap_m": np.array(abs(rng.normal(0, 0.02)), np.float32),
        }


def _heading(R: NDArray[np.float64]) -> float:
    """How far the face is turned to the person's left of straight ahead, radians; relative rotations, pelvis first."""
    chain = [JOINTS.index(n) for n in ("pelvis", "spine_1", "spine_2", "spine_3", "neck", "head")]
    ahead = np.array([0.0, 0.0, 1.0])
    for joint in reversed(chain):
        ahead = R[joint] @ ahead
    return float(np.arctan2(ahead[0], ahead[2]))


def _tilt(rng: np.random.Generator) -> NDArray[np.float64]:
    """Camera axes from level ones: looking up or down, and rolled."""
    pitch = rng.normal(0, 0.16) if rng.random() < 0.8 else rng.uniform(-0.9, 0.6)
    roll = rng.normal(0, 0.06) if rng.random() < 0.9 else rng.normal(0, 0.4)
    return np.asarray(Rotation.from_euler("zx", [roll, pitch]).as_matrix())


def draw_light(rng: np.random.Generator, up: NDArray[np.float64]) -> dict[str, NDArray[np.float32]]:
    """Two lamps, sky and ground, and the exposure that suits them."""

    def direction(height: float) -> NDArray[np.float64]:
        d = rng.normal(0, 1, 3)
        d[2] -= 0.5  # more often from the camera's side
        d = d - (d @ up) * up
        d = d / np.linalg.norm(d) + height * up
        return np.asarray(d / np.linalg.norm(d))

    def tint(strength: float) -> NDArray[np.float64]:
        warm = rng.normal(0, strength)
        return np.exp(np.array([warm, rng.normal(0, 0.25 * strength), -warm]))

    key = rng.choice([0.4, 1.2, 2.6], p=[0.35, 0.4, 0.25]) * rng.uniform(0.7, 1.4)
    second = rng.uniform(0, 0.9) if rng.random() < 0.6 else 0.0
    ambient = rng.uniform(0.18, 0.7)
    strong = 0.45 if rng.random() < 0.1 else 0.12
    sky = ambient * tint(strong)
    level = 0.55 * key + 0.35 * second + 0.8 * ambient
    return {
        "key": direction(rng.uniform(0.1, 2.2)).astype(np.float32),
        "key_rgb": (key * tint(strong)).astype(np.float32),
        "second": direction(rng.uniform(-0.4, 1.2)).astype(np.float32),
        "second_rgb": (second * tint(2 * strong)).astype(np.float32),
        "sky_rgb": sky.astype(np.float32),
        "ground_rgb": (sky * rng.uniform(0.25, 0.9)).astype(np.float32),
        "exposure": np.array(0.95 / level * np.exp(rng.normal(0, 0.28)), np.float32),
        "shadow": np.array(rng.choice([0.25, 0.7, 1.0]), np.float32),
    }


def framed_points(framing: Framing) -> NDArray[np.bool_]:
    """(144,) which keypoints a framing is centred on."""
    skeleton = Skeleton.read("smplx")
    names = skeleton.names
    if framing == "whole":
        return np.ones(len(names), bool)
    if framing == "upper":
        low = ("knee", "ankle", "foot", "toe", "heel")
        return np.array([not any(w in n for w in low) for n in names])
    if framing == "head":
        face = [i for i, n in enumerate(names) if i >= 76 or n in ("head", "nose", "left_ear", "right_ear")]
        return np.isin(np.arange(len(names)), face)
    fingers = ("index", "middle", "ring", "pinky", "thumb")
    return np.array([n == "right_wrist" or (n.startswith("right_") and any(f in n for f in fingers)) for n in names])
