"""A batched triangle rasteriser in plain torch: many pictures at once, on a CPU or GPU, with nothing else installed.

Each triangle is expanded into the pixels of its bounding box; those inside write depth and triangle number, packed
into one 64-bit integer, with a scatter that keeps the smallest. The smallest is the same whatever the order,
so a GPU gives the same bytes each time. Pixel conventions are those of `geometry.camera`: centres are whole numbers.
Source: half-space rasterisation (Pineda 1988), perspective-correct interpolation (Blinn 1992).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from openexpose.errors import ConfigError, ShapeError

NOTHING = torch.iinfo(torch.int64).max
_TOUCH = 1e-5
"""Barycentric slack: neighbours overlap by this much rather than leave a crack between them."""


@dataclass(frozen=True, eq=False)
class Fragments:
    """What is seen through the middle of each pixel of B pictures."""

    mesh: Int[Tensor, "B H W"]
    """Row of the meshes, -1 for nothing."""
    face: Int[Tensor, "B H W"]
    """Face of that mesh, -1 for nothing."""
    bary: Float[Tensor, "B H W 3"]
    """Weights of the face's corners in space, not on the picture; 0 for nothing."""
    depth_m: Float[Tensor, "B H W"]
    """z in the camera frame, inf for nothing."""


@dataclass(frozen=True, eq=False)
class _Triangles:
    """Triangles that may cover a pixel's centre. T rows."""

    number: Tensor
    """Mesh row times faces plus face."""
    picture: Tensor
    low: Tensor
    """(T, 2) first column and row."""
    extent: Tensor
    """(T, 2) columns and rows."""
    corner: Tensor
    """(T, 2) first corner, pixels."""
    to_bary: Tensor
    """(T, 4) pixels from the first corner -> weights of second and third corner on the picture."""
    nearness: Tensor
    """(T, 3) 1 / z at the corners."""


def rasterise(
    points_m: Float[Tensor, "M V 3"],
    faces: Int[Tensor, "F 3"],
    K: Float[Tensor, "M 3 3"],
    picture: Int[Tensor, " M"],
    *,
    pictures: int,
    width_px: int,
    height_px: int,
    near_m: float = 0.02,
    chunk: int = 4_000_000,
) -> Fragments:
    """What B = `pictures` cameras see of M meshes that share their faces.

    points_m: metres in the frame of the mesh's camera (x right, y down, z away).   K: of each mesh's picture.
    picture: which picture each mesh stands in; several meshes of one picture hide each other.
    near_m: triangles with a corner nearer than this are left out.   chunk: pixel tests held in memory at once.
    Both sides of a triangle are drawn; collapsed ones (all corners at one point) cost next to nothing.
    Raises ShapeError for shapes that do not belong together, ConfigError for an empty picture.
    """
    M, F = len(points_m), len(faces)
    if len(K) != M or len(picture) != M:
        raise ShapeError(f"{M} meshes need as many K and picture numbers, got {len(K)} and {len(picture)}")
    if min(pictures, width_px, height_px, chunk) < 1 or near_m <= 0:
        raise ConfigError(f"{pictures} pictures of {width_px} x {height_px}, near_m={near_m}: all must be positive")
    if M * F >= 2**31:
        raise ConfigError(f"{M} meshes of {F} faces are too many for one call; split the batch")
    with torch.no_grad():
        t = _triangles(points_m, faces, K, picture, (width_px, height_px), near_m)
        keys = _nearest(t, pictures * width_px * height_px, width_px, height_px, chunk)
        return _resolved(t, keys, F, (pictures, height_px, width_px))


def _triangles(
    points_m: Tensor, faces: Tensor, K: Tensor, picture: Tensor, size_px: tuple[int, int], near_m: float
) -> _Triangles:
    z = points_m[..., 2]
    homogeneous = points_m @ K.mT
    px = homogeneous[..., :2] / torch.where(z > near_m, z, torch.nan)[..., None]
    corners = px[:, faces].flatten(0, 1)  # (M F, 3 corners, 2)
    near = (1 / z)[:, faces].flatten(0, 1)
    limit = torch.tensor(size_px, device=px.device) - 1
    low = corners.amin(1).ceil().clamp(min=0)
    high = torch.minimum(corners.amax(1).floor(), limit.to(px.dtype))
    seen = (low <= high).all(-1)  # false for the not-a-numbers of corners behind the camera
    a, b, c = corners.unbind(1)
    u, v = b - a, c - a
    area = u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]
    number = torch.nonzero(seen & (area.abs() > 1e-9))[:, 0]
    u, v, area = u[number], v[number], area[number]
    to_bary = torch.stack([v[:, 1], -v[:, 0], -u[:, 1], u[:, 0]], -1) / area[:, None]
    low_i, high_i = low[number].long(), high[number].long()
    return _Triangles(
        number=number,
        picture=picture.long()[number // len(faces)],
        low=low_i,
        extent=high_i - low_i + 1,
        corner=a[number],
        to_bary=to_bary,
        nearness=near[number],
    )


def _nearest(t: _Triangles, pixels: int, width_px: int, height_px: int, chunk: int) -> Tensor:
    """(pixels,) packed depth and row of the nearest triangle."""
    keys = torch.full((pixels,), NOTHING, dtype=torch.int64, device=t.corner.device)
    count = t.extent[:, 0] * t.extent[:, 1]
    upto = torch.cumsum(count, 0)
    total = int(upto[-1]) if len(upto) else 0
    first, done = 0, 0
    while first < len(count):
        last = int(torch.searchsorted(upto, done + chunk, right=True)) if total - done > chunk else len(count)
        last = max(last, first + 1)
        rows = torch.arange(first, last, device=count.device)
        row = torch.repeat_interleave(rows, count[first:last])
        place = torch.arange(len(row), device=row.device) - (upto - count)[row] + done
        x = t.low[row, 0] + place % t.extent[row, 0]
        y = t.low[row, 1] + torch.div(place, t.extent[row, 0], rounding_mode="floor")
        weights, nearness = _weights(t, row, x, y)
        inside = (weights >= -_TOUCH).all(-1)
        depth_bits = (1 / nearness[inside]).float().view(torch.int32).long()
        row, x, y = row[inside], x[inside], y[inside]
        pixel = (t.picture[row] * height_px + y) * width_px + x
        keys.scatter_reduce_(0, pixel, (depth_bits << 32) | row, "amin")
        first, done = last, int(upto[last - 1])
    return keys


def _weights(t: _Triangles, row: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Weights of the corners on the picture (N, 3), and 1 / z there (N,)."""
    corner, m = t.corner[row], t.to_bary[row]
    dx, dy = x - corner[:, 0], y - corner[:, 1]
    second = m[:, 0] * dx + m[:, 1] * dy
    third = m[:, 2] * dx + m[:, 3] * dy
    weights = torch.stack([1 - second - third, second, third], -1)
    near = t.nearness[row]
    nearness = (weights.clamp(0, 1) * near).sum(-1)
    return weights, nearness


def _resolved(t: _Triangles, keys: Tensor, faces: int, shape: tuple[int, int, int]) -> Fragments:
    B, H, W = shape
    hit = torch.nonzero(keys != NOTHING)[:, 0]
    row = keys[hit] & 0x7FFFFFFF
    in_picture = hit % (H * W)
    weights, _ = _weights(t, row, in_picture % W, torch.div(in_picture, W, rounding_mode="floor"))
    weights = weights.clamp(0, 1) * t.nearness[row]
    bary = torch.zeros((B * H * W, 3), dtype=t.corner.dtype, device=keys.device)
    bary[hit] = weights / weights.sum(-1, keepdim=True)
    depth = torch.full((B * H * W,), torch.inf, device=keys.device)
    depth[hit] = (keys[hit] >> 32).int().view(torch.float32)
    number = torch.full((B * H * W,), -1, dtype=torch.int64, device=keys.device)
    number[hit] = t.number[row]
    mesh = torch.div(number, faces, rounding_mode="floor")
    face = torch.where(number >= 0, number - mesh * faces, number)
    return Fragments(mesh.view(shape), face.view(shape), bary.view(B, H, W, 3), depth.view(shape))
