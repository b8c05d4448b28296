"""OpenCV 4's warpAffine for 8-bit bilinear sampling, from its arithmetic: positions in 1/32 px, weights in 2**-15.

The stored pictures of the reference were made by it; OpenCV 5 samples exactly instead and differs by a few grey levels.
"""

import numpy as np


def warp_affine(source, T_out_source, size):
    """Return uint8 pixels, black outside; bit for bit what OpenCV 4.8 gives."""
    width, height = size
    A, shift = T_out_source[:, :2], T_out_source[:, 2]
    scale = 1 / (A[0, 0] * A[1, 1] - A[0, 1] * A[1, 0])
    inverse = np.array([[A[1, 1], -A[0, 1]], [-A[1, 0], A[0, 0]]]) * scale
    back = -inverse[:, 0] * shift[0] - inverse[:, 1] * shift[1]
    steps = [np.rint(inverse[i, 0] * np.arange(width) * 1024).astype(np.int64) for i in (0, 1)]
    starts = [np.rint((inverse[i, 1] * np.arange(height) + back[i]) * 1024).astype(np.int64) + 16 for i in (0, 1)]
    x, y = ((start[:, None] + step) >> 5 for start, step in zip(starts, steps, strict=True))
    fine = np.stack([1 - np.arange(32) / 32, np.arange(32) / 32], -1)
    weights = np.rint(fine[:, None, :, None] * fine[None, :, None, :] * 32768).astype(np.int64)[y & 31, x & 31]
    rows, columns = source.shape[:2]
    total = np.zeros((height, width, 3), np.int64)
    for down in (0, 1):
        for right in (0, 1):
            r, c = (y >> 5) + down, (x >> 5) + right
            inside = (r >= 0) & (r < rows) & (c >= 0) & (c < columns)
            pixel = source[np.clip(r, 0, rows - 1), np.clip(c, 0, columns - 1)] * inside[..., None]
            total += pixel * weights[..., down, right, None]
    return np.clip((total + (1 << 14)) >> 15, 0, 255).astype(np.uint8)
