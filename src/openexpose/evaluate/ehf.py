"""EHF: whole body with hands and face, 100 photos of one person, against SMPL-X meshes.

Joints of both sides are made from the *vertices*: the template's joint regressor on the posed mesh, and 21 vertices
that are keypoints. Each part is cut out and Procrustes-aligned on its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from openexpose.body import ModelArrays
from openexpose.errors import ConfigError, ShapeError
from openexpose.evaluate.score import Outcome, Protocol, Score
from openexpose.metrics import Surface, fit_similarity, mpjpe_mm, point_errors_mm, pve_mm, tr_v2v_mm
from openexpose.skeleton import Skeleton, part_of

HANDS = {"RIGHT_HAND": "right_hand", "LEFT_HAND": "left_hand"}


@dataclass(frozen=True, eq=False)
class Anatomy:
    """What the protocol reads off a mesh of the SMPL-X topology; made once from the model file."""

    J_regressor: Float[Tensor, "55 V"]
    """Of the template, applied to posed vertices."""
    j14_regressor: Float[Tensor, "14 V"] | None
    extra: Int[Tensor, " K"]
    """The 21 vertices that are keypoints."""
    regions: Mapping[str, Int[Tensor, " _"]]
    """left_hand, right_hand (MANO ids), head (FLAME ids)."""
    faces: Int[Tensor, "F 3"]
    label: str

    @classmethod
    def of(cls, arrays: ModelArrays) -> "Anatomy":
        """From a body-model file. Raises ConfigError unless it is of the SMPL-X family with all three part maps."""
        missing = [r for r in ("left_hand", "right_hand", "head") if r not in arrays.regions]
        if arrays.family != "smplx" or missing or arrays.extra_vertices is None:
            raise ConfigError(
                f"{arrays.label} cannot score EHF: it takes a SMPL-X file with the vertex ids of hands and head beside "
                f"it (missing: {', '.join(missing) or 'nothing'}); see `openexpose doctor`"
            )
        j14 = arrays.regressors.get("j14")
        return cls(
            torch.as_tensor(arrays.J_regressor),
            None if j14 is None else torch.as_tensor(j14).double(),
            torch.as_tensor(arrays.extra_vertices),
            {k: torch.as_tensor(v) for k, v in arrays.regions.items()},
            torch.as_tensor(arrays.faces),
            arrays.label,
        )

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the points of `joints_m`: the first 76 of the smplx convention."""
        return tuple(Skeleton.read("smplx").names[: self.J_regressor.shape[0] + len(self.extra)])

    def joints_m(self, vertices_m: Float[Tensor, "N V 3"]) -> Float[Tensor, "N 76 3"]:
        """55 joints and 21 surface points of posed meshes, metres, float64. Raises ShapeError for another topology."""
        if vertices_m.shape[-2] != self.J_regressor.shape[1]:
            raise ShapeError(
                f"a mesh of {vertices_m.shape[-2]} vertices is not {self.label} ({self.J_regressor.shape[1]}): predict "
                "with the SMPL-X body model, or transfer the mesh with a stated map first"
            )
        v = vertices_m.double().cpu()
        return torch.cat([self.J_regressor @ v, v[:, self.extra]], 1)

    @cached_property
    def joint_rows(self) -> Mapping[str, Int[Tensor, " _"]]:
        """Rows of the 76 points by part: BODY 27, hands 20 and their wrist."""
        rows = {"BODY": [i for i, n in enumerate(self.names) if part_of(n) == "body"]}
        for part, side in HANDS.items():
            rows[part] = [i for i, n in enumerate(self.names) if part_of(n) == side]
            rows[part].append(self.names.index(side.removesuffix("hand") + "wrist"))
        return {k: torch.tensor(v) for k, v in rows.items()}

    @cached_property
    def vertex_rows(self) -> Mapping[str, Int[Tensor, " _"]]:
        """Vertices by part: hands, FACE (all FLAME vertices), BODY (what is left)."""
        hands = {part: self.regions[region] for part, region in HANDS.items()}
        body = torch.ones(self.J_regressor.shape[1], dtype=torch.bool)
        for ids in self.regions.values():
            body[ids] = False
        return {**hands, "FACE": self.regions["head"], "BODY": body.nonzero()[:, 0]}


def outcome(
    anatomy: Anatomy,
    pred_m: Float[Tensor, "N V 3"],
    true_m: Float[Tensor, "N V 3"],
    *,
    protocol: Protocol,
    scans_m: Sequence[NDArray[np.floating]] | None = None,
) -> Outcome:
    """The EHF row of a protocol, and the un-aligned errors that PA hides.

    pred_m, true_m: SMPL-X meshes, metres; only their shape and posture matter, not where they stand.
    scans_m: (P, 3) 3D scans in the frame of `true_m`, one for each photo, for P2S (paper only; left out when None).
    Raises ShapeError for another topology, DataError for numbers that are not finite.
    """
    pred, true = anatomy.joints_m(pred_m), anatomy.joints_m(true_m)
    v, w = pred_m.double().cpu(), true_m.double().cpu()
    if protocol == "mmhuman3d":
        return _mmhuman3d(anatomy, pred, true, v, w)
    return _paper(anatomy, pred, true, v, w, scans_m)


def _mmhuman3d(anatomy: Anatomy, pred: Tensor, true: Tensor, v: Tensor, w: Tensor) -> Outcome:
    scores = [
        Score.of(f"{part} PA-MPJPE", mpjpe_mm(pred[:, rows], true[:, rows], align="procrustes"))
        for part, rows in anatomy.joint_rows.items()
    ]
    scores.append(Score.of("PA-PVE", pve_mm(v, w, align="procrustes")))
    for part in (*HANDS, "FACE"):
        ids = anatomy.vertex_rows[part]
        scores.append(Score.of(f"{part} PA-PVE", pve_mm(v, w, align="procrustes", ids=ids)))
    scores.append(Score.of("MPJPE", mpjpe_mm(pred, true, align="none")))
    scores.append(Score.of("PVE", pve_mm(v, w, align="none")))
    said = (
        "joints of both sides are regressed from posed vertices; BODY is 27 joints without the head",
        "each part is Procrustes-aligned on its own; MPJPE (76 points) and PVE compare model frames as they are",
        f"body model: {anatomy.label}",
    )
    parts = {"PA-PVE per part": _bars(scores, "PA-PVE")}
    for part, rows in anatomy.joint_rows.items():
        errors_mm = point_errors_mm(pred[:, rows], true[:, rows], align="procrustes").mean(0)
        parts[f"{part} PA-MPJPE per joint"] = {anatomy.names[i]: float(e) for i, e in zip(rows, errors_mm, strict=True)}
    return Outcome("ehf", "mmhuman3d", tuple(scores), said, parts)


def _paper(
    anatomy: Anatomy,
    pred: Tensor,
    true: Tensor,
    v: Tensor,
    w: Tensor,
    scans_m: Sequence[NDArray[np.floating]] | None,
) -> Outcome:
    ids: dict[str, Tensor | None] = {"": None, **anatomy.vertex_rows}
    roots = {"": "pelvis", "BODY": "pelvis", "RIGHT_HAND": "right_wrist", "LEFT_HAND": "left_wrist", "FACE": "neck"}
    scores = []
    for part, rows in ids.items():
        scores.append(Score.of(f"{part} PA-V2V".strip(), pve_mm(v, w, align="procrustes", ids=rows)))
        cut = slice(None) if rows is None else rows
        root = anatomy.names.index(roots[part])
        moved = tr_v2v_mm(v[:, cut], w[:, cut], pred_root_m=pred[:, root], true_root_m=true[:, root])
        scores.append(Score.of(f"{part} TR-V2V".strip(), moved))
    if anatomy.j14_regressor is not None:
        j14 = anatomy.j14_regressor
        scores.append(Score.of("BODY PA-MPJPE", mpjpe_mm(j14 @ v, j14 @ w, align="procrustes")))
    for part in HANDS:
        rows = anatomy.joint_rows[part]
        scores.append(Score.of(f"{part} PA-MPJPE", mpjpe_mm(pred[:, rows], true[:, rows], align="procrustes")))
    if scans_m is not None:
        scores += _scan_scores(anatomy, v, w, scans_m)
    said = (
        "TR-V2V: pelvis on pelvis (hands: wrist, face: neck), nothing turned or scaled",
        "BODY vertices are those of neither hand nor head; BODY PA-MPJPE is over 14 LSP joints",
        "P2S: scan points to the mesh after Procrustes on the vertices; mean and median over all scan points",
        f"body model: {anatomy.label}; the paper's text was not at hand for parts and roots",
    )
    parts = {f"{figure} per part": _bars(scores, figure) for figure in ("PA-V2V", "TR-V2V")}
    return Outcome("ehf", "paper", tuple(scores), said, parts)


def _scan_scores(anatomy: Anatomy, v: Tensor, w: Tensor, scans_m: Sequence[NDArray[np.floating]]) -> list[Score]:
    if len(scans_m) != len(v):
        raise ShapeError(f"{len(v)} meshes but {len(scans_m)} scans; EHF has one scan for each photo")
    moved = fit_similarity(v, w)(v).numpy()
    faces = anatomy.faces.numpy()
    mm = [Surface(m, faces).closest(s).distance * 1000 for m, s in zip(moved, scans_m, strict=True)]
    return [Score.pooled("P2S mean", mm, "mean"), Score.pooled("P2S median", mm, "median")]


def _bars(scores: Sequence[Score], name: str) -> dict[str, float]:
    return {s.name.removesuffix(name).strip() or "ALL": s.value for s in scores if s.name.endswith(name)}
