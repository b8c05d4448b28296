"""What goes into each of the three files, from the finished surface."""

import numpy as np
from numpy.typing import NDArray

from openexpose.body.build_free import parts
from openexpose.body.build_free.face import Face
from openexpose.body.build_free.means import mean_body_rad, mean_hand_rad, six_d
from openexpose.body.build_free.rig import PARENTS, joint
from openexpose.body.build_free.store import Contents, json_text
from openexpose.body.build_free.surface import Surface, renumber
from openexpose.body.free import decode
from openexpose.body.stages import BodyModel

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

BODY_EXPRESSIONS = 10
FREIHAND_FINGERS = ("thumb", "index", "middle", "ring", "pinky")
WRIST_VERTICES, NECK_VERTICES = 150, 150


def body_contents(body: Surface) -> Contents:
    """FreeBody: everything, with the first 10 expressions, part maps, mean poses and mean shape."""
    out = Contents("smplx", "FreeBody 1")
    out.put("v_template", body.template, np.float32)
    out.put_ids("faces", body.faces)
    out.put_ids("mirror", body.mirror)
    out.put("parents", np.array(PARENTS), np.int16)
    out.put_dirs("shapedirs", body.shapedirs)
    out.put_dirs("exprdirs", body.exprdirs[..., :BODY_EXPRESSIONS])
    out.put_dirs("posedirs", body.posedirs, every=9)
    out.put_ids("pose_features", body.pose_features)
    out.put_rows("J_regressor", body.J_regressor)
    out.put_rows("weights", body.weights)
    out.put_ids("extra_vertices", body.extra)
    for name, (faces, bary) in (("static", body.static), ("dynamic", body.dynamic)):
        out.put_ids(f"{name}_faces", faces)
        out.put(f"{name}_bary", bary, np.float32)
    for name, ids in body.regions.items():
        out.put_ids(f"regions.{name}", ids)
    for name, matrix in body.regressors.items():
        out.put_rows(f"regressors.{name}", matrix)
    out.put("means.betas", np.zeros(body.shapedirs.shape[2]), np.float32)
    out.put("means.body_pose", mean_body_rad(), np.float32)
    out.put("means.body_pose_6d", six_d(mean_body_rad()), np.float32)
    model = BodyModel(decode(out.tensors, out.full_header()))
    for side in ("left", "right"):
        hand = mean_hand_rad(model, side)
        out.put(f"means.{side}_hand_mean", hand.reshape(45), np.float32)
        out.put(f"means.{side}_hand_pose_6d", six_d(hand), np.float32)
    return out


def hand_contents(body: Surface, shapes: F64, wrist_points: F64) -> Contents:
    """FreeHand: the right hand with 16 joints.

    shapes: (H, 3, 10) its own components. wrist_points: (N, H, 3) hands of people, wrist at the body's mean wrist.
    """
    keep = body.regions["right_hand"]
    part = parts.cut(body, keep, parts.HAND_JOINTS)
    out = parts.part_contents(part, "mano", "FreeHand 1", parts.HAND_PARENTS)
    out.put_dirs("shapedirs", shapes)
    rows = body.J_regressor[np.array(parts.HAND_JOINTS)][:, keep]
    wrist = body.joints[joint("right_wrist")]
    rows[0] = parts.root_row(wrist_points, wrist, part.template, WRIST_VERTICES)
    out.put_rows("J_regressor", rows)
    tips = [body.extra[16 + k] for k in range(5)]
    out.put_ids("extra_vertices", renumber(keep, len(body.template))[np.array(tips)])
    return out


def head_contents(body: Surface, face: Face, shapes: F64, neck_points: F64) -> Contents:
    """FreeHead: the head with 5 joints, 50 expressions, the face landmarks, and what the named actions are.

    shapes: (H, 3, 100). neck_points: (N, H, 3) heads of people, neck at the body's mean neck.
    """
    keep = body.regions["head"]
    part = parts.cut(body, keep, parts.HEAD_JOINTS)
    out = parts.part_contents(part, "flame", "FreeHead 1", parts.HEAD_PARENTS)
    out.put_dirs("shapedirs", shapes)
    out.put_dirs("exprdirs", body.exprdirs[keep])
    rows = body.J_regressor[np.array(parts.HEAD_JOINTS)][:, keep]
    still = np.nonzero(np.abs(body.exprdirs[keep]).max((1, 2)) == 0)[0]
    neck = body.joints[joint("neck")]
    rows[0] = parts.root_row(neck_points, neck, part.template, NECK_VERTICES, still)
    out.put_rows("J_regressor", rows)
    for name, (faces, bary) in (("static", body.static), ("dynamic", body.dynamic)):
        out.put_ids(f"{name}_faces", parts.moved_faces(faces, part, len(body.faces)))
        out.put(f"{name}_bary", bary, np.float32)
    out.put("actions.expression", face.actions, np.float32)
    for name, value in (
        ("jaw_rad", face.jaw_rad),
        ("left_eye_rad", face.eyes_rad[0]),
        ("right_eye_rad", face.eyes_rad[1]),
    ):
        out.put(f"actions.{name}", value, np.float32)
    out.header["action_names"] = json_text(face.names)
    return out
