"""The arithmetic of every body model: kinematic chain, blend shapes, linear blend skinning.

Source: Loper et al. 2015 (SMPL), equations 2-10; spec section 4.1. Layout inside this file is chosen for speed:
coordinates stand *before* vertices, (*B 3 V), so that every step is one matrix product or one streaming pass.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from openexpose.errors import ShapeError


_BODIES_IN_CACHE = 8


@dataclass(frozen=True)
class Tree:
    """A kinematic tree, cut into generations that can be turned together."""

    parents: tuple[int, ...]
    """Parent of each joint, -1 for the root; a parent stands before its children."""
    levels: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]
    """(joints, their parents' places in the previous generation), root's children first."""
    order: tuple[int, ...]
    """Place of joint k in the concatenation of the root and all generations."""

    @staticmethod
    def of(parents: tuple[int, ...]) -> "Tree":
        """The generations of a parent list. Raises ShapeError if it is not one tree with its root first."""
        if not parents or parents[0] != -1 or any(not 0 <= p < k for k, p in enumerate(parents) if k):
            raise ShapeError(f"parents {parents} are not one tree: joint 0 must be -1, others a smaller index")
        levels: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
        last, flat = [0], [0]
        while True:
            joints = [k for k, p in enumerate(parents) if k and p in last]
            if not joints:
                break
            levels.append((tuple(joints), tuple(last.index(parents[k]) for k in joints)))
            flat += joints
            last = joints
        return Tree(parents, tuple(levels), tuple(flat.index(k) for k in range(len(parents))))

    def chain(self, joint: int) -> tuple[int, ...]:
        """Joints from the root down to `joint`, both included."""
        path = [joint]
        while self.parents[path[0]] >= 0:
            path.insert(0, self.parents[path[0]])
        return tuple(path)


def forward_kinematics(
    R_parent_child: Float[Tensor, "B J 3 3"], rest_joints_m: Float[Tensor, "B J 3"], tree: Tree
) -> tuple[Float[Tensor, "B J 3 3"], Float[Tensor, "B J 3"]]:
    """Absolute rotations and positions (metres) of all joints; joint 0 stays at its rest place.

    R_parent_child: rotations relative to the parent. rest_joints_m: rest positions. One batched product a generation.
    """
    R, t = [R_parent_child[:, :1]], [rest_joints_m[:, :1]]
    parents = torch.tensor(tree.parents[1:], device=rest_joints_m.device)
    bones = rest_joints_m[:, 1:] - rest_joints_m[:, parents]
    for joints, above in tree.levels:
        k = torch.tensor(joints, device=bones.device)
        a = torch.tensor(above, device=bones.device)
        R_above = R[-1][:, a]
        t.append(t[-1][:, a] + (R_above @ bones[:, k - 1, :, None])[..., 0])
        R.append(R_above @ R_parent_child[:, k])
    order = torch.tensor(tree.order, device=bones.device)
    return torch.cat(R, 1)[:, order], torch.cat(t, 1)[:, order]


def pose_features(R_parent_child: Float[Tensor, "B J 3 3"]) -> Float[Tensor, "B F"]:
    """(R_k - I) of all joints but the root, row-major: what the pose correctives are linear in; F = 9 * (J - 1)."""
    eye = torch.eye(3, dtype=R_parent_child.dtype, device=R_parent_child.device)
    return (R_parent_child[:, 1:] - eye).flatten(1)


class Patch(nn.Module):
    """Constants of some vertices (all of them, or just those that landmarks touch), ready to be shaped and posed.

    Buffers are not persistent: a body model never enters a network's state dict.
    """

    template: Tensor
    shapedirs: Tensor
    posedirs: Tensor
    weights: Tensor
    feature_ids: Tensor

    def __init__(
        self, template: Tensor, shapedirs: Tensor, posedirs: Tensor, weights: Tensor, feature_ids: Tensor, all_features: bool
    ) -> None:
        """From (3, V), (C, 3V), (P, 3V), (J, V) and the P pose features in use."""
        super().__init__()
        self.all_features = all_features
        for name, value in (
            ("template", template),
            ("shapedirs", shapedirs),
            ("posedirs", posedirs),
            ("weights", weights),
            ("feature_ids", feature_ids),
        ):
            self.register_buffer(name, value, persistent=False)

    @property
    def size(self) -> int:
        """How many vertices."""
        return self.template.shape[1]

    def take(self, ids: Tensor) -> "Patch":
        """The same constants for some of the vertices, copied."""
        rows = [d.view(d.shape[0], 3, self.size)[:, :, ids].flatten(1).clone() for d in (self.shapedirs, self.posedirs)]
        return Patch(
            self.template[:, ids].clone(), *rows, self.weights[:, ids].clone(), self.feature_ids, self.all_features
        )

    def shape(self, coeffs: Float[Tensor, "B C"]) -> Float[Tensor, "B 3 V"]:
        """Rest vertices in metres."""
        return torch.addmm(self.template.view(1, -1), coeffs, self.shapedirs).view(-1, 3, self.size)

    def correct(self, rest: Float[Tensor, "B 3 V"], features: Float[Tensor, "B F"]) -> Float[Tensor, "B 3 V"]:
        """Rest vertices plus pose correctives."""
        if not self.posedirs.shape[0]:
            return rest
        used = features if self.all_features else features[:, self.feature_ids]
        if len(used) == 1 and len(self.posedirs) % 2 == 0 and not used.is_cuda:
            # One body reads all of posedirs once: memory-bound. Two halves keep two cores reading (measured 1.5x).
            half = torch.bmm(used.view(2, 1, -1), self.posedirs.view(2, -1, self.posedirs.shape[1]))
            return rest + half.sum(0).view_as(rest)
        return torch.addmm(rest.flatten(1), used, self.posedirs).view_as(rest)

    def skin(self, corrected: Float[Tensor, "B 3 V"], moves: Float[Tensor, "B 12 J"]) -> Float[Tensor, "B V 3"]:
        """Vertices carried by the joints. moves: rows of [R | t] that take a rest point to its posed place.

        On a CPU a few bodies at a time, so that their 12 numbers a vertex stay in the cache (measured 2x at batch 64).
        """
        if corrected.is_cuda or len(corrected) <= _BODIES_IN_CACHE:
            return self._skin(corrected, moves)
        pieces = zip(corrected.split(_BODIES_IN_CACHE), moves.split(_BODIES_IN_CACHE), strict=True)
        return torch.cat([self._skin(c, m) for c, m in pieces])

    def _skin(self, corrected: Tensor, moves: Tensor) -> Tensor:
        T = (moves.flatten(0, 1) @ self.weights).view(len(corrected), 3, 4, self.size)
        x, y, z = corrected.unsqueeze(1).unbind(2)
        return T[:, :, 3].addcmul(T[:, :, 0], x).addcmul(T[:, :, 1], y).addcmul(T[:, :, 2], z).mT


def rest_to_posed(
    R_model_joint: Float[Tensor, "B J 3 3"], joints_m: Float[Tensor, "B J 3"], rest_joints_m: Float[Tensor, "B J 3"]
) -> Float[Tensor, "B 12 J"]:
    """For each joint the affine [R | t] that carries rest points attached to it, as 12 numbers (3 x 4, row-major)."""
    t = joints_m[..., None] - R_model_joint @ rest_joints_m[..., None]
    return torch.cat([R_model_joint, t], -1).flatten(2).mT
