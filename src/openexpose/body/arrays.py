"""What a body-model file holds, as plain numpy arrays: the hand-over between file readers and `body.stages`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Family = Literal["smplx", "smpl", "mano", "flame"]
"""Joint layout and keypoint layout: FreeBody is of family smplx, FreeHand of mano, FreeHead of flame."""


@dataclass(frozen=True)
class ModelArrays:
    """Constants of one body model. V vertices, F faces, J joints; float64 metres unless said.

    Model frame at rest (T-pose): +x the body's left, +y up, +z where the face looks (spec section 4).
    """

    family: Family
    label: str
    """What `doctor` prints and results carry, e.g. "SMPL-X neutral v1.1" or "FreeBody 1"."""
    v_template: NDArray[np.float64]
    """(V, 3) rest vertices."""
    faces: NDArray[np.int64]
    """(F, 3) vertex indices, counter-clockwise from outside."""
    shapedirs: NDArray[np.float64]
    """(V, 3, S) metres per unit beta."""
    exprdirs: NDArray[np.float64]
    """(V, 3, E) metres per unit expression coefficient; E may be 0."""
    posedirs: NDArray[np.float64]
    """(V, 3, P) metres per unit pose feature; P may be 0."""
    pose_features: NDArray[np.int64]
    """(P,) which of the 9 * (J - 1) entries of (R_k - I), k >= 1, row-major, drive the columns of `posedirs`."""
    J_regressor: NDArray[np.float64]
    """(J, V) rest joints from rest vertices."""
    weights: NDArray[np.float64]
    """(V, J) skinning weights, rows sum to one."""
    parents: NDArray[np.int64]
    """(J,) parent of each joint, -1 for the root; a parent stands before its children."""
    gender: str = "neutral"
    extra_vertices: NDArray[np.int64] | None = None
    """(K,) vertices that are keypoints after the joints, in the family's order."""
    static_faces: NDArray[np.int64] | None = None
    """(51,) faces of the landmarks that do not move over the surface."""
    static_bary: NDArray[np.float64] | None = None
    """(51, 3) barycentric weights on those faces."""
    dynamic_faces: NDArray[np.int64] | None = None
    """(79, 17) faces of the jaw contour for each yaw bin (spec 4.2)."""
    dynamic_bary: NDArray[np.float64] | None = None
    """(79, 17, 3)."""
    regressors: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    """Other joint sets from *posed* vertices: "j14" (14, V) LSP order, "h36m" (17, V)."""
    regions: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)
    """Named vertex ids: "left_hand", "right_hand", "head"; row order = vertex order of MANO / FLAME."""
    means: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    """Mean axis-angle poses and hand PCA as in the file: left_hand_mean (45,), left_hand_components (45, 45), ..."""
    sha256: str = ""
    """Of the file's bytes, so that results can say which model made them."""
