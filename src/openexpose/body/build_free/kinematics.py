"""Small float64 numpy kinematics and skinning, used to build FreeBody and to measure it."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

F64 = NDArray[np.float64]


def rotation(rotvec_rad: F64) -> F64:
    """(..., 3, 3) rotation matrices of axis-angle vectors (..., 3)."""
    r = np.asarray(rotvec_rad, np.float64)
    return Rotation.from_rotvec(r.reshape(-1, 3)).as_matrix().reshape(*r.shape[:-1], 3, 3)


def rotvec(R: F64) -> F64:
    """(..., 3) axis-angle vectors in radians of rotation matrices (..., 3, 3)."""
    return Rotation.from_matrix(R.reshape(-1, 3, 3)).as_rotvec().reshape(*R.shape[:-2], 3)


def swing(a: F64, b: F64) -> F64:
    """(3, 3) shortest rotation that turns direction a onto direction b."""
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    axis = np.cross(a, b)
    s = float(np.linalg.norm(axis))
    if s < 1e-12:
        return np.eye(3)
    return rotation(axis / s * np.arctan2(s, float(a @ b)))


def frame(first: F64, second: F64) -> F64:
    """(3, 3) orthonormal columns: along `first`, along the part of `second` across it, and their cross product."""
    x = first / np.linalg.norm(first)
    y = second - (second @ x) * x
    y = y / np.linalg.norm(y)
    return np.stack([x, y, np.cross(x, y)], 1)


def split_twist(R: F64, axis: F64) -> tuple[F64, F64]:
    """Rotations (..., 3, 3) as swing @ twist, the twist being the part about `axis` (3,)."""
    q = Rotation.from_matrix(R.reshape(-1, 3, 3)).as_quat()
    axis = axis / np.linalg.norm(axis)
    along = q[:, :3] @ axis
    twist = np.concatenate([along[:, None] * axis, q[:, 3:]], 1)
    tiny = np.linalg.norm(twist, axis=1) < 1e-9
    twist[tiny] = [0.0, 0.0, 0.0, 1.0]
    T = Rotation.from_quat(twist).as_matrix().reshape(R.shape)
    return R @ np.swapaxes(T, -1, -2), T


def power(R: F64, t: float) -> F64:
    """The rotation that goes the fraction t of the way from identity to R."""
    return rotation(t * rotvec(R))


def about(R: F64, centre: F64) -> F64:
    """(..., 3, 4) rigid motion: turn by R about a point."""
    return np.concatenate([R, (centre - np.einsum("...ij,...j->...i", R, centre))[..., None]], -1)


def compose(A: F64, B: F64) -> F64:
    """(..., 3, 4) rigid motion: B first, then A."""
    R = A[..., :3] @ B[..., :3]
    t = np.einsum("...ij,...j->...i", A[..., :3], B[..., 3]) + A[..., 3]
    return np.concatenate([R, t[..., None]], -1)


def chain(local: F64, centres: F64, parents: tuple[int, ...]) -> F64:
    """(..., J, 3, 4) motion of each bone from rest: `local` turns (..., J, 3, 3) about `centres` (..., J, 3)."""
    own = about(local, np.broadcast_to(centres, (*local.shape[:-2], 3)))
    out: list[F64] = []
    for j, parent in enumerate(parents):
        out.append(own[..., j, :, :] if parent < 0 else compose(out[parent], own[..., j, :, :]))
    return np.stack(out, -3)


def skin(vertices: F64, weights: F64, motion: F64) -> F64:
    """(V, 3) linear blend skinning of rest vertices by bone motions (B, 3, 4)."""
    blended = np.tensordot(weights, motion, 1)
    return np.einsum("vij,vj->vi", blended[..., :3], vertices) + blended[..., 3]


def skin_dual(vertices: F64, weights: F64, motion: F64) -> F64:
    """(V, 3) dual-quaternion skinning (Kavan et al. 2007) of rest vertices by bone motions (B, 3, 4)."""
    q = Rotation.from_matrix(motion[..., :3]).as_quat()
    pivot = np.argmax(weights, 1)
    t = motion[..., 3]
    dual = 0.5 * np.concatenate([t * q[:, 3:] + np.cross(t, q[:, :3]), -np.einsum("bi,bi->b", t, q[:, :3])[:, None]], 1)
    signs = np.where(q[pivot] @ q.T < 0, -1.0, 1.0) * weights
    real, moved = signs @ q, signs @ dual
    length = np.linalg.norm(real, axis=1, keepdims=True)
    real, moved = real / length, moved / length
    v, w = real[:, :3], real[:, 3:]
    shift = 2 * (w * moved[:, :3] - moved[:, 3:] * v + np.cross(v, moved[:, :3]))
    return vertices + 2 * np.cross(v, np.cross(v, vertices) + w * vertices) + shift
