"""FreeHand and FreeHead: the same surface, weights and joints as FreeBody, with shapes of their own."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from openexpose.body.build_free.rig import joint
from openexpose.body.build_free.store import Contents
from openexpose.body.build_free.surface import Surface, faces_within, renumber

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

HAND_JOINTS = [joint("right_wrist"), *range(40, 55)]
HAND_PARENTS = (-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14)
HEAD_JOINTS = [joint(n) for n in ("neck", "head", "jaw", "left_eye", "right_eye")]
HEAD_PARENTS = (-1, 0, 1, 1, 1)
OWN_SHARE = 0.98
"""A vertex belongs to a part if at least this share of its weight is on the part's joints; the rest is dropped."""
RIDGE = 1e-3
"""Metres of misplacement that one unit of weight is worth, in the root joint of a part."""
EXACT = 1e3


def region(weights: F64, joints: list[int]) -> I64:
    """Vertices that move with a part's joints only, or nearly so, by weights (V, 55)."""
    return np.nonzero(weights[:, joints].sum(1) >= OWN_SHARE)[0]


def without_rest(weights: F64, joints: list[int]) -> F64:
    """Skinning weights (V, 55) in which the vertices of a part move with the part's joints exactly."""
    own = region(weights, joints)
    out = weights.copy()
    out[own] = 0.0
    kept = np.ix_(own, np.array(joints))
    out[kept] = weights[kept]
    return out / out.sum(1, keepdims=True)


def feature_columns(joints: list[int], features: I64) -> tuple[I64, I64]:
    """Which pose-feature columns of the body a part has (its joints but the root), and their numbers in the part."""
    number = {j: k for k, j in enumerate(joints) if k > 0}
    owner = features // 9 + 1
    columns = np.array([c for c, j in enumerate(owner.tolist()) if j in number], np.int64)
    own = np.array([(number[int(owner[c])] - 1) * 9 + int(features[c]) % 9 for c in columns], np.int64)
    order = np.argsort(own, kind="stable")
    return columns[order], own[order]


def root_row(points: F64, target: F64, template: F64, count: int, allowed: I64 | None = None) -> F64:
    """(H,) weights summing to one that place a part's root joint at `target` (3,) on all shapes (N, H, 3).

    The root lies outside the part, so weights may be negative; small ones are preferred. Exact on the template (H, 3).
    """
    ids = np.arange(len(template)) if allowed is None else allowed
    distance = np.linalg.norm(template[ids] - target, axis=1)
    near = ids[np.argsort(distance, kind="stable")[:count]]
    local = np.concatenate([points[:, near] - target, EXACT * (template[near] - target)[None]])
    A = local.transpose(0, 2, 1).reshape(-1, len(near))
    w = np.linalg.solve(A.T @ A / len(points) + RIDGE**2 * np.eye(len(near)), np.ones(len(near)))
    row = np.zeros(len(template))
    row[near] = w / w.sum()
    return row


@dataclass(frozen=True)
class Part:
    """A hand or head cut from the body, before its own shapes are added."""

    keep: I64
    faces: I64
    face_ids: I64
    weights: F64
    posedirs: F64
    pose_features: I64
    template: F64


def cut(body: Surface, keep: I64, joints: list[int]) -> Part:
    """The part of the body on the vertices `keep`, with weights renormalised to the part's joints."""
    faces, face_ids = faces_within(body.faces, keep, len(body.template))
    weights = body.weights[np.ix_(keep, np.array(joints))]
    columns, own = feature_columns(joints, body.pose_features)
    return Part(
        keep=keep,
        faces=faces,
        face_ids=face_ids,
        weights=weights / weights.sum(1, keepdims=True),
        posedirs=body.posedirs[keep][..., columns],
        pose_features=own,
        template=body.template[keep],
    )


def part_contents(part: Part, family: str, label: str, parents: tuple[int, ...]) -> Contents:
    """The tensors that hand and head have in common."""
    out = Contents(family, label)
    out.put("v_template", part.template, np.float32)
    out.put_ids("faces", part.faces)
    out.put_rows("weights", part.weights)
    out.put_dirs("posedirs", part.posedirs, every=9)
    out.put_ids("pose_features", part.pose_features)
    out.put("parents", np.array(parents), np.int16)
    return out


def moved_faces(ids: I64, part: Part, faces: int) -> I64:
    """Numbers in the part of faces of the body.

    Every one must lie in the part.
    """
    new = renumber(part.face_ids, faces)
    assert (new[ids] >= 0).all(), "a landmark's face is outside its part"
    return new[ids]
