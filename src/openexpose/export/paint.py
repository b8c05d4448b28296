"""Colours for bodies: skin, and eyes that look somewhere."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from openexpose.body.stages import BodyModel
from openexpose.render.scene import SKIN, Colour

EYE_WHITE: Colour = (0.93, 0.91, 0.89)
IRIS: Colour = (0.36, 0.26, 0.20)
PUPIL: Colour = (0.05, 0.04, 0.04)
IRIS_RAD, PUPIL_RAD = 0.47, 0.24
"""Half angles seen from the middle of the eyeball: about 6 and 3 mm on a ball of 12 to 13 mm radius."""


@dataclass(frozen=True, eq=False)
class Paint:
    """sRGB 0..1 colours of a body model's surface, the same in every pose."""

    face_colours: Float[np.ndarray, "F 3"]
    """Sharp borders: for `render.Mesh`."""
    vertex_colours: Float[np.ndarray, "V 3"]
    """Soft borders: for files and the page's viewer."""


def paint(model: BodyModel, *, skin: Colour = SKIN.colour, iris: Colour = IRIS) -> Paint:
    """Skin everywhere; white, iris and pupil on the eyeballs if the model has them (FreeBody, SMPL-X, FLAME).

    An eyeball is what follows an eyeball joint; it looks about along +z at rest.
    """
    shaped = model.shape()
    vertices, joints = (x.detach().cpu().double().numpy() for x in (shaped.rest_vertices_m, shaped.rest_joints_m))
    weights, faces = model.surface.weights.detach().cpu().numpy(), model.faces.cpu().numpy()
    colours = np.tile(np.array(skin), (len(vertices), 1))
    face_colours = np.tile(np.array(skin), (len(faces), 1))
    for k, name in enumerate(model.joint_names):
        if "eye" not in name:
            continue
        ball = weights[:, k] > 0.5
        angle = np.full(len(vertices), np.pi)
        angle[ball] = _angle_from_gaze(vertices[ball] - joints[k])
        colours[ball] = _eye_colours(angle[ball], iris, 0.6 * PUPIL_RAD)  # the blend makes it wider
        own = ball[faces].all(axis=1)
        face_colours[own] = _eye_colours(angle[faces[own]].max(axis=1), iris, PUPIL_RAD)
    return Paint(face_colours, colours)


def _angle_from_gaze(d: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, " N"]:
    """Angle of each direction from the gaze: the mean of the directions within 30 degrees of +z."""
    unit = d / np.maximum(np.linalg.norm(d, axis=1, keepdims=True), 1e-12)
    front = unit[unit[:, 2] > 0.866]
    gaze = front.sum(axis=0) if len(front) else np.array([0.0, 0.0, 1.0])
    return np.arccos(np.clip(unit @ (gaze / np.linalg.norm(gaze)), -1, 1))


def _eye_colours(angle_rad: Float[np.ndarray, " N"], iris: Colour, pupil_rad: float) -> Float[np.ndarray, "N 3"]:
    rings = [angle_rad < pupil_rad, angle_rad < IRIS_RAD]
    return np.select([r[:, None] for r in rings], [np.array(PUPIL), np.array(iris)], np.array(EYE_WHITE))
