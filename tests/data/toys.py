"""A small store with everything known, drawn so that pixels and labels can be compared."""

import io
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from openexpose.data.record import Keypoints, Record
from openexpose.skeleton import Skeleton

SMPLX = Skeleton.read("smplx")
FOCAL = 600.0


def project(points_m, size_px):
    """Pinhole pixels of camera-frame metres; the axis through the photo's middle."""
    middle = (np.array(size_px) - 1) / 2
    return points_m[:, :2] / points_m[:, 2:] * FOCAL + middle


def make_record(seed, size_px):
    rng = np.random.default_rng(seed)
    points_m = np.concatenate([rng.uniform(-0.4, 0.4, (144, 2)), rng.uniform(2.8, 3.2, (144, 1))], 1)
    px = project(points_m, size_px)
    seen = (rng.random(144) < 0.9).astype(float)
    lo, hi = px.min(0), px.max(0)
    params = {
        "global_orient": rng.normal(size=3),
        "body_pose": rng.normal(size=(21, 3)),
        "jaw_pose": rng.normal(size=3),
        "left_hand_pose": rng.normal(size=(15, 3)),
        "right_hand_pose": rng.normal(size=(15, 3)),
        "betas": rng.normal(size=10),
        "expression": rng.normal(size=10),
    }
    return Record(
        photo=f"{seed}.png",
        box_xywh_px=np.concatenate([lo, hi - lo]),
        keypoints2d=Keypoints(SMPLX, np.column_stack([px, seen])),
        keypoints3d=Keypoints(SMPLX, np.column_stack([points_m, np.ones(144)])),
        params=params,
        family="smplx",
    )


def draw_photo(record, size_px, fmt):
    """A dark photo with a soft spot at keypoint 0 (red), 1 (green) and 2 (blue)."""
    y, x = np.mgrid[0 : size_px[1], 0 : size_px[0]]
    spots = [np.exp(-((x - px) ** 2 + (y - py) ** 2) / 18.0) for px, py in record.keypoints2d.xyc[:3, :2]]
    rgb = np.rint(np.stack(spots, -1) * 220 + 10).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(rgb).save(out, fmt, **({"quality": 98, "subsampling": 0} if fmt == "JPEG" else {}))
    return out.getvalue()


@dataclass(frozen=True)
class ToyStore:
    """Rows made from their number."""

    rows: int = 6
    size_px: tuple[int, int] = (320, 240)
    fmt: str = "PNG"
    bad: frozenset[int] = field(default_factory=frozenset)
    name: str = "toy"

    def __len__(self):
        return self.rows

    def row(self, index):
        return make_record(index, self.size_px)

    def photo(self, index):
        return b"broken" if index in self.bad else draw_photo(self.row(index), self.size_px, self.fmt)
