"""The random adults that shapes and joints are learnt from."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from openexpose.body.build_free.people import TPosed, into_tpose, sample_adults
from openexpose.body.build_free.source import Source

F64 = NDArray[np.float64]

SEED = 20260
PEOPLE = 1200
"""Random adults behind the shape components."""
MOUTH_WEIGHT = 0.05
"""How much teeth and tongue count in shape and expression components."""
HEAD_PEOPLE = 1500
LOCAL_SPREAD = 0.35
"""Standard deviation of Anny's local face changes (scale -1..1) in the head's own shapes."""
SIDE_SPREAD = 0.06
"""And of the difference between the two sides of a face."""
LOCAL_HEAD = ("cheek", "chin", "ear-", "eye", "forehead", "head-", "mouth", "nose", "neck")


@dataclass(frozen=True)
class Study:
    """What the build knows and the report measures against."""

    source: Source
    tposed: TPosed
    vertices: F64
    """(N, V, 3) random adults in the T-pose."""
    joints: F64
    """(N, 55, 3)."""
    coefficients: F64
    """(N, K) of those adults."""
    vertex_weight: F64
    """(V,) how much each vertex counts."""


def prepare(source: Source) -> Study:
    """Random adults in the T-pose."""
    tposed = into_tpose(source)
    coefficients = source.coefficients(sample_adults(source, PEOPLE, SEED))
    vertices, joints = tposed.people(coefficients)
    weight = np.ones(len(source.template))
    for group in ("tongue", "upper_teeth", "lower_teeth"):
        weight[source.groups[group]] = MOUTH_WEIGHT
    return Study(source, tposed, vertices, joints, coefficients, weight)


def head_people(study: Study, keep: NDArray[np.int64], root: int) -> F64:
    """(N, H, 3) random adult heads (vertices `keep`) with local changes of the face, root joint at the origin."""
    source, tposed = study.source, study.tposed
    rng = np.random.default_rng(SEED + 1)
    phenotypes = sample_adults(source, HEAD_PEOPLE, SEED + 1)
    local: dict[str, F64] = {}
    for name in source.local_names:
        if not any(part in name for part in LOCAL_HEAD):
            continue
        other = "r-" + name[2:] if name.startswith("l-") else "l-" + name[2:]
        base = local.get(other)
        if base is None or not name.startswith(("l-", "r-")):
            base = rng.normal(0, LOCAL_SPREAD, HEAD_PEOPLE)
        local[name] = np.clip(base + rng.normal(0, SIDE_SPREAD, HEAD_PEOPLE), -1, 1)
    coefficients = source.coefficients(phenotypes, local)
    heads = tposed.template[keep] + np.einsum("nk,kvc->nvc", coefficients, tposed.targets[:, keep], optimize=True)
    at = tposed.joints[root] + coefficients @ tposed.joint_targets[:, root]
    return np.asarray(heads - at[:, None], np.float64)
