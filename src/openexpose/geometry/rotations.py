"""Conversions between rotation matrices and the other ways to write a rotation, plus mirroring and chains.

Inside the package a rotation is always a 3x3 matrix; the other forms exist only at the edges. Names read from_to.
"""

from collections.abc import Sequence
from functools import reduce

import roma
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from openexpose.errors import ShapeError

SIXD_IDENTITY = (1.0, 0.0, 0.0, 1.0, 0.0, 0.0)
"""The identity in the interleaved 6D form."""
SIXD_UPSIDE_DOWN = (1.0, 0.0, 0.0, -1.0, 0.0, 0.0)
"""diag(1, -1, -1), half a turn about x: a y-up body seen by a camera whose y points down."""


def sixd_to_matrix(sixd: Float[Tensor, "*B 6"]) -> Float[Tensor, "*B 3 3"]:
    """Rotation matrices from the continuous 6D form, by Gram-Schmidt.

    sixd: a row-major 3x2 matrix whose *columns* are the first two columns of the rotation, so the numbers are
    interleaved (a1x, a2x, a1y, a2y, a1z, a2z). This is ExPose's form, not PyTorch3D's, which stores rows.
    Raises ShapeError if the last axis is not 6. Source: Zhou et al. 2019, appendix B; spec 2.3.
    """
    _last_axes(sixd, (6,), "sixd")
    columns = sixd.reshape(*sixd.shape[:-1], 3, 2)
    a1, a2 = columns.unbind(-1)
    b1 = functional.normalize(a1, dim=-1)
    b2 = functional.normalize(a2 - (b1 * a2).sum(-1, keepdim=True) * b1, dim=-1)
    return torch.stack([b1, b2, torch.linalg.cross(b1, b2)], -1)


def matrix_to_sixd(R: Float[Tensor, "*B 3 3"]) -> Float[Tensor, "*B 6"]:
    """The interleaved 6D form of rotation matrices: their first two columns, row by row.

    Raises ShapeError if the last axes are not 3x3.
    """
    _last_axes(R, (3, 3), "R")
    return R[..., :2].reshape(*R.shape[:-2], 6)


def axis_angle_to_matrix(axis_angle_rad: Float[Tensor, "*B 3"]) -> Float[Tensor, "*B 3 3"]:
    """Rotation matrices from axis times angle in radians. Raises ShapeError if the last axis is not 3."""
    _last_axes(axis_angle_rad, (3,), "axis_angle_rad")
    flat: Tensor = roma.rotvec_to_rotmat(axis_angle_rad.reshape(-1, 3))
    return flat.reshape(*axis_angle_rad.shape[:-1], 3, 3)


def matrix_to_axis_angle(R: Float[Tensor, "*B 3 3"]) -> Float[Tensor, "*B 3"]:
    """Axis times angle in radians, angle within [0, pi]. Raises ShapeError if the last axes are not 3x3."""
    _last_axes(R, (3, 3), "R")
    flat: Tensor = roma.rotmat_to_rotvec(R.reshape(-1, 3, 3))
    return flat.reshape(*R.shape[:-2], 3)


def quaternion_to_matrix(wxyz: Float[Tensor, "*B 4"]) -> Float[Tensor, "*B 3 3"]:
    """Rotation matrices from quaternions, scalar first; they are normalised on the way.

    Raises ShapeError if the last axis is not 4.
    """
    _last_axes(wxyz, (4,), "wxyz")
    xyzw = functional.normalize(wxyz.reshape(-1, 4), dim=-1)[:, [1, 2, 3, 0]]
    flat: Tensor = roma.unitquat_to_rotmat(xyzw)
    return flat.reshape(*wxyz.shape[:-1], 3, 3)


def matrix_to_quaternion(R: Float[Tensor, "*B 3 3"]) -> Float[Tensor, "*B 4"]:
    """Unit quaternions, scalar first and not negative. Raises ShapeError if the last axes are not 3x3."""
    _last_axes(R, (3, 3), "R")
    xyzw: Tensor = roma.rotmat_to_unitquat(R.reshape(-1, 3, 3))
    wxyz = xyzw[:, [3, 0, 1, 2]]
    wxyz = torch.where(wxyz[:, :1] < 0, -wxyz, wxyz)
    return wxyz.reshape(*R.shape[:-2], 4)


def mirror(R: Float[Tensor, "*B 3 3"]) -> Float[Tensor, "*B 3 3"]:
    """The same rotations seen in a mirror across the y-z plane: M R M with M = diag(-1, 1, 1).

    Turns a left hand's pose into the right hand's and back. Raises ShapeError if the last axes are not 3x3.
    """
    _last_axes(R, (3, 3), "R")
    sign = R.new_ones(3, 3)
    sign[0, 1:] = -1
    sign[1:, 0] = -1
    return R * sign


def absolute(R_parent_child: Float[Tensor, "*B J 3 3"], chain: Sequence[int]) -> Float[Tensor, "*B 3 3"]:
    """Rotation of the last joint of `chain` in the frame that the first joint's parent lives in.

    R_parent_child: every joint's rotation relative to its parent. chain: joint numbers from the root outwards.
    Raises ShapeError if the chain is empty or names a joint that is not there.
    """
    _last_axes(R_parent_child, (3, 3), "R_parent_child")
    J = R_parent_child.shape[-3]
    if not chain or not all(0 <= j < J for j in chain):
        raise ShapeError(f"chain {tuple(chain)} must name joints 0 to {J - 1}, at least one")
    return reduce(torch.matmul, (R_parent_child[..., j, :, :] for j in chain))


def _last_axes(x: Tensor, want: tuple[int, ...], name: str) -> None:
    if tuple(x.shape[-len(want) :]) != want:
        raise ShapeError(f"{name} must end in {want}, got shape {tuple(x.shape)}")
