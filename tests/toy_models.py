"""Body models from a seed, in memory: right joints and keypoints of each family, few vertices, no licensed file."""

import numpy as np
from numpy.typing import NDArray

from openexpose.body.arrays import Family, ModelArrays

SMPLX_PARENTS = (
    -1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 15, 15, 15,
    20, 25, 26, 20, 28, 29, 20, 31, 32, 20, 34, 35, 20, 37, 38,
    21, 40, 41, 21, 43, 44, 21, 46, 47, 21, 49, 50, 21, 52, 53,
)  # fmt: skip
SMPL_PARENTS = (*SMPLX_PARENTS[:22], 20, 21)
MANO_PARENTS = (-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14)
FLAME_PARENTS = (-1, 0, 1, 1, 1)


def toy_smplx(seed: int, V: int = 160, betas: int = 10, expressions: int = 10) -> ModelArrays:
    """A SMPL-X lookalike: 55 joints, 144 keypoints, "j14", hand and head regions, hand means."""
    return _toy("smplx", SMPLX_PARENTS, seed, V, betas, expressions, extra=21)


def toy_smpl(seed: int, V: int = 120, betas: int = 10) -> ModelArrays:
    """A SMPL lookalike: 24 joints, 45 keypoints, "h36m"."""
    return _toy("smpl", SMPL_PARENTS, seed, V, betas, 0, extra=21)


def toy_mano(seed: int, V: int = 80, betas: int = 10) -> ModelArrays:
    """A right-hand MANO lookalike: 16 joints, 21 keypoints."""
    return _toy("mano", MANO_PARENTS, seed, V, betas, 0, extra=5)


def toy_flame(seed: int, V: int = 100, betas: int = 100, expressions: int = 50) -> ModelArrays:
    """A FLAME lookalike: 5 joints, 73 keypoints."""
    return _toy("flame", FLAME_PARENTS, seed, V, betas, expressions, extra=0)


def _toy(
    family: Family, parents: tuple[int, ...], seed: int, V: int, S: int, E: int, *, extra: int
) -> ModelArrays:  # fmt: skip
    rng = np.random.default_rng([seed, len(parents)])
    J, F = len(parents), 2 * V
    joints_m = np.zeros((J, 3))
    for k in range(1, J):
        joints_m[k] = joints_m[parents[k]] + 0.1 * rng.standard_normal(3)
    if family == "mano":
        joints_m[1:, 0] -= 0.3  # a right hand points to -x
    home = rng.integers(0, J, V)
    home[:J] = np.arange(J)
    v_template = joints_m[home] + 0.02 * rng.standard_normal((V, 3))
    landmarks = family in ("smplx", "flame")
    return ModelArrays(
        family=family,
        label=f"toy {family}",
        v_template=v_template,
        faces=np.stack([rng.permutation(V)[:3] for _ in range(F)]),
        shapedirs=0.01 * rng.standard_normal((V, 3, S)),
        exprdirs=0.01 * rng.standard_normal((V, 3, E)),
        posedirs=0.001 * rng.standard_normal((V, 3, 9 * (J - 1))),
        pose_features=np.arange(9 * (J - 1)),
        J_regressor=_shares(rng, (J, V), keep=4),
        weights=_shares(rng, (V, J), keep=4),
        parents=np.array(parents),
        extra_vertices=rng.choice(V, extra, replace=False) if extra else None,
        static_faces=rng.integers(0, F, 51) if landmarks else None,
        static_bary=_shares(rng, (51, 3), keep=3) if landmarks else None,
        dynamic_faces=rng.integers(0, F, (79, 17)) if landmarks else None,
        dynamic_bary=_shares(rng, (79 * 17, 3), keep=3).reshape(79, 17, 3) if landmarks else None,
        regressors={
            n: _shares(rng, (k, V), keep=6) for n, k, f in (("j14", 14, "smplx"), ("h36m", 17, "smpl")) if f == family
        },
        regions=_regions(rng, V) if family == "smplx" else {},
        means=_means(rng, family),
        sha256=f"{seed:064x}",
    )


def _shares(rng: np.random.Generator, shape: tuple[int, int], *, keep: int) -> NDArray[np.float64]:
    """Rows of positive shares that sum to one, all but `keep` of them zero."""
    values = rng.random(shape) + 0.1
    order = np.argsort(rng.random(shape), axis=1)
    values[order >= keep] = 0
    return values / values.sum(axis=1, keepdims=True)


def _regions(rng: np.random.Generator, V: int) -> dict[str, NDArray[np.int64]]:
    ids = rng.permutation(V)
    n = V // 5
    return {"left_hand": ids[:n], "right_hand": ids[n : 2 * n], "head": ids[2 * n : 4 * n]}


def _means(rng: np.random.Generator, family: Family) -> dict[str, NDArray[np.float64]]:
    sides = {"smplx": ("left", "right"), "mano": ("right",)}.get(family, ())
    out: dict[str, NDArray[np.float64]] = {}
    for side in sides:
        out[f"{side}_hand_mean"] = 0.2 * rng.standard_normal(45)
        out[f"{side}_hand_components"] = np.linalg.qr(rng.standard_normal((45, 45)))[0]
    return out
