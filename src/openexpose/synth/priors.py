"""Measures the Gaussians of `nets/priors.py` on what the data engine draws: training clips, drawn hands and faces."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from openexpose.body import load_model
from openexpose.body.free import load_facial_actions
from openexpose.body.hands import hand_axes
from openexpose.nets.config import BODY_POINTS
from openexpose.synth.poses import draw_face, draw_hand, hand_rotations
from openexpose.synth.proxies import BodyProxies

DRAWS = 20_000
SEED = 20_271
SLACK_RAD = 0.03
"""Added to every rotation's spread: what the draws never do is unlikely, not impossible."""
SLACK = 0.1
"""The same for expression coefficients."""
EXPRESSIONS = 10


def measured() -> dict[str, NDArray[np.float32]]:
    """Arrays `body.mean`, `body.covariance`, and so on for hand and face; the same on every machine up to rounding."""
    rng = np.random.default_rng(SEED)
    free = load_model("free")
    bodies = BodyProxies(free, BODY_POINTS).mixed(rng, DRAWS)[:, 1:].reshape(DRAWS, -1)
    axes = hand_axes(free, "right").numpy().astype(np.float64)
    turned = np.stack([hand_rotations(draw_hand(rng), axes) for _ in range(DRAWS)])
    hands = Rotation.from_matrix(turned.reshape(-1, 3, 3)).as_rotvec().reshape(DRAWS, -1)
    actions = load_facial_actions()
    drawn = [draw_face(actions, EXPRESSIONS, rng) for _ in range(DRAWS)]
    faces = np.stack([np.concatenate([face.jaw_rad, face.expression]) for face in drawn])
    slack = np.concatenate([np.full(3, SLACK_RAD), np.full(EXPRESSIONS, SLACK)])
    spread = {"body": np.full(63, SLACK_RAD), "hand": np.full(45, SLACK_RAD), "face": slack}
    found = {}
    for kind, numbers in (("body", bodies), ("hand", hands), ("face", faces)):
        found[f"{kind}.mean"] = numbers.mean(0).astype(np.float32)
        found[f"{kind}.covariance"] = (np.cov(numbers.T) + np.diag(spread[kind] ** 2)).astype(np.float32)
    return found
