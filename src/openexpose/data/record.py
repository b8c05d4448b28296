"""One row of a store: a person in a photo as a data set describes it, before any augmentation."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from openexpose.errors import ShapeError
from openexpose.skeleton import Skeleton


@dataclass(frozen=True)
class Keypoints:
    """Named points with a confidence: (K, 3) in photo pixels, or (K, 4) in metres."""

    skeleton: Skeleton
    xyc: Float[np.ndarray, "K C"]
    """Coordinates, then a confidence from 0 to 1; 0 = unknown, the position then means nothing."""

    def __post_init__(self) -> None:
        """Raises ShapeError if the number of points is not the skeleton's."""
        if len(self.xyc) != len(self.skeleton):
            raise ShapeError(f"convention {self.skeleton.name!r} has {len(self.skeleton)} points, got {self.xyc.shape}")

    def as_skeleton(self, other: Skeleton, stand_ins: Mapping[str, str] | None = None) -> "Keypoints":
        """Return the points in another convention, by name; absent ones are zero with confidence 0."""
        if other == self.skeleton:
            return self
        return Keypoints(other, self.skeleton.map_to(other, stand_ins=stand_ins)(self.xyc))


@dataclass(frozen=True)
class Record:
    """One person in one photo. Unknown things are None or absent, never invented."""

    photo: str
    """Path relative to the folder of the data set's photos, or a name if the photo is stored inside a pack."""
    box_xywh_px: Float[np.ndarray, "4"] | None = None
    """Left, top, width, height in the photo."""
    keypoints2d: Keypoints | None = None
    keypoints3d: Keypoints | None = None
    """Metres; x right, y down, z away from the camera, or as the data set says."""
    params: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Axis-angle rotations (radians), betas, expression: `global_orient` (3,), `body_pose` (21, 3), `betas` (10,)..."""
    family: str = ""
    """Body model of `params`: smplx, smpl, mano, flame; empty if there are none."""
    extras: Mapping[str, object] = field(default_factory=dict)
    """Everything else of the row under its HumanData key, e.g. `vertices`, `meta/gender`."""
