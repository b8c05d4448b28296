"""Contents of body-model files as their authors lay them out: real names, counts and types, made-up numbers."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from toy_models import FLAME_PARENTS, MANO_PARENTS, SMPL_PARENTS, SMPLX_PARENTS

COUNTS = {
    "smplx": (10475, 20908, SMPLX_PARENTS),
    "smpl": (6890, 13776, SMPL_PARENTS),
    "mano": (778, 1538, MANO_PARENTS),
    "flame": (5023, 9976, FLAME_PARENTS),
}


def content(family: str, columns: int, seed: int = 0, *, left: bool = False) -> dict[str, Any]:
    """The dictionary of a model file with `columns` shape columns; float32 where the real files have float64."""
    V, F, parents = COUNTS[family]
    J = len(parents)
    rng = np.random.default_rng([seed, V])
    joints_m = np.zeros((J, 3))
    for k in range(1, J):
        joints_m[k] = joints_m[parents[k]] + 0.05 * rng.standard_normal(3) - [0.1 * (family == "mano"), 0, 0]
    home = np.arange(V) % J
    v_template = joints_m[home] + 0.01 * rng.standard_normal((V, 3))
    J_regressor = np.zeros((J, V))
    for k in range(J):
        J_regressor[k, np.flatnonzero(home == k)[:5]] = 0.2
    weights = np.zeros((V, J))
    weights[np.arange(V), home] = 1
    if left:
        v_template[:, 0] *= -1
    out = {
        "v_template": v_template,
        "f": rng.integers(0, V, (F, 3)).astype(np.uint32),
        "shapedirs": _numbers(rng, (V, 3, columns), 0.01),
        "posedirs": _numbers(rng, (V, 3, 9 * (J - 1)), 0.001),
        "J_regressor": J_regressor if family == "smplx" else sparse.csc_matrix(J_regressor),
        "weights": weights,
        "kintree_table": np.array([[2**32 - 1, *parents[1:]], range(J)], np.uint32),
        "bs_style": "lbs",
    }
    if family == "smplx":
        for letter in "lr":
            out |= {f"hands_mean{letter}": rng.random(45), f"hands_components{letter}": rng.random((45, 45))}
        out |= {"lmk_faces_idx": rng.integers(0, F, 51), "lmk_bary_coords": rng.random((51, 3))}
        out |= {
            "dynamic_lmk_faces_idx": rng.integers(0, F, (79, 17)),
            "dynamic_lmk_bary_coords": rng.random((79, 17, 3)),
        }
    if family == "mano":
        out |= {"hands_mean": rng.random(45), "hands_components": rng.random((45, 45))}
    return out


def embedding(lead: tuple[int, ...], seed: int = 0) -> dict[str, NDArray[Any]]:
    """A FLAME landmark embedding: (51,) or (79, 17)."""
    rng = np.random.default_rng([seed, *lead])
    return {"lmk_face_idx": rng.integers(0, 9976, lead).astype(np.uint32), "lmk_b_coords": rng.random((*lead, 3))}


def _numbers(rng: np.random.Generator, shape: tuple[int, ...], scale: float) -> NDArray[np.float32]:
    """Cheap numbers for the large blocks: a short random row, repeated with an odd period."""
    return np.resize(scale * rng.standard_normal(9973).astype(np.float32), shape)
