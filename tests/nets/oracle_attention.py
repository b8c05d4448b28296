"""Spec section 3 again, slowly: numpy, float64, one person at a time, loops instead of index tricks.

Written from the specification alone; the networks' code is not imported. Crops are sampled pixel by pixel.
"""

import numpy as np

MEAN = np.array([123.675, 116.28, 103.53])
STD = np.array([58.395, 57.12, 57.375])
RIGHT = [*range(40, 55), *range(71, 76), 21]
LEFT = [*range(25, 40), *range(66, 71), 20]
HEAD = [15, 22, 23, 24, *range(55, 60), *range(76, 144)]
RIGHT_CHAIN = [0, 3, 6, 9, 14, 17, 19, 21]
LEFT_CHAIN = [0, 3, 6, 9, 13, 16, 18, 20]
M = np.diag([-1.0, 1.0, 1.0])


def mir(R):
    return M @ R @ M


def sixd(R):
    return np.array([R[r, c] for r in range(3) for c in range(2)])


def from_sixd(x):
    a1, a2 = np.array(x[0::2], float), np.array(x[1::2], float)
    b1 = a1 / np.linalg.norm(a1)
    b2 = a2 - (b1 @ a2) * b1
    b2 = b2 / np.linalg.norm(b2)
    return np.column_stack([b1, b2, np.cross(b1, b2)])


def softplus(x):
    return np.log1p(np.exp(x))


def absolute(root, body_pose, chain):
    R = np.eye(3)
    for j in chain:
        R = R @ (root if j == 0 else body_pose[j - 1])
    return R


def box(joints_m, camera, subset, factor, A, scale, size=256):
    """Centre and side in the photo."""
    s, tx, ty = camera
    u = s * (joints_m[:, :2] + np.array([tx, ty]))
    q = (u * 0.5 + 0.5) * (size - 1)
    lo, hi = q[subset].min(0), q[subset].max(0)
    width = max(hi - lo) * factor
    full = np.vstack([A, [0, 0, 1]])
    centre = np.linalg.inv(full) @ np.array([*(lo + hi) / 2, 1.0])
    return centre[:2], width / size * scale


def crop(photo, centre, side, S):
    """(3, S, S): every output pixel on its own, outside the photo zero after normalisation."""
    H, W, _ = photo.shape
    normal = (photo.astype(float) - MEAN) / STD
    out = np.zeros((3, S, S))
    for r in range(S):
        for k in range(S):
            x = centre[0] - side / 2 + side * k / (S - 1)
            y = centre[1] - side / 2 + side * r / (S - 1)
            x0, y0 = int(np.floor(x)), int(np.floor(y))
            for yy, wy in ((y0, 1 - (y - y0)), (y0 + 1, y - y0)):
                for xx, wx in ((x0, 1 - (x - x0)), (x0 + 1, x - x0)):
                    if 0 <= xx < W and 0 <= yy < H:
                        out[:, r, k] += wx * wy * normal[yy, xx]
    return out


def body_params(v, S=10, E=10):
    """One vector of 341 by name."""
    rot = [from_sixd(v[6 * i : 6 * i + 6]) for i in range(53)]
    return {
        "global_orient": rot[0],
        "body_pose": rot[1:22],
        "left_hand_pose": rot[22:37],
        "right_hand_pose": rot[37:52],
        "jaw_pose": rot[52],
        "betas": v[318 : 318 + S],
        "expression": v[318 + S : 318 + S + E],
        "camera": np.array([softplus(v[-3]), v[-2], v[-1]]),
    }


def hand_conditions(v, hand_mean):
    p = body_params(v)
    right = absolute(p["global_orient"], p["body_pose"], RIGHT_CHAIN)
    left = absolute(p["global_orient"], p["body_pose"], LEFT_CHAIN)
    left_fingers = np.concatenate([sixd(mir(R)) for R in p["left_hand_pose"]])
    return (
        np.concatenate([sixd(right), v[222:312], hand_mean[96:109]]),
        np.concatenate([sixd(mir(left)), left_fingers, hand_mean[96:109]]),
    )


def head_condition(v, head_mean):
    p = body_params(v)
    padded = np.concatenate([p["expression"], np.zeros(40)])
    return np.concatenate([head_mean[:6], v[312:318], head_mean[12:112], padded, head_mean[162:165]])


def merged(v, right_vector, left_vector, head_vector):
    """The body's params with the parts written in."""
    p = body_params(v)
    elbow_right = absolute(p["global_orient"], p["body_pose"], RIGHT_CHAIN[:-1])
    elbow_left = absolute(p["global_orient"], p["body_pose"], LEFT_CHAIN[:-1])
    out = dict(p)
    out["body_pose"] = list(p["body_pose"])
    out["body_pose"][20] = elbow_right.T @ from_sixd(right_vector[:6])
    out["body_pose"][19] = mir(mir(elbow_left).T @ from_sixd(left_vector[:6]))
    out["right_hand_pose"] = [from_sixd(right_vector[6 + 6 * i : 12 + 6 * i]) for i in range(15)]
    out["left_hand_pose"] = [mir(from_sixd(left_vector[6 + 6 * i : 12 + 6 * i])) for i in range(15)]
    out["jaw_pose"] = from_sixd(head_vector[6:12])
    out["expression"] = head_vector[112:122]
    return out
