"""Facial actions on FreeBody: jaw and eyes turn, the rest becomes the expression basis."""

import numpy as np
from numpy.typing import NDArray

from openexpose.body.build_free.face import Face, basis, random_actions, rigid_turn, without_turn
from openexpose.body.build_free.kinematics import rotation
from openexpose.body.build_free.rig import joint
from openexpose.body.build_free.study import SEED, Study

F64 = NDArray[np.float64]

EXPRESSIONS = 50
SAMPLES = 20000
STILL_M = 2e-5
"""Displacements below this are noise of the source."""
TEETH_MOVE_M = 1e-3
"""An action that moves the lower teeth this much moves the jaw."""
MOSTLY = 0.5
"""The jaw's turn is taken out of an action if it explains at least this share of the teeth's motion."""


def make_face(study: Study, template: F64, weights: F64, joints: F64) -> Face:
    """The expression basis for a body (V, 3) with skinning weights (V, 55) and rest joints (55, 3)."""
    source = study.source
    moved = np.einsum("vij,avj->avi", study.tposed.skin, source.actions)
    jaw_rad = np.zeros((len(moved), 3))
    eyes = tuple(np.zeros((len(moved), 3)) for _ in range(2))
    for action, *turns in zip(moved, jaw_rad, *eyes, strict=True):
        _take_eyes(study, template, joints, action, turns[1:])
        _take_jaw(study, template, weights, joints, action, turns[0])
    moved[np.abs(moved).max(2) < STILL_M] = 0.0
    strengths = random_actions(source.action_names, SAMPLES, np.random.default_rng(SEED))
    dirs, coefficients, energy = basis(moved, strengths, study.vertex_weight, EXPRESSIONS)
    return Face(source.action_names, dirs, coefficients, jaw_rad, (eyes[0], eyes[1]), energy, moved)


def _take_eyes(study: Study, template: F64, joints: F64, action: F64, turns: list[F64]) -> None:
    """Replace the motion of the eyeballs in an action (V, 3) by turns about the eye joints (changed in place)."""
    for side, turn in zip(("left", "right"), turns, strict=True):
        ball = study.source.groups[f"{side}_eye"]
        if np.abs(action[ball]).max() > STILL_M:
            turn[:] = rigid_turn(template[ball], template[ball] + action[ball], joints[joint(f"{side}_eye")])
        action[ball] = 0.0


def _take_jaw(study: Study, template: F64, weights: F64, joints: F64, action: F64, turn: F64) -> None:
    """Replace what the jaw does in an action (V, 3) by a turn about the jaw joint (changed in place)."""
    jaw, teeth = joints[joint("jaw")], study.source.groups["lower_teeth"]
    if np.abs(action[teeth]).max() < TEETH_MOVE_M:
        return
    found = rigid_turn(template[teeth], template[teeth] + action[teeth], jaw)
    left_over = without_turn(template[teeth], action[teeth], np.ones(len(teeth)), rotation(found), jaw)
    if (left_over**2).sum() < (1 - MOSTLY) * (action[teeth] ** 2).sum():
        turn[:] = found
        action[:] = without_turn(template, action, weights[:, joint("jaw")], rotation(found), jaw)
