"""The body model dressed for pictures: refined surface, extra pieces, fields; people posed in camera frames."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from openexpose.body import BodyModel, ModelArrays, Posed
from openexpose.body.load import load_arrays
from openexpose.render.scene import vertex_normals
from openexpose.synth.anatomy import SKIN, rest_points, study
from openexpose.synth.cloth import cover, stand_off
from openexpose.synth.extras import (
    BRIM,
    BUN,
    GLASSES,
    HAIR,
    HELD_LEFT,
    HELD_RIGHT,
    LENS,
    PIECES,
    SKIRT,
    build_extras,
    place_extras,
)  # fmt: skip
from openexpose.synth.noise import Noise
from openexpose.synth.outfit import Outfit
from openexpose.synth.refine import refined

LONGEST_EDGE_M = 0.020
_SMOOTHINGS = 12
"""Rounds of averaging that make the directions in which cloth stands off the skin."""


@dataclass(frozen=True, eq=False)
class People:
    """N dressed people in the camera frame. V vertices (body and extras), metres."""

    posed: Posed
    """Of the bare model: keypoints and joints come from here."""
    vertices_m: Float[Tensor, "N V 3"]
    normals: Float[Tensor, "N V 3"]
    shown: Bool[Tensor, "N 12"]
    """Which pieces (`anatomy`, `extras`) a person has."""
    outfit: Outfit


class Mannequin:
    """FreeBody with everything that pictures need, on one device."""

    def __init__(self, arrays: ModelArrays | None = None, *, device: torch.device | str = "cpu") -> None:
        """arrays: of the SMPL-X family with eyes and teeth as pieces of their own; None: FreeBody, 50 expressions."""
        arrays = free_with_whole_face() if arrays is None else arrays
        self.device = torch.device(device)
        self.bare = BodyModel(arrays)
        self.points_m = rest_points(self.bare)
        fine = refined(arrays, LONGEST_EDGE_M)
        anatomy = study(fine, self.points_m)
        self.eye_m, self.eye_radius_m = torch.tensor(anatomy.eye_m, device=self.device), anatomy.eye_radius_m
        extras = build_extras(fine.v_template, fine.weights)
        self.body_vertices = len(fine.v_template)
        self.model = BodyModel(_extended(fine, extras.follows, extras.weights)).to(self.device)
        self.bare = self.bare.to(self.device)
        faces = np.concatenate([fine.faces, extras.faces + self.body_vertices])
        self.faces: Int[Tensor, "F 3"] = torch.tensor(faces, device=self.device)
        piece = np.concatenate([anatomy.piece, extras.piece])
        self.piece_of_vertex: Int[Tensor, " V"] = torch.tensor(piece, device=self.device)
        self.piece_of_face: Int[Tensor, " F"] = self.piece_of_vertex[self.faces[:, 0]]
        self.extra_at = torch.tensor(extras.at, device=self.device)
        self.extra_piece = torch.tensor(extras.piece, device=self.device)
        self.follows = torch.tensor(extras.follows, device=self.device)
        grid = np.zeros((len(extras.at), anatomy.fields.shape[1]), np.float32)
        grid[:, :2] = extras.at
        self.fields: Float[Tensor, "V 8"] = torch.tensor(np.concatenate([anatomy.fields, grid]), device=self.device)
        out = _smooth_normals(fine.v_template, fine.faces) * (anatomy.piece == SKIN)[:, None]
        self.outward: Float[Tensor, "U 3"] = torch.tensor(out, dtype=torch.float32, device=self.device)
        body = torch.tensor(fine.v_template, dtype=torch.float32, device=self.device)
        self.anchor_m: Float[Tensor, "V 3"] = torch.cat([body, body[self.follows]])
        """Rest place on the mean body of each vertex, or of the one it follows."""
        self.noise = Noise(self.device)
        self.template: Float[Tensor, "U 3"] = torch.tensor(fine.v_template, dtype=torch.float32, device=self.device)

    @torch.no_grad()
    def dress(
        self,
        betas: Float[Tensor, "N S"],
        expression: Float[Tensor, "N E"],
        R_parent_child: Float[Tensor, "N J 3 3"],
        root_m: Float[Tensor, "N 3"],
        outfit: Outfit,
    ) -> People:
        """People in the frame that the root rotation and `root_m` (metres) put them in."""
        shaped = self.model.shape(betas, expression)
        posed = shaped.pose(R_parent_child, root_m)
        rest = shaped.rest_surface + self._displacement(shaped.rest_surface, outfit).permute(1, 2, 0)
        vertices = posed.placed(posed.carried(self.model.surface, rest))
        bare = self.bare.shape(betas, expression).pose(R_parent_child, root_m)
        return People(bare, vertices, normals_of(vertices, self.faces), shown_pieces(outfit), outfit)

    def _displacement(self, rest: Float[Tensor, "V 3 N"], outfit: Outfit) -> Float[Tensor, "N V 3"]:
        U = self.body_vertices
        o, fields = outfit.over(), self.fields[None, :U]
        off_m = stand_off(o, fields, cover(o, fields, self.noise), self.noise)
        body = off_m[..., None] * self.outward
        extra = place_extras(self.extra_piece, self.extra_at, outfit)
        nominal = self.model.surface.template[U:]
        return torch.cat([body, extra - nominal], 1)


def free_with_whole_face() -> ModelArrays:
    """FreeBody with the 50 expression components of FreeHead, of which the file of the body keeps the first 10."""
    body, head = load_arrays("free"), load_arrays("free-head")
    exprdirs = np.zeros((*body.v_template.shape, head.exprdirs.shape[2]))
    exprdirs[body.regions["head"]] = head.exprdirs
    return replace(body, exprdirs=exprdirs)


def shown_pieces(outfit: Outfit) -> Bool[Tensor, "N 12"]:
    """Which pieces are in the picture: the body's always, the others as the outfit says."""
    out = torch.ones((len(outfit.values), PIECES), dtype=torch.bool, device=outfit.values.device)
    names = {
        SKIRT: "skirt", HAIR: "long_hair", BUN: "bun", GLASSES: "glasses", LENS: "lens",
        HELD_LEFT: "held_left", HELD_RIGHT: "held_right",
    }  # fmt: skip
    for piece, name in names.items():
        out[:, piece] = outfit[name] > 0
    out[:, LENS] &= out[:, GLASSES]
    out[:, BRIM] = (outfit["hat"] > 0) & (outfit["brim"] > 0)
    return out


def normals_of(vertices_m: Float[Tensor, "N V 3"], faces: Int[Tensor, "F 3"]) -> Float[Tensor, "N V 3"]:
    """Unit vertex normals, area-weighted; the batched twin of `render.scene.vertex_normals`."""
    a, b, c = (vertices_m[:, faces[:, k]] for k in range(3))
    n = torch.linalg.cross(b - a, c - a)
    out = torch.zeros_like(vertices_m)
    for k in range(3):
        out.index_add_(1, faces[:, k], n)
    return torch.nn.functional.normalize(out, dim=-1, eps=1e-20)


def _extended(arrays: ModelArrays, follows: np.ndarray, weights: np.ndarray) -> ModelArrays:
    """The model with extra vertices that take the shape of others and have joint weights of their own.

    Their rest place is that of the vertex they follow, so that shape adds to it; `place_extras` moves them from there.
    """
    nothing = np.zeros((len(arrays.J_regressor), len(follows)))
    return replace(
        arrays,
        v_template=np.concatenate([arrays.v_template, arrays.v_template[follows]]),
        shapedirs=np.concatenate([arrays.shapedirs, arrays.shapedirs[follows]]),
        exprdirs=np.concatenate([arrays.exprdirs, np.zeros((len(follows), *arrays.exprdirs.shape[1:]))]),
        posedirs=np.concatenate([arrays.posedirs, np.zeros((len(follows), *arrays.posedirs.shape[1:]))]),
        weights=np.concatenate([arrays.weights, weights]),
        J_regressor=np.concatenate([arrays.J_regressor, nothing], 1),
    )


def _smooth_normals(vertices_m: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(V, 3) rest normals averaged over neighbours again and again: cloth does not follow every dent."""
    n = vertex_normals(vertices_m, faces)
    flat = faces.ravel()
    count = np.maximum(np.bincount(flat, minlength=len(n)), 1)[:, None]
    for _ in range(_SMOOTHINGS):
        mean = n[faces].sum(1)
        total = np.stack([np.bincount(flat, weights=np.repeat(mean[:, k], 3), minlength=len(n)) for k in range(3)], 1)
        n = total / count
        n /= np.maximum(np.linalg.norm(n, axis=1, keepdims=True), 1e-9)
    return np.asarray(n)
