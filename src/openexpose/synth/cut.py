"""Hands and heads as attention sees them: cut out of rendered whole people, few pixels wide, left hands mirrored.

Close-ups (`synth make --part hand`) show more than a hand ever shows in a photo of a whole person; part networks need
both.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache, reduce
from operator import mul
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from openexpose.data.humandata import HumanData
from openexpose.data.humandata_write import write_records
from openexpose.data.record import Keypoints, Record
from openexpose.errors import ConfigError, DataError
from openexpose.skeleton import Skeleton
from openexpose.synth.labels import SKELETONS, Part, PartShapes
from openexpose.synth.make import JPEG_QUALITY, write_picture
from openexpose.synth.scene import framed_points

AROUND = 3.4
"""Side of what is cut out over the longer side of the points' box: room for jitter at training."""
LEAST_PX = 9.0
"""Parts smaller than this in the photo are left out."""
LEAST_SEEN = 0.35
"""Least share of the part's points that the camera sees, inside the photo."""


def cut(of: Path, out: Path, part: Part) -> Iterator[tuple[int, int]]:
    """Cut the part out of every photo of a folder of `synth make --part body`; `out` gets images/ and labels.npz.

    Yields how many photos are done, and how many parts were cut. Raises ConfigError for the part "body", DataError if
    the folder has no labels of rendered people, a photo cannot be read, or no part is large enough.
    """
    if part == "body":
        raise ConfigError("bodies are not cut out of bodies: choose the part hand or head")
    data = HumanData.open(of / "labels.npz")
    if "visible" not in data.columns:
        raise DataError(f"{data.path} does not say which points are seen; use a folder of `openexpose synth make`")
    records: list[Record] = []
    for row in range(len(data)):
        whole = data.row(row, extras=True)
        photo = cv2.imread(str(of / whole.photo), cv2.IMREAD_COLOR)
        if photo is None:
            raise DataError(f"cannot read the photo {of / whole.photo}")
        for mirrored in (False, True) if part == "hand" else (False,):
            found = _part_of(photo, whole, part, mirrored=mirrored)
            if found is not None:
                pixels, record = found
                side = "" if part == "head" else "left_" if mirrored else "right_"
                name = f"images/{Path(whole.photo).stem}_{side}{part}.jpg"
                write_picture(out / name, ".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
                records.append(replace(record, photo=name))
        yield row + 1, len(records)
    if not records:
        raise DataError(f"{of}: no {part} of at least {LEAST_PX:.0f} px is seen in its {len(data)} photos")
    write_records(out / "labels.npz", records)


def _part_of(photo: NDArray[Any], whole: Record, part: Part, *, mirrored: bool) -> tuple[NDArray[Any], Record] | None:
    """Pixels (B, G, R) and labels; None if the part is too small or hidden."""
    assert whole.keypoints2d is not None and whole.keypoints3d is not None
    k2d, k3d = whole.keypoints2d, whole.keypoints3d
    visible = np.asarray(whole.extras["visible"], bool)
    width = photo.shape[1]
    if mirrored:
        photo = np.ascontiguousarray(photo[:, ::-1])
        twins, across = np.array(k2d.skeleton.flip_permutation), np.array([-1.0, 1.0, 1.0, 1.0])
        k2d = Keypoints(k2d.skeleton, k2d.xyc[twins] * across[:3] + [width - 1, 0, 0] * (k2d.xyc[twins, 2:] > 0))
        k3d = Keypoints(k3d.skeleton, k3d.xyc[list(k3d.skeleton.flip_permutation)] * across)
        visible = visible[twins[:144]]
    own = framed_points("hand" if part == "hand" else "head")
    known = own & (k2d.xyc[:144, 2] > 0)
    px = k2d.xyc[:144][known][:, :2]
    if not len(px):
        return None
    inside = ((px >= 0) & (px < [width, photo.shape[0]])).all(1)
    low, size = px.min(0), np.ptp(px, 0)
    if size.max() < LEAST_PX or (visible[known] & inside).mean() < LEAST_SEEN:
        return None
    half = AROUND * size.max() / 2
    first = np.maximum(np.floor(low + size / 2 - half), 0).astype(int)
    last = np.minimum(np.ceil(low + size / 2 + half), [width, photo.shape[0]]).astype(int)
    record = Record(
        photo="",
        box_xywh_px=np.concatenate([low - 0.1 * size - first, 1.2 * size]),
        keypoints2d=Keypoints(k2d.skeleton, k2d.xyc - [*first, 0] * (k2d.xyc[:, 2:] > 0)).as_skeleton(_skeleton(part)),
        keypoints3d=k3d.as_skeleton(_skeleton(part)),
        params=_params(whole, part, mirrored=mirrored),
        family={"hand": "mano", "head": "flame"}[part],
    )
    return photo[first[1] : last[1], first[0] : last[0]], record


def _params(whole: Record, part: Part, *, mirrored: bool) -> dict[str, NDArray[np.float64]]:
    body = {name: np.asarray(value, np.float64) for name, value in whole.params.items()}
    relative = np.concatenate([body["global_orient"].reshape(1, 3), body["body_pose"].reshape(21, 3)])
    joint = {"hand": "left_wrist" if mirrored else "right_wrist", "head": "head"}[part]
    chain = Skeleton.read("smplx").chain(joint)[::-1]
    turned = reduce(mul, (Rotation.from_rotvec(relative[j]) for j in chain))
    flip = np.array([1.0, -1.0, -1.0]) if mirrored else np.ones(3)
    shapes = _shapes()
    if part == "hand":
        fingers = body["left_hand_pose" if mirrored else "right_hand_pose"].reshape(15, 3)
        betas = shapes.hand @ body["betas"]
        return {"global_orient": turned.as_rotvec() * flip, "right_hand_pose": fingers * flip, "betas": betas}
    face = {name: body[name].reshape(3) for name in ("jaw_pose", "leye_pose", "reye_pose")}
    betas = shapes.head @ body["betas"]
    return {"global_orient": turned.as_rotvec(), **face, "betas": betas, "expression": body["expression"]}


@cache
def _shapes() -> PartShapes:
    return PartShapes.fitted()


def _skeleton(part: Part) -> Skeleton:
    return Skeleton.read(SKELETONS[part])
