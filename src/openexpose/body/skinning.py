"""The arithmetic of every body model: kinematic chain, blend shapes, linear blend skinning.

Source: Loper et al. 2015 (SMPL), equations 2-10; spec section 4.1.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import embedding_bag

from openexpose.errors import ShapeError

_CACHED_NUMBERS = 2**19
"""How many numbers of a temporary stay in a core's cache."""
_FEW_JOINTS = 8
"""Up to so many joints a vertex, gathering them beats the dense product on a CPU (measured 3x at 4 joints)."""


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

    Inside, the batch is the *last* axis, (V 3 B): every step is then one product of a constant matrix with a thin one.
    Buffers are not persistent: a body model never enters a network's state dict.
    """

    template: Tensor
    shapedirs: Tensor
    posedirs: Tensor
    weights: Tensor
    feature_ids: Tensor
    near_weights: Tensor | None
    near_joints: Tensor | None

    def __init__(
        self,
        template: Float[Tensor, "V 3"],
        shapedirs: Float[Tensor, "V 3 C"],
        posedirs: Float[Tensor, "V 3 P"],
        weights: Float[Tensor, "V J"],
        feature_ids: Int[Tensor, " P"],
    ) -> None:
        """feature_ids: which pose features drive the columns of posedirs."""
        super().__init__()
        self.size, self.feature_count = template.shape[0], len(feature_ids)
        self.all_features = self.feature_count == 9 * (weights.shape[1] - 1)
        for name, value in (
            ("template", template),
            ("shapedirs", shapedirs),
            ("posedirs", posedirs),
            ("weights", weights),
            ("feature_ids", feature_ids),
        ):
            self.register_buffer(name, value.contiguous(), persistent=False)
        most = int((weights != 0).sum(1).max()) if len(weights) else 0
        top = weights.topk(most, 1) if most <= _FEW_JOINTS else None
        self.register_buffer("near_weights", None if top is None else top.values.contiguous(), persistent=False)
        self.register_buffer("near_joints", None if top is None else top.indices.contiguous(), persistent=False)

    def take(self, ids: Int[Tensor, " U"]) -> "Patch":
        """The same constants for some of the vertices, copied."""
        return Patch(self.template[ids], self.shapedirs[ids], self.posedirs[ids], self.weights[ids], self.feature_ids)

    def shape(self, coeffs: Float[Tensor, "B C"]) -> Float[Tensor, "V 3 B"]:
        """Rest vertices in metres."""
        return self.template[..., None] + (self.shapedirs.flatten(0, 1) @ coeffs.T).view(self.size, 3, -1)

    def correct(self, rest: Float[Tensor, "V 3 B"], features: Float[Tensor, "B F"]) -> Float[Tensor, "V 3 B"]:
        """Rest vertices plus pose correctives."""
        if not self.feature_count:
            return rest
        used = (features if self.all_features else features[:, self.feature_ids]).T
        if used.shape[1] == 1 and not used.is_cuda:
            # One body reads all of posedirs once. Cut along the vertices, both cores read (measured 4x on two cores).
            cut = math.gcd(self.size * 3, 60)
            step = torch.bmm(self.posedirs.view(cut, -1, self.feature_count), used.expand(cut, -1, 1))
            return rest + step.view(self.size, 3, 1)
        return torch.addmm(rest.flatten(0, 1), self.posedirs.flatten(0, 1), used).view_as(rest)

    def skin(self, corrected: Float[Tensor, "V 3 B"], moves: Float[Tensor, "J 12 B"]) -> Float[Tensor, "B V 3"]:
        """Vertices carried by the joints. moves: rows of [R | t] that take a rest point to its posed place.

        On a CPU a slice of vertices at a time, so that their 12 numbers a body stay in the cache (measured 2x).
        """
        if not corrected.shape[2]:  # nobody
            return corrected.permute(2, 0, 1)
        on_cpu = corrected.device.type == "cpu"
        rows = max(1, _CACHED_NUMBERS // (12 * corrected.shape[2])) if on_cpu else self.size
        if on_cpu and self.near_joints is not None and self.near_weights is not None:
            joints, weights = self.near_joints.split(rows), self.near_weights.split(rows)
            flat = moves.flatten(1)
            mixed = (
                embedding_bag(j, flat, per_sample_weights=w, mode="sum") for j, w in zip(joints, weights, strict=True)
            )
        else:
            mixed = (w @ moves.flatten(1) for w in self.weights.split(rows))
        return torch.cat([_carry(T, c) for T, c in zip(mixed, corrected.split(rows), strict=True)], 1)


def _carry(mixed: Tensor, corrected: Tensor) -> Tensor:
    """Each vertex of a slice (v 3 B) through its own affine (v 12*B) -> (B v 3)."""
    T = mixed.view(len(mixed), 3, 4, -1)
    x, y, z = corrected[:, None].unbind(2)
    return T[:, :, 3].addcmul(T[:, :, 0], x).addcmul(T[:, :, 1], y).addcmul(T[:, :, 2], z).permute(2, 0, 1)


def rest_to_posed(
    R_model_joint: Float[Tensor, "B J 3 3"], joints_m: Float[Tensor, "B J 3"], rest_joints_m: Float[Tensor, "B J 3"]
) -> Float[Tensor, "J 12 B"]:
    """For each joint the affine [R | t] that carries rest points attached to it, as 12 numbers (3 x 4, row-major)."""
    t = joints_m[..., None] - R_model_joint @ rest_joints_m[..., None]
    return torch.cat([R_model_joint, t], -1).flatten(2).permute(1, 2, 0).contiguous()
