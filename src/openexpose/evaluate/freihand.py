"""FreiHAND: a right hand in a photo, 21 joints and the MANO mesh.

As the reference scores it: the true mesh is MANO on the stored parameters, and joints are those of the model in
FreiHAND order. The official scorer reads its own files instead (no parameters, no scale); numbers are close, not equal.
"""

from jaxtyping import Float
from torch import Tensor

from openexpose.body import BodyModel, Posed
from openexpose.body.params import join_pose
from openexpose.errors import ConfigError, ShapeError
from openexpose.evaluate.score import Outcome, Protocol, Score
from openexpose.geometry.rotations import axis_angle_to_matrix
from openexpose.metrics import aligned, f_score_01, mpjpe_mm, point_errors_mm, pve_mm
from openexpose.skeleton import Skeleton

WRIST = 0
"""First of the 21 points in FreiHAND order."""


def true_vertices_m(
    model: BodyModel,
    betas: Float[Tensor, "N S"],
    global_orient_rad: Float[Tensor, "N 3"],
    hand_pose_rad: Float[Tensor, "N 15 3"],
) -> Float[Tensor, "N V 3"]:
    """True meshes in metres from the stored parameters, axis-angle, absolute (the mean hand already added).

    The reference fails here on the (N, 3) orientation that its own converter writes (golden/README, bug 14); any
    release of the file works with this. Raises ConfigError unless the model is a hand.
    """
    _check(model)
    R = {"global_orient": global_orient_rad[:, None], "hand_pose": hand_pose_rad}
    pose = join_pose("mano", {k: axis_angle_to_matrix(v) for k, v in R.items()})
    return model.shape(betas).pose(pose.to(betas.dtype)).skin().vertices_m


def outcome(
    posed: Posed,
    true_joints_m: Float[Tensor, "N 21 3"],
    true_vertices_m: Float[Tensor, "N V 3"],
    *,
    protocol: Protocol,
) -> Outcome:
    """Joint and vertex errors with and without Procrustes; the paper's protocol adds F@5 and F@15 (aligned).

    posed: predicted right hands. true_joints_m: FreiHAND order, camera frame. true_vertices_m: see `true_vertices_m`.
    Raises ConfigError for a prediction that is not a hand, ShapeError for another mesh, DataError (not finite).
    """
    _check(posed.shaped.model)
    pred_j, pred_v = posed.keypoints_m().double(), posed.skin().vertices_m.double()
    true_j, true_v = true_joints_m.double(), true_vertices_m.double()
    if pred_v.shape != true_v.shape:
        raise ShapeError(
            f"predicted hands {tuple(pred_v.shape)} and true hands {tuple(true_v.shape)} differ in their mesh; score "
            "MANO predictions against MANO, FreeHand against FreeHand"
        )
    pa = "PA-PVE" if protocol == "mmhuman3d" else "PA-V2V"
    joints = mpjpe_mm(pred_j, true_j, align="root", root=WRIST)
    scores = [
        Score.of("PA-MPJPE", mpjpe_mm(pred_j, true_j, align="procrustes")),
        Score.of(pa, pve_mm(pred_v, true_v, align="procrustes")),
        Score.of("MPJPE", joints),
        Score.of("PVE" if protocol == "mmhuman3d" else "V2V", pve_mm(pred_v, true_v, align="none")),
    ]
    if protocol == "paper":
        moved = aligned(pred_v, true_v, align="procrustes")
        for at_mm in (5.0, 15.0):
            scores.append(Score.of(f"F@{at_mm:.0f}", f_score_01(moved, true_v, at_mm=at_mm), unit="share"))
    said = (
        "true meshes are made from the stored parameters, not read from FreiHAND's own files",
        "MPJPE: wrist on wrist; the un-aligned vertex error compares model frames, as the reference does",
        "PA hides scale: read it beside the un-aligned error",
    )
    errors_mm = point_errors_mm(pred_j, true_j, align="procrustes")
    parts = {"PA-MPJPE per joint": dict(zip(Skeleton.read("freihand").names, errors_mm.mean(0).tolist(), strict=True))}
    return Outcome("freihand", protocol, tuple(scores), said, parts)


def _check(model: BodyModel) -> None:
    if model.family != "mano":
        raise ConfigError(f"FreiHAND is scored with a hand model (MANO, FreeHand); {model.label} is {model.family}")
