"""One body model for SMPL, SMPL-X, MANO, FLAME and the free models: Model -> Shaped -> Posed -> Mesh.

Each stage may be kept: shape once per person, pose per frame. Whoever needs joints or landmarks stops at `Posed`
and never pays for all vertices. Inputs are rotation matrices; batch axes are free. Spec section 4.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from openexpose.body.arrays import Family, ModelArrays
from openexpose.body.landmarks import KeypointLayout, blend_faces, contour_rows, layout_of
from openexpose.body.skinning import Patch, Tree, forward_kinematics, pose_features, rest_to_posed
from openexpose.errors import ConfigError, ShapeError


class BodyModel(nn.Module):
    """Constants of one body model; holds no pose and no batch size.

    Buffers follow `.to(device)` and `.to(dtype)` and are not persistent: licensed tensors never reach a checkpoint.
    """

    faces: Tensor
    J_template: Tensor
    J_dirs: Tensor

    def __init__(
        self,
        arrays: ModelArrays,
        *,
        num_betas: int | None = None,
        num_expression: int | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """From file contents; keeps the first `num_betas` and `num_expression` columns (all when None).

        Raises ConfigError when the file has fewer columns than asked for.
        """
        super().__init__()
        betas = _columns(arrays, "betas", arrays.shapedirs.shape[2], num_betas)
        expressions = _columns(arrays, "expression", arrays.exprdirs.shape[2], num_expression)
        self.family: Family = arrays.family
        self.label, self.gender, self.sha256 = arrays.label, arrays.gender, arrays.sha256
        self.num_betas, self.num_expression = betas, expressions
        self.num_vertices, self.num_joints = arrays.v_template.shape[0], len(arrays.parents)
        self.tree = Tree.of(tuple(int(p) for p in arrays.parents))
        self.means: Mapping[str, Tensor] = {k: torch.tensor(v, dtype=dtype) for k, v in arrays.means.items()}

        template = torch.tensor(arrays.v_template)
        dirs = torch.cat(
            [torch.tensor(arrays.shapedirs)[..., :betas], torch.tensor(arrays.exprdirs)[..., :expressions]], 2
        )
        J_regressor = torch.tensor(arrays.J_regressor)
        for name, value in (
            ("faces", torch.tensor(arrays.faces)),
            ("J_template", (J_regressor @ template).to(dtype)),
            ("J_dirs", torch.einsum("jv,vkc->cjk", J_regressor, dirs).flatten(1).to(dtype)),
        ):
            self.register_buffer(name, value, persistent=False)
        self.surface = Patch(
            template.to(dtype),
            dirs.to(dtype),
            torch.tensor(arrays.posedirs, dtype=dtype),
            torch.tensor(arrays.weights, dtype=dtype),
            torch.tensor(arrays.pose_features),
        )
        self.layout: KeypointLayout = layout_of(arrays, self.tree)
        self.landmarks = LandmarkPoints(self.surface, self.layout, arrays, dtype)
        self.regressors = nn.ModuleDict(
            {k: RegressedPoints(self.surface, torch.tensor(m, dtype=dtype)) for k, m in arrays.regressors.items()}
        )
        self.regions: Mapping[str, Tensor] = {k: torch.tensor(v) for k, v in arrays.regions.items()}

    @property
    def joint_names(self) -> tuple[str, ...]:
        """Names of the joints, in the order of `Posed.joints_m`."""
        return self.layout.joint_names

    @property
    def keypoint_names(self) -> tuple[str, ...]:
        """Names of the points of `keypoints_m()`, in order."""
        return self.layout.names

    @property
    def parents(self) -> tuple[int, ...]:
        """Parent of each joint, -1 for the root."""
        return self.tree.parents

    def shape(
        self, betas: Float[Tensor, "*B S"] | None = None, expression: Float[Tensor, "*B E"] | None = None
    ) -> "Shaped":
        """Shaped bodies at rest. Missing coefficients are zero, for one body without batch axes.

        Raises ShapeError when a last axis is not `num_betas` / `num_expression`.
        """
        parts = []
        betas_and_expression = self.num_betas + self.num_expression
        for name, value, want in (("betas", betas, self.num_betas), ("expression", expression, self.num_expression)):
            if value is not None and value.shape[-1] != want:
                raise ShapeError(f"{name} has {value.shape[-1]} numbers; {self.label} was loaded with {want}")
            parts.append(self.J_template.new_zeros(want) if value is None else value)
        lead = torch.broadcast_shapes(parts[0].shape[:-1], parts[1].shape[:-1])
        coeffs = torch.cat([p.expand(*lead, p.shape[-1]) for p in parts], -1).reshape(-1, betas_and_expression)
        rest_joints = torch.addmm(self.J_template.view(1, -1), coeffs, self.J_dirs).view(-1, self.num_joints, 3)
        return Shaped(self, coeffs, rest_joints, lead)


@dataclass(frozen=True, eq=False)
class Shaped:
    """Bodies at rest (T-pose): who they are, before what they do."""

    model: BodyModel
    coeffs: Float[Tensor, "N C"]
    """betas and expression side by side, batch axes flattened."""
    rest_joints: Float[Tensor, "N J 3"]
    """Joint positions at rest in metres, batch flattened."""
    lead: torch.Size
    """The batch axes."""

    @property
    def rest_surface(self) -> Float[Tensor, "V 3 N"]:
        """Rest vertices in metres, batch flattened and last; computed when a mesh is first asked for, then kept."""
        if torch.compiler.is_compiling():  # a tracer cannot follow the cache, and needs none
            return self.model.surface.shape(self.coeffs)
        return self._kept_surface

    @cached_property
    def _kept_surface(self) -> Tensor:
        return self.model.surface.shape(self.coeffs)

    @property
    def rest_joints_m(self) -> Float[Tensor, "*B J 3"]:
        """Joint positions at rest in metres."""
        return _unflattened(self.rest_joints, self.lead)

    @property
    def rest_vertices_m(self) -> Float[Tensor, "*B V 3"]:
        """Vertices at rest in metres."""
        return _unflattened(self.rest_surface.permute(2, 0, 1), self.lead)

    def pose(
        self, R_parent_child: Float[Tensor, "*B J 3 3"] | None = None, root_m: Float[Tensor, "*B 3"] | None = None
    ) -> "Posed":
        """Turn every joint. None leaves the rest pose; batch axes broadcast against the shape's.

        R_parent_child: rotation of each joint relative to its parent, orthonormal, in the model's joint order.
        root_m: translation in metres, added to joints and vertices after posing.
        Raises ShapeError if the joint axis does not fit the model.
        """
        m, J = self.model, self.model.num_joints
        if R_parent_child is None:
            R_parent_child = torch.eye(3, dtype=self.coeffs.dtype, device=self.coeffs.device).expand(J, 3, 3)
        if R_parent_child.shape[-3:] != (J, 3, 3):
            raise ShapeError(
                f"{m.label} takes rotations of shape (..., {J}, 3, 3), got {tuple(R_parent_child.shape)}; "
                f"its joints are {', '.join(m.joint_names[:3])}, ..."
            )
        lead = torch.broadcast_shapes(
            self.lead, R_parent_child.shape[:-3], root_m.shape[:-1] if root_m is not None else ()
        )
        N = lead.numel()
        R = R_parent_child.expand(*lead, J, 3, 3).reshape(N, J, 3, 3)
        root = None if root_m is None else root_m.expand(*lead, 3).reshape(N, 3)
        spread = None
        if self.lead != lead:
            ids = torch.arange(self.lead.numel(), device=R.device).reshape(self.lead).expand(lead)
            spread = ids.reshape(-1)
        rest = self.rest_joints if spread is None else self.rest_joints[spread]
        return Posed(self, R, root, lead, spread, rest, forward_kinematics(R, rest, m.tree))


@dataclass(frozen=True, eq=False)
class Posed:
    """Where every joint is; surface points are computed when asked for."""

    shaped: Shaped
    R: Float[Tensor, "N J 3 3"]
    """Rotations relative to the parent, batch flattened."""
    root: Float[Tensor, "N 3"] | None
    """Translation in metres."""
    lead: torch.Size
    """The batch axes."""
    spread: Int[Tensor, " N"] | None
    """Which shaped body each row wears; None when row for row."""
    rest_joints: Float[Tensor, "N J 3"]
    """Rest joints of each row."""
    chain: tuple[Float[Tensor, "N J 3 3"], Float[Tensor, "N J 3"]]
    """Absolute rotations and positions before translation."""

    def carried(self, patch: Patch, rest: Float[Tensor, "U 3 M"]) -> Float[Tensor, "N U 3"]:
        """Posed vertices of one patch, from its M shaped rest states, before translation."""
        if self.spread is not None:
            rest = rest[:, :, self.spread]
        moves = rest_to_posed(*self.chain, self.rest_joints)
        return patch.skin(patch.correct(rest, pose_features(self.R)), moves)

    def placed(self, points: Float[Tensor, "N K 3"]) -> Float[Tensor, "*B K 3"]:
        """Points with the translation added and batch axes restored."""
        if self.root is not None:
            points = points + self.root[:, None]
        return _unflattened(points, self.lead)

    def surface_points(self, patch: Patch) -> Float[Tensor, "N U 3"]:
        """Posed vertices of one patch, before translation."""
        return self.carried(patch, patch.shape(self.shaped.coeffs))

    @property
    def joints_m(self) -> Float[Tensor, "*B J 3"]:
        """Joint positions in metres, model frame."""
        return self.placed(self.chain[1])

    @property
    def corrected_rest_m(self) -> Float[Tensor, "*B V 3"]:
        """Rest vertices with the correctives of this pose: what the joints then carry; metres."""
        rest = self.shaped.rest_surface if self.spread is None else self.shaped.rest_surface[:, :, self.spread]
        corrected = self.shaped.model.surface.correct(rest, pose_features(self.R))
        return _unflattened(corrected.permute(2, 0, 1), self.lead)

    @property
    def R_model_joint(self) -> Float[Tensor, "*B J 3 3"]:
        """Absolute rotation of each joint in the model frame."""
        return _unflattened(self.chain[0], self.lead)

    def keypoints_m(self) -> Float[Tensor, "*B K 3"]:
        """The model's named keypoints (144 SMPL-X, 73 FLAME, 21 MANO in FreiHAND order, 45 SMPL), metres.

        Evaluates only the vertices that keypoints touch.
        """
        return self.placed(self.shaped.model.landmarks(self))

    def regressed_m(self, name: str) -> Float[Tensor, "*B K 3"]:
        """Joints as a linear combination of *posed* vertices: "j14" (LSP order) or "h36m"; metres.

        Raises ConfigError when the model has no such regressor.
        """
        model = self.shaped.model
        if name not in model.regressors:
            known = ", ".join(model.regressors) or "none"
            raise ConfigError(f"{model.label} has no joint regressor {name!r} (it has: {known})")
        points = model.regressors[name](self)
        if self.root is not None:  # rows of a regressor need not sum to one exactly
            points = points + self.root[:, None] * model.regressors[name].get_buffer("row_sums")[:, None]
        return _unflattened(points, self.lead)

    def skin(self) -> "Mesh":
        """The whole surface."""
        return Mesh(self, self.carried(self.shaped.model.surface, self.shaped.rest_surface))


@dataclass(frozen=True, eq=False)
class Mesh:
    """Posed surface of each body."""

    posed: Posed
    surface: Float[Tensor, "N V 3"]
    """Vertices before translation, batch flattened."""

    @property
    def vertices_m(self) -> Float[Tensor, "*B V 3"]:
        """Vertices in metres, model frame, contiguous."""
        s, root = self.surface, self.posed.root
        points = s if root is None else s + root[:, None]
        return _unflattened(points, self.posed.lead).contiguous()

    @property
    def faces(self) -> Int[Tensor, "F 3"]:
        """Triangles, counter-clockwise from outside."""
        return self.posed.shaped.model.faces

    @property
    def joints_m(self) -> Float[Tensor, "*B J 3"]:
        """Joint positions in metres."""
        return self.posed.joints_m

    def keypoints_m(self) -> Float[Tensor, "*B K 3"]:
        """Named keypoints in metres; see `Posed.keypoints_m`."""
        return self.posed.keypoints_m()


class LandmarkPoints(nn.Module):
    """All keypoints of a model, from the vertices they touch."""

    extra: Tensor
    static_corners: Tensor
    static_bary: Tensor
    contour_corners: Tensor
    contour_bary: Tensor

    def __init__(self, surface: Patch, layout: KeypointLayout, arrays: ModelArrays, dtype: torch.dtype) -> None:
        super().__init__()
        self.order, self.yaw_joint = layout.order, layout.yaw_joint
        corners = {"extra": torch.tensor(layout.extra_vertices, dtype=torch.int64)}
        for name, faces, bary, shape in (
            ("static", arrays.static_faces, arrays.static_bary, (0, 3)),
            ("contour", arrays.dynamic_faces, arrays.dynamic_bary, (79, 0, 3)),
        ):
            there = faces is not None and bary is not None
            corners[name] = torch.tensor(arrays.faces[faces]) if there else torch.zeros(shape, dtype=torch.int64)
            weights = torch.tensor(bary, dtype=dtype) if there else torch.zeros(shape, dtype=dtype)
            self.register_buffer(f"{name}_bary", weights, persistent=False)
        ids, place = torch.unique(torch.cat([c.flatten() for c in corners.values()]), return_inverse=True)
        self.patch = surface.take(ids)
        for (name, c), p in zip(corners.items(), place.split([c.numel() for c in corners.values()]), strict=True):
            self.register_buffer(name if name == "extra" else f"{name}_corners", p.view(c.shape), persistent=False)

    def forward(self, posed: Posed) -> Float[Tensor, "N K 3"]:
        """Keypoints before translation."""
        R_model_joint, joints = posed.chain
        if not self.patch.size:
            return joints
        points = posed.surface_points(self.patch)
        static = blend_faces(points[:, self.static_corners], self.static_bary)
        row = contour_rows(R_model_joint[:, self.yaw_joint])
        body = torch.arange(len(points), device=points.device)[:, None, None]
        contour = blend_faces(points[body, self.contour_corners[row]], self.contour_bary[row])
        out = torch.cat([joints, points[:, self.extra], static, contour], 1)
        return out if self.order is None else out[:, torch.tensor(self.order, device=out.device)]


class RegressedPoints(nn.Module):
    """Joints that a matrix computes from posed vertices, evaluated on the vertices with weight only."""

    matrix: Tensor
    row_sums: Tensor

    def __init__(self, surface: Patch, matrix: Float[Tensor, "K V"]) -> None:
        super().__init__()
        ids = torch.nonzero(matrix.abs().sum(0))[:, 0]
        self.patch = surface.take(ids)
        self.register_buffer("matrix", matrix[:, ids].contiguous(), persistent=False)
        self.register_buffer("row_sums", matrix.sum(1), persistent=False)

    def forward(self, posed: Posed) -> Float[Tensor, "N K 3"]:
        """Joints before translation."""
        return self.matrix @ posed.surface_points(self.patch)


def _unflattened(x: Tensor, lead: torch.Size) -> Tensor:
    """The first axis as batch axes again; works for no bodies at all."""
    return x.reshape(*lead, *x.shape[1:])


def _columns(arrays: ModelArrays, what: str, there: int, asked: int | None) -> int:
    if asked is not None and not 0 <= asked <= there:
        raise ConfigError(f"{arrays.label} has {there} {what} columns, {asked} were asked for; ask for at most {there}")
    return there if asked is None else asked
