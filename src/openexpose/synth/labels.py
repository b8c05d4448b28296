"""The truth about a photo as rows of data sets: whole bodies (SMPL-X parameters), right hands (MANO), heads (FLAME)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from openexpose.body.load import load_arrays
from openexpose.data.record import Keypoints, Record
from openexpose.skeleton import J14_EXTRAS, Skeleton
from openexpose.synth.photo import Photos
from openexpose.synth.scene import framed_points

Part = Literal["body", "hand", "head"]
PARTS: tuple[Part, ...] = get_args(Part)
SKELETONS: Mapping[Part, str] = {"body": "smplx_lsp", "hand": "freihand", "head": "flame"}
"""Convention of each part's keypoints."""
_BLOCKS = {
    "global_orient": slice(0, 1), "body_pose": slice(1, 22), "jaw_pose": slice(22, 23), "leye_pose": slice(23, 24),
    "reye_pose": slice(24, 25), "left_hand_pose": slice(25, 40), "right_hand_pose": slice(40, 55),
}  # fmt: skip
"""HumanData's names of the rows of SMPL-X's rotations."""
_FAR_PX = 4.0
"""Points further than this many photo sides outside are not labelled."""


@dataclass(frozen=True, eq=False)
class PartShapes:
    """FreeBody's betas in the betas of FreeHand and FreeHead, and LSP's points: matrices to multiply from the left."""

    hand: Float[np.ndarray, "H 10"]
    head: Float[np.ndarray, "G 10"]
    lsp_extra: Float[np.ndarray, "4 V"]
    """LSP's hips, neck and head top from FreeBody's vertices."""

    @classmethod
    def fitted(cls) -> "PartShapes":
        """Least squares over the vertices that part and body share."""
        body = load_arrays("free")
        out = []
        for part, region in (("free-hand", "right_hand"), ("free-head", "head")):
            own = load_arrays(part).shapedirs
            shared = body.shapedirs[body.regions[region]]
            out.append(_about_middle(own, _about_middle(shared, None)))
        return cls(out[0], out[1], np.asarray(body.regressors["j14"], np.float64)[list(J14_EXTRAS.values())])


def _about_middle(dirs: NDArray[np.float64], target: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """Displacements without the part's common shift, as (3V, C); with a target, what combination of them is nearest."""
    flat = (dirs - dirs.mean(0)).reshape(-1, dirs.shape[2])
    return flat if target is None else np.linalg.lstsq(flat, target, rcond=None)[0]


def record_of(photos: Photos, row: int, photo: str, part: Part, shapes: PartShapes) -> Record:
    """One row: box, 2D and 3D keypoints, parameters in camera axes, and what only synthesis knows as extras.

    photo: name of the file.   part: "hand" is the right one.
    3D keypoints are metres of the camera frame (x right, y down, z away). Confidence is 1 for hidden points too: which
    are seen stands in the extra `visible`, in the order of SMPL-X's 144 points.
    """
    draw = photos.draws[row]
    smplx = Skeleton.read("smplx_lsp")
    m = photos.keypoints_m[row].cpu().numpy().astype(np.float64)
    extra = shapes.lsp_extra @ photos.vertices_m[row].cpu().numpy().astype(np.float64)
    there = extra @ photos.K[row].cpu().numpy().astype(np.float64).T
    px = np.concatenate([photos.keypoints_px[row].cpu().numpy(), there[:, :2] / np.maximum(there[:, 2:], 1e-6)])
    m = np.concatenate([m, extra])
    side = photos.rgb.shape[1]
    known = (m[:, 2] > 0.05) & (np.abs(px - side / 2) < _FAR_PX * side).all(1)
    xyc = np.column_stack([px, np.ones(len(px))]) * known[:, None]
    xyzc = np.column_stack([m, np.ones(len(m))])
    skeleton = Skeleton.read(SKELETONS[part])
    visible = photos.visible[row].cpu().numpy()
    extras: dict[str, object] = {
        "visible": visible.astype(np.uint8),
        "K": photos.K[row].cpu().numpy().astype(np.float64),
        "meta/framing": np.str_(draw.framing),
        "meta/seed": np.int64(draw.seed),
        "meta/index": np.int64(draw.index),
    }
    return Record(
        photo=photo,
        box_xywh_px=_box(photos, row, part, px, known),
        keypoints2d=Keypoints(smplx, xyc).as_skeleton(skeleton),
        keypoints3d=Keypoints(smplx, xyzc).as_skeleton(skeleton),
        params=_params(photos, row, part, shapes),
        family={"body": "smplx", "hand": "mano", "head": "flame"}[part],
        extras=extras,
    )


def _box(
    photos: Photos, row: int, part: Part, px: NDArray[np.float64], known: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Left, top, width, height: of the surface for bodies, round the part's keypoints otherwise."""
    if part == "body":
        left, top, right, bottom = photos.box_px[row].cpu().numpy().astype(np.float64)
        return np.array([left, top, max(right - left, 2.0), max(bottom - top, 2.0)])
    own = px[:144][framed_points(part) & known[:144]]
    own = own if len(own) > 1 else np.array([[0.0, 0.0], [2.0, 2.0]])
    low, size = own.min(0), np.maximum(np.ptp(own, 0), 2.0)
    return np.concatenate([low - 0.1 * size, 1.2 * size])


def _params(photos: Photos, row: int, part: Part, shapes: PartShapes) -> Mapping[str, NDArray[np.float64]]:
    draw = photos.draws[row]
    rotvec = Rotation.from_matrix(draw.R[0].astype(np.float64)).as_rotvec()
    turned = photos.R_model_joint[row].cpu().numpy().astype(np.float64)
    betas = draw.betas[0].astype(np.float64)
    names = Skeleton.read("smplx").names
    if part == "hand":
        wrist = Rotation.from_matrix(turned[names.index("right_wrist")]).as_rotvec()
        return {
            "global_orient": wrist,
            "right_hand_pose": rotvec[_BLOCKS["right_hand_pose"]],
            "betas": shapes.hand @ betas,
        }
    expression = draw.expression[0].astype(np.float64)
    if part == "head":
        head = Rotation.from_matrix(turned[names.index("head")]).as_rotvec()
        face = {"jaw_pose": rotvec[22], "leye_pose": rotvec[23], "reye_pose": rotvec[24]}
        return {"global_orient": head, **face, "betas": shapes.head @ betas, "expression": expression}
    params = {n: rotvec[s] if s.stop - s.start > 1 else rotvec[s.start] for n, s in _BLOCKS.items()}
    transl = photos.transl_m[row].cpu().numpy().astype(np.float64)
    return {**params, "betas": betas, "expression": expression, "transl": transl}
