"""A posed body as file formats and game engines see it: rest mesh, joints, weights, rotations, morphs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int

from openexpose.errors import DataError, ShapeError


@dataclass(frozen=True, eq=False)
class SkinnedMesh:
    """One body. V vertices, F faces, J joints; metres. Raises ShapeError or DataError when the parts do not fit.

    The body is v = sum_k w_k (G_k v_rest - G_k j_k + ...), the linear blend skinning of spec 4.1: joint k turns by
    `R_parent_child[k]` about its rest place, then everything moves by `root_m`. Pose correctives (SMPL's posedirs)
    are no skinning: add those of the pose to `vertices_rest_m`, or give them as a morph.
    """

    name: str
    vertices_rest_m: Float[np.ndarray, "V 3"]
    faces: Int[np.ndarray, "F 3"]
    joint_names: Sequence[str]
    parents: Int[np.ndarray, " J"]
    """-1 for the root, which is joint 0; a parent stands before its children."""
    joints_rest_m: Float[np.ndarray, "J 3"]
    weights: Float[np.ndarray, "V J"]
    """Not negative, rows sum to one."""
    R_parent_child: Float[np.ndarray, "J 3 3"]
    root_m: Float[np.ndarray, " 3"]
    """Added to everything after posing."""
    T_world_model: Float[np.ndarray, "4 4"] = field(default_factory=lambda: np.eye(4))
    """Rigid; where the posed body stands in the file's y-up world."""
    morphs: Mapping[str, Float[np.ndarray, "V 3"]] = field(default_factory=dict)
    """Offsets of the rest vertices at value 1, e.g. expressions."""
    morph_values: Mapping[str, float] = field(default_factory=dict)
    """Values of the morphs in this pose; 0 where absent."""
    vertex_colours: Float[np.ndarray, "V 3"] | None = None
    """sRGB 0..1."""
    colour: tuple[float, float, float] = (0.80, 0.62, 0.53)
    """sRGB 0..1, multiplied with the vertex colours if there are any."""

    def __post_init__(self) -> None:
        n, j = len(self.vertices_rest_m), len(self.parents)
        shapes = {
            "vertices_rest_m": (self.vertices_rest_m.shape, (n, 3)),
            "faces": (self.faces.shape, (len(self.faces), 3)),
            "joint_names": ((len(self.joint_names),), (j,)),
            "joints_rest_m": (self.joints_rest_m.shape, (j, 3)),
            "weights": (self.weights.shape, (n, j)),
            "R_parent_child": (self.R_parent_child.shape, (j, 3, 3)),
            "root_m": (self.root_m.shape, (3,)),
            "T_world_model": (self.T_world_model.shape, (4, 4)),
            **{f"morphs[{k!r}]": (m.shape, (n, 3)) for k, m in self.morphs.items()},
        }
        for what, (got, want) in shapes.items():
            if got != want:
                raise ShapeError(f"{self.name}: {what} has shape {got}, expected {want}")
        self._check_values()

    def _check_values(self) -> None:
        where = self.name
        if self.parents[0] != -1 or not ((self.parents[1:] >= 0) & (self.parents[1:] < np.arange(1, self.J))).all():
            raise DataError(f"{where}: parents must be -1 for joint 0 and an earlier joint for each other")
        if self.weights.min() < 0 or np.abs(self.weights.sum(axis=1) - 1).max() > 1e-3:
            raise DataError(f"{where}: skinning weights must be >= 0 with rows that sum to one")
        if self.faces.min() < 0 or self.faces.max() >= len(self.vertices_rest_m):
            raise DataError(f"{where}: faces name vertices that do not exist")
        R = self.R_parent_child
        if not np.allclose(R @ R.swapaxes(-1, -2), np.eye(3), atol=1e-4) or (np.linalg.det(R) < 0).any():
            raise DataError(f"{where}: R_parent_child holds matrices that are not rotations")
        turn = self.T_world_model[:3, :3]
        if not np.allclose(turn @ turn.T, np.eye(3), atol=1e-4) or np.linalg.det(turn) < 0:
            raise DataError(f"{where}: T_world_model is no rigid motion")
        unknown = sorted(set(self.morph_values) - set(self.morphs))
        if unknown:
            raise DataError(f"{where}: values for morphs that do not exist: {unknown[:3]}")
        numbers = (self.vertices_rest_m, self.joints_rest_m, self.root_m, *self.morphs.values())
        if not all(np.isfinite(x).all() for x in numbers):
            raise DataError(f"{where}: coordinates that are not finite")

    @property
    def J(self) -> int:  # noqa: N802 - the letter of the shapes above
        """Number of joints."""
        return len(self.parents)


@dataclass(frozen=True, eq=False)
class Influences:
    """The strongest joints of each vertex, strongest first."""

    joints: Int[np.ndarray, "V K"]
    """0 where the weight is 0."""
    weights: Float[np.ndarray, "V K"]
    """float32, rows sum to one."""
    dropped_max: float
    """Largest share of a vertex's weight that did not fit (before the rest was scaled to one)."""
    dropped_mean: float


def strongest(weights: Float[np.ndarray, "V J"], count: int) -> Influences:
    """The `count` largest weights of each row, scaled to sum to one, and how much was dropped."""
    if count < 1:
        raise DataError(f"{count} influences for each vertex: need at least 1")
    full = weights.astype(np.float64) / weights.sum(axis=1, keepdims=True)
    if full.shape[1] < count:
        full = np.pad(full, ((0, 0), (0, count - full.shape[1])))
    order = np.argsort(-full, axis=1, kind="stable")[:, :count]
    kept = np.take_along_axis(full, order, axis=1)
    dropped = np.maximum(1 - kept.sum(axis=1), 0)
    kept = (kept / kept.sum(axis=1, keepdims=True)).astype(np.float32)
    kept[:, 0] += (1 - kept.astype(np.float64).sum(axis=1)).astype(np.float32)
    return Influences(np.where(kept > 0, order, 0), kept, float(dropped.max()), float(dropped.mean()))
