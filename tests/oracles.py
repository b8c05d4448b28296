"""Slow, obvious float64 twins of the body-model arithmetic: loops instead of einsum, vertices instead of shortcuts."""

import math

import numpy as np

from openexpose.body.arrays import ModelArrays


def rodrigues(aa: np.ndarray) -> np.ndarray:
    """(..., 3) axis-angle in radians -> (..., 3, 3)."""
    aa = np.asarray(aa, np.float64)
    out = np.zeros((*aa.shape[:-1], 3, 3))
    for i in np.ndindex(aa.shape[:-1]):
        angle = np.linalg.norm(aa[i])
        if angle < 1e-12:
            out[i] = np.eye(3)
            continue
        x, y, z = aa[i] / angle
        K = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
        out[i] = np.eye(3) + math.sin(angle) * K + (1 - math.cos(angle)) * K @ K
    return out


def random_rotations(rng: np.random.Generator, shape: tuple[int, ...], scale_rad: float = 0.6) -> np.ndarray:
    """(*shape, 3, 3) rotations about random axes."""
    return rodrigues(rng.standard_normal((*shape, 3)) * scale_rad)


def chain(m: ModelArrays, R: np.ndarray, rest_joints: np.ndarray) -> np.ndarray:
    """(J, 4, 4) absolute transforms of one body."""
    G = np.zeros((len(m.parents), 4, 4))
    for k, p in enumerate(m.parents):
        local = np.eye(4)
        local[:3, :3] = R[k]
        local[:3, 3] = rest_joints[k] - (rest_joints[p] if p >= 0 else 0)
        G[k] = local if p < 0 else G[p] @ local
    return G


def vertices_and_joints(
    m: ModelArrays, betas: np.ndarray, expression: np.ndarray, R: np.ndarray, root: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Posed vertices (V, 3) and joints (J, 3) of one body, metres."""
    rest = m.v_template.copy()
    for i, b in enumerate(betas):
        rest = rest + b * m.shapedirs[:, :, i]
    for i, e in enumerate(expression):
        rest = rest + e * m.exprdirs[:, :, i]
    rest_joints = m.J_regressor @ rest
    feature = np.concatenate([(R[k] - np.eye(3)).reshape(-1) for k in range(1, len(R))])[m.pose_features]
    corrected = rest.copy()
    for f, column in zip(feature, range(m.posedirs.shape[2]), strict=True):
        corrected = corrected + f * m.posedirs[:, :, column]
    G = chain(m, R, rest_joints)
    out = np.zeros_like(rest)
    for k in range(len(R)):
        moved = corrected @ G[k][:3, :3].T + (G[k][:3, 3] - G[k][:3, :3] @ rest_joints[k])
        out += m.weights[:, k : k + 1] * moved
    return out + root, G[:, :3, 3] + root


def keypoints(m: ModelArrays, vertices: np.ndarray, joints: np.ndarray, R: np.ndarray) -> np.ndarray:
    """(K, 3) keypoints of one body from its whole mesh, in the order of the family (spec 4.2-4.4)."""
    points = [joints]
    if m.extra_vertices is not None:
        points.append(vertices[m.extra_vertices])
    if m.static_faces is not None:
        points.append(np.stack([b @ vertices[m.faces[f]] for f, b in zip(m.static_faces, m.static_bary, strict=True)]))
    if m.dynamic_faces is not None:
        head = np.eye(3)
        for k in (0, 3, 6, 9, 12) if m.family == "smplx" else (0,):
            head = head @ R[k]
        y = -math.degrees(math.atan2(-head[2, 0], math.sqrt(head[0, 0] ** 2 + head[1, 0] ** 2)))
        theta = round(min(y, 39.0))
        row = theta if theta >= 0 else (39 - theta if theta >= -39 else 78)
        faces, bary = m.dynamic_faces[row], m.dynamic_bary[row]
        points.append(np.stack([b @ vertices[m.faces[f]] for f, b in zip(faces, bary, strict=True)]))
    out = np.concatenate(points)
    if m.family == "mano":
        finger = {"thumb": 13, "index": 1, "middle": 4, "ring": 10, "pinky": 7}
        order = [0] + [k for i, f in enumerate(finger) for k in (*range(finger[f], finger[f] + 3), 16 + i)]
        out = out[order]
    return out
