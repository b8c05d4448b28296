"""A finer copy of a body model: long edges are halved, so that hems, folds and sleeves have vertices to move."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from openexpose.body import ModelArrays
from openexpose.errors import ConfigError
from openexpose.render.scene import vertex_normals


def refined(arrays: ModelArrays, longest_m: float) -> ModelArrays:
    """The same body with a vertex in the middle of each rest edge longer than `longest_m`.

    Old vertices keep their numbers. New ones take the mean of their edge's ends in everything, and are lifted off the
    edge a little where the surface is curved. Landmarks are dropped: ask the original model for them.
    Source of the lift: Phong tessellation (Boubekeur and Alexa 2008), weight 0.6.
    """
    if longest_m <= 0:
        raise ConfigError(f"longest_m={longest_m}: must be positive")
    v, f = arrays.v_template, arrays.faces
    ends, middle_of = long_edges(v, f, longest_m)
    n = vertex_normals(v, f)
    a, b = ends[:, 0], ends[:, 1]
    middle = (v[a] + v[b]) / 2
    onto = [middle - ((middle - v[k]) * n[k]).sum(1, keepdims=True) * n[k] for k in (a, b)]
    lifted = middle + 0.6 * ((onto[0] + onto[1]) / 2 - middle)

    def blend(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.concatenate([x, (x[a] + x[b]) / 2])

    joints = np.concatenate([arrays.J_regressor, np.zeros((len(arrays.J_regressor), len(a)))], 1)
    return replace(
        arrays,
        label=f"{arrays.label}, refined",
        v_template=np.concatenate([v, lifted]),
        faces=_split(f, middle_of),
        shapedirs=blend(arrays.shapedirs),
        exprdirs=blend(arrays.exprdirs),
        posedirs=blend(arrays.posedirs),
        weights=blend(arrays.weights),
        J_regressor=joints,
        extra_vertices=None,
        static_faces=None,
        static_bary=None,
        dynamic_faces=None,
        dynamic_bary=None,
        regressors={},
        regions={},
    )


def long_edges(
    vertices_m: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"], longest_m: float
) -> tuple[Int[np.ndarray, "E 2"], Int[np.ndarray, "F 3"]]:
    """Ends of each long edge; for each side of each face (corner k to k + 1) its middle's number, -1 for none."""
    sides = np.stack([faces, np.roll(faces, -1, 1)], -1)
    length = np.linalg.norm(vertices_m[sides[..., 0]] - vertices_m[sides[..., 1]], axis=-1)
    ordered = np.sort(sides, -1)
    long = length > longest_m
    ends, inverse = np.unique(ordered[long], axis=0, return_inverse=True)
    middle_of = np.full(faces.shape, -1, np.int64)
    middle_of[long] = inverse.reshape(-1) + len(vertices_m)
    return ends, middle_of


def _split(faces: NDArray[np.int64], middle_of: NDArray[np.int64]) -> NDArray[np.int64]:
    """Each face as one to four: sides with a middle are cut there, so neighbours always fit."""
    out = [faces[(middle_of < 0).all(1)]]
    for k in range(3):  # one or two cut sides, turned so that the pattern starts at corner k
        corner, middle = np.roll(faces, -k, 1), np.roll(middle_of, -k, 1)
        one = (middle[:, 0] >= 0) & (middle[:, 1] < 0) & (middle[:, 2] < 0)
        c, m = corner[one], middle[one]
        out += [np.stack([c[:, 0], m[:, 0], c[:, 2]], 1), np.stack([m[:, 0], c[:, 1], c[:, 2]], 1)]
        two = (middle[:, 0] >= 0) & (middle[:, 1] >= 0) & (middle[:, 2] < 0)
        c, m = corner[two], middle[two]
        out += [
            np.stack([m[:, 0], c[:, 1], m[:, 1]], 1),
            np.stack([c[:, 0], m[:, 0], m[:, 1]], 1),
            np.stack([c[:, 0], m[:, 1], c[:, 2]], 1),
        ]
    every = (middle_of >= 0).all(1)
    c, m = faces[every], middle_of[every]
    out += [np.stack([c[:, 0], m[:, 0], m[:, 2]], 1), np.stack([m[:, 0], c[:, 1], m[:, 1]], 1)]
    out += [np.stack([m[:, 2], m[:, 1], c[:, 2]], 1), m]
    return np.concatenate(out)
