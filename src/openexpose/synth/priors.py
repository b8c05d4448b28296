"""Measures the mixtures of `nets/priors.py` on what the data engine draws: training clips, drawn hands and faces."""

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2
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
KINDS = {"body": 1, "hand": 4, "face": 1}
"""How many Gaussians."""


def measured() -> dict[str, NDArray[np.float32]]:
    """`body.mean` (M V), `body.covariance` (M V V), `body.weight` (M), and so on for hand and face: groups by k-means.

    The same on every machine up to rounding.
    """
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
        _, label = kmeans2(numbers, KINDS[kind], iter=100, minit="++", seed=SEED)
        groups = [numbers[label == k] for k in range(KINDS[kind])]
        found[f"{kind}.mean"] = np.stack([g.mean(0) for g in groups]).astype(np.float32)
        slack_of = np.diag(spread[kind] ** 2)
        found[f"{kind}.covariance"] = np.stack([np.cov(g.T) + slack_of for g in groups]).astype(np.float32)
        found[f"{kind}.weight"] = np.array([len(g) / DRAWS for g in groups], np.float32)
    return found
