"""3DPW: 14 joints of a body in a photo, against the SMPL mesh that moving cameras and IMUs gave.

The truth is regressed from the *posed SMPL mesh* (h36m regressor, 17 joints, 14 of them in LSP order), never the
`jointPositions` that the data set's files also hold. The prediction is SMPLX_to_J14 on the posed SMPL-X mesh.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from openexpose.body import BodyModel, Posed
from openexpose.errors import ConfigError, DataError
from openexpose.evaluate.score import Outcome, Protocol, Score
from openexpose.metrics import mpjpe_mm, point_errors_mm
from openexpose.skeleton import Skeleton

Truth = Literal["gendered", "neutral"]
"""gendered: each person in the SMPL of the stored gender, as the betas were fitted. neutral: the reference's quirk."""

HIPS = (2, 3)
"""right_hip_extra and left_hip_extra of the LSP order: the root is their middle, not the pelvis."""


def true_joints_m(
    models: Mapping[str, BodyModel],
    betas: Float[Tensor, "N S"],
    R_parent_child: Float[Tensor, "N 24 3 3"],
    *,
    truth: Truth,
    genders: Sequence[str],
) -> Float[Tensor, "N 14 3"]:
    """Ground-truth joints in LSP order, metres, from posed SMPL meshes.

    models: "male" and "female" SMPL for truth="gendered", "neutral" for the quirk (spec 10.0, row 10: the reference
    passes the gender and ignores it, so people with gendered betas are measured in the neutral body).
    genders: "m" or "f" for each person, as `pw3d_test.npz` stores them.
    Raises ConfigError for a model that is missing or not SMPL, DataError for a gender that is neither.
    """
    if len(genders) != len(betas):
        raise DataError(f"{len(betas)} people but {len(genders)} genders; pw3d_test.npz holds one for each row")
    wanted = {"m": "male", "f": "female"} if truth == "gendered" else {"m": "neutral", "f": "neutral"}
    unknown = sorted(set(genders) - set(wanted))
    if unknown:
        raise DataError(f"meta.gender holds {unknown}; 3DPW has only 'm' and 'f'")
    lsp = Skeleton.read("lsp")
    to_lsp = Skeleton.read("h36m").map_to(lsp)
    joints_m = betas.new_zeros(len(betas), len(lsp), 3)
    for name in sorted({wanted[g] for g in genders}):
        rows = torch.tensor([i for i, g in enumerate(genders) if wanted[g] == name], device=betas.device)
        if name not in models or models[name].family != "smpl":
            raise ConfigError(
                f"truth={truth!r} needs the {name} SMPL (SMPL_{name.upper()}.pkl); see `openexpose doctor`"
            )
        h36m_m = models[name].shape(betas[rows]).pose(R_parent_child[rows]).regressed_m("h36m")
        joints_m[rows] = to_lsp(h36m_m)
    return joints_m


def predicted_joints_m(posed: Posed) -> Float[Tensor, "*B 14 3"]:
    """Predicted joints in LSP order, metres. Raises ConfigError when the body model has no J14 regressor."""
    return posed.regressed_m("j14")


def outcome(
    pred_m: Float[Tensor, "N 14 3"], true_m: Float[Tensor, "N 14 3"], *, protocol: Protocol, truth: Truth
) -> Outcome:
    """MPJPE (hips on hips) and PA-MPJPE over 14 joints. Both protocols print these; `truth` is said in the output."""
    said = [
        "root: mean of the two hips; 14 joints in LSP order; truth regressed from the posed SMPL mesh "
        "(not jointPositions)",
        "truth: SMPL of the stored gender"
        if truth == "gendered"
        else "truth: neutral SMPL with gendered betas, the reference's quirk",
        "PA-MPJPE hides scale: read it beside MPJPE",
    ]
    errors_mm = point_errors_mm(pred_m, true_m, align="root", root=HIPS)
    pa_mm = point_errors_mm(pred_m, true_m, align="procrustes")
    scores = (
        Score.of("MPJPE", mpjpe_mm(pred_m, true_m, align="root", root=HIPS)),
        Score.of("PA-MPJPE", mpjpe_mm(pred_m, true_m, align="procrustes")),
    )
    names = Skeleton.read("lsp").names
    parts = {
        "MPJPE per joint": dict(zip(names, errors_mm.mean(0).tolist(), strict=True)),
        "PA-MPJPE per joint": dict(zip(names, pa_mm.mean(0).tolist(), strict=True)),
    }
    return Outcome("3dpw", protocol, scores, tuple(said), parts)
