"""What a user gets: one person in one photo, with names, units and frames.

Everything is in the camera frame of the photo (OpenCV's axes: x right, y down, z away), which is at once the world of
the result: the camera stands at its origin. All people of a photo share that one camera.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from openexpose.body import BodyModel, Posed
from openexpose.errors import ConfigError
from openexpose.geometry.camera import PerspectiveCamera
from openexpose.geometry.crop import Crop
from openexpose.geometry.rotations import axis_angle_to_matrix, matrix_to_axis_angle
from openexpose.nets.params import BodyParams

PartName = Literal["right_hand", "left_hand", "head"]
PART_NAMES: tuple[PartName, ...] = get_args(PartName)
"""The parts that are looked at again, in the order of `WholeEstimate.used_parts`."""
CONVENTIONS = ("opencv", "opengl", "pytorch3d", "blender")
"""What `Prediction.camera_matrices` can speak."""
FocalFrom = Literal["exif", "given", "default"]
POSE_BLOCKS = ("global_orient", "body_pose", "jaw_pose", "left_hand_pose", "right_hand_pose")
"""Names of the rotations in `BodyParams`, in joint order; the eyes look straight ahead."""
MAX_REPROJECTION_PX = 0.5
"""What `Prediction.check` allows."""


@dataclass(frozen=True, eq=False)
class PartSquare:
    """Where a part network looked again, and whether its answer was taken."""

    corners_px: Float[np.ndarray, "4"]
    """x0, y0, x1, y1 in photo pixels; may reach over the photo's border."""
    used: bool
    """False: the body network's own guess stayed."""
    confidence: float | None
    """How far the part network trusts itself, 0 to 1; None for networks that do not say."""


@dataclass(frozen=True, eq=False)
class ModelInfo:
    """Which files an answer came from, and what its numbers mean."""

    body_model: str
    """Label of the body model."""
    body_sha256: str
    """Of the body-model file."""
    family: str
    gender: str
    weights: str
    """Label of the network weights: file name and preset."""
    weights_sha256: str = ""
    """Of the weight file."""
    flat_hand_mean: bool = True
    """Hand poses are absolute: no mean hand is to be added (`flat_hand_mean=True` in smplx)."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """One person in one photo. CPU, float32, no batch axis. S shape and E expression coefficients."""

    photo: str
    """Name of the photo."""
    photo_size_px: tuple[int, int]
    """Width and height of the upright photo."""
    person: int
    """Number in the photo, from 0, in the order of the detections."""
    box_px: Float[np.ndarray, "4"]
    """x0, y0, x1, y1 as the detector gave it, photo pixels."""
    score: float
    """How sure the detector is that this is a person, 0 to 1."""
    params: BodyParams
    """Pose, shape, expression; the root's rotation is in camera axes."""
    weak_camera: Float[np.ndarray, "3"]
    """(s, tx, ty) over the body crop as the network gave it: u = s * (X_xy + t) within [-1, 1], s in 1 / metre."""
    crop: Crop
    """The square that the body network saw."""
    camera: PerspectiveCamera
    """Of the whole photo, shared by all its people; `T_camera_world` is the identity."""
    focal_from: FocalFrom
    """Where the focal length is from: the photo's EXIF, the caller, or the default (the photo's diagonal)."""
    transl_m: Float[np.ndarray, "3"]
    """Added to the posed body model, it stands in the camera frame (`smplx` calls it transl)."""
    joints_m: Float[np.ndarray, "J 3"]
    """Camera frame."""
    joint_names: tuple[str, ...]
    keypoints_m: Float[np.ndarray, "K 3"]
    """Camera frame."""
    keypoint_names: tuple[str, ...]
    keypoints_px: Float[np.ndarray, "K 2"]
    """`camera.project(keypoints_m)`, photo pixels; the centre of the top left pixel is (0, 0)."""
    parts: Mapping[PartName, PartSquare]
    model: ModelInfo
    body_model: BodyModel = field(repr=False)
    """What turns params into a surface."""

    @cached_property
    def vertices_m(self) -> Float[np.ndarray, "V 3"]:
        """The surface in the camera frame, metres; computed when first asked for."""
        with torch.inference_mode():
            return self.posed().skin().vertices_m.numpy()

    @property
    def faces(self) -> Int[np.ndarray, "F 3"]:
        """Triangles of `vertices_m`, counter-clockwise from outside."""
        return self.body_model.faces.numpy()

    def posed(self) -> Posed:
        """The body model in this person's pose, translated into the camera frame; no batch axes."""
        p = self.params
        return self.body_model.shape(p.betas, p.expression).pose(p.R_parent_child(), torch.from_numpy(self.transl_m))

    def axis_angle_rad(self) -> dict[str, Float[Tensor, "_ 3"]]:
        """Each pose block as axis times angle in radians, one row a joint: what smplx takes (hands without mean)."""
        return {name: matrix_to_axis_angle(getattr(self.params, name)).reshape(-1, 3) for name in POSE_BLOCKS}

    def joint_m(self, name: str) -> Float[np.ndarray, "3"]:
        """One joint by name, camera frame, metres. Raises ConfigError if there is none of that name."""
        return self.joints_m[_row(self.joint_names, name, "joint")]

    def keypoint_m(self, name: str) -> Float[np.ndarray, "3"]:
        """One keypoint by name, camera frame, metres. Raises ConfigError if there is none of that name."""
        return self.keypoints_m[_row(self.keypoint_names, name, "keypoint")]

    def keypoint_px(self, name: str) -> Float[np.ndarray, "2"]:
        """One keypoint by name, photo pixels. Raises ConfigError if there is none of that name."""
        return self.keypoints_px[_row(self.keypoint_names, name, "keypoint")]

    def camera_matrices(self, convention: str = "opencv") -> dict[str, Any]:
        """The photo's camera as other programs take it. The points keep our frame (x right, y down, z away).

        "opencv": K, T_camera_world, width_px, height_px. "opengl": projection, view (clip planes around the person).
        "pytorch3d": keyword arguments of its PerspectiveCameras. "blender": matrix_world, lens, sensor_width, shifts.
        Raises ConfigError for another name.
        """
        camera = self.camera
        if convention == "opencv":
            size = {"width_px": camera.width_px, "height_px": camera.height_px}
            return {"K": camera.K, "T_camera_world": camera.T_camera_world, **size}
        if convention == "opengl":
            z = self.keypoints_m[:, 2].astype(np.float64)
            near_m = max(0.01, 0.2 * float(z.min()))
            projection, view = camera.to_opengl(near_m, max(5.0 * float(z.max()), 2 * near_m))
            return {"projection": projection, "view": view}
        if convention == "pytorch3d":
            return camera.to_pytorch3d()
        if convention == "blender":
            return camera.to_blender()
        raise ConfigError(f"camera convention {convention!r} is not known: {', '.join(CONVENTIONS)}")

    def weak_keypoints_px(self) -> Float[np.ndarray, "K 2"]:
        """Where the network's own weak camera sees the keypoints, photo pixels: what the translation was fitted to."""
        points_m = self.keypoints_m.astype(np.float64) - self.transl_m
        return weak_to_photo_px(points_m, self.weak_camera, self.crop)

    def reprojection_px(self) -> float:
        """Largest distance between `keypoints_px` and the keypoints rebuilt from axis-angle pose, shape, translation
        and camera: everything that a result file holds. Zero up to rounding.
        """
        R = torch.cat([axis_angle_to_matrix(block) for block in self._all_axis_angles()])
        with torch.inference_mode():
            posed = self.body_model.shape(self.params.betas, self.params.expression)
            points_m = posed.pose(R, torch.from_numpy(self.transl_m)).keypoints_m().numpy()
        off = self.camera.project(points_m.astype(np.float64)) - self.keypoints_px
        return float(np.linalg.norm(off, axis=-1).max())

    def check(self) -> None:
        """Raises ConfigError unless the result is finite and reprojects within `MAX_REPROJECTION_PX`."""
        off = self.reprojection_px()
        if not off <= MAX_REPROJECTION_PX:
            raise ConfigError(
                f"{self.photo}, person {self.person}: keypoints rebuilt from the result are {off:.3g} px off, "
                f"more than {MAX_REPROJECTION_PX}: params, camera and translation do not belong together"
            )

    def _all_axis_angles(self) -> list[Tensor]:
        """Of all 55 joints, in order."""
        blocks = self.axis_angle_rad()
        eyes = blocks["jaw_pose"].new_zeros(2, 3)
        order = (*(blocks[n] for n in POSE_BLOCKS[:3]), eyes, *(blocks[n] for n in POSE_BLOCKS[3:]))
        return list(order)


def weak_to_photo_px(
    points_m: Float[np.ndarray, "*N 3"], weak_camera: Float[np.ndarray, "3"], crop: Crop
) -> Float[np.ndarray, "*N 2"]:
    """Photo pixels of points that the network's weak camera (s, tx, ty) sees in its crop; z plays no part."""
    s, t = float(weak_camera[0]), np.asarray(weak_camera[1:], np.float64)
    crop_px = (0.5 * s * (points_m[..., :2] + t) + 0.5) * (crop.size_px - 1)
    T = crop.T_photo_crop
    return crop_px @ T[:, :2].T + T[:, 2]


def default_focal_px(width_px: int, height_px: int) -> float:
    """The focal length where nobody knows it: the photo's diagonal, 53 degrees from corner to corner."""
    return float(np.hypot(width_px, height_px))


def photo_camera(width_px: int, height_px: int, focal_px: float) -> PerspectiveCamera:
    """The camera of a whole photo: square pixels, principal point in the middle, at the origin looking along +z.

    Raises ConfigError if the focal length is not positive and finite.
    """
    if not (np.isfinite(focal_px) and focal_px > 0):
        raise ConfigError(f"focal_px={focal_px}: a focal length is a positive number of pixels")
    K = np.array([[focal_px, 0, 0.5 * (width_px - 1)], [0, focal_px, 0.5 * (height_px - 1)], [0, 0, 1.0]])
    return PerspectiveCamera(K=K, T_camera_world=np.eye(4), width_px=width_px, height_px=height_px)


def fit_translation(
    points_m: Float[np.ndarray, "K 3"],
    weak_camera: Float[np.ndarray, "3"],
    crop: Crop,
    camera: PerspectiveCamera,
    *,
    steps: int = 10,
) -> Float[np.ndarray, "3"]:
    """The translation with which the photo's camera sees the points nearest to where the weak camera sees them.

    points_m: in camera axes around the body's own origin. Starts at the depth 2 f / (s * side), where both cameras
    agree on points of depth zero, and minimises the squared distance in pixels by damped Gauss-Newton steps; all
    points stay in front of the camera. Float64.
    """
    X = np.asarray(points_m, np.float64)
    focal_px, centre_px = float(camera.K[0, 0]), camera.K[:2, 2]
    seen = (weak_to_photo_px(X, weak_camera, crop) - centre_px) / focal_px  # on the plane z = 1
    per_m = 0.5 * float(weak_camera[0]) * (crop.size_px - 1) * crop.side_px / crop.size_px  # pixels of the photo
    nearest = -float(X[:, 2].min()) + 1e-2  # 1 cm in front of the camera
    z = max(focal_px / per_m, 1.5 * nearest)
    middle = weak_to_photo_px(np.zeros(3), weak_camera, crop) - centre_px
    t = np.array([*(middle / focal_px * z), z])
    error, damping = _squared(X, t, seen), 1e-3
    for _ in range(steps):
        P = X + t
        u = P[:, :2] / P[:, 2:]
        J = np.zeros((len(X), 2, 3))
        J[:, 0, 0] = J[:, 1, 1] = 1 / P[:, 2]
        J[:, :, 2] = -u / P[:, 2:]
        A, r = J.reshape(-1, 3), (seen - u).reshape(-1)
        H, g = A.T @ A, A.T @ r
        step = np.linalg.solve(H + damping * np.diag(np.diag(H)), g)
        tried = _squared(X, t + step, seen) if t[2] + step[2] > nearest else np.inf
        if tried < error:
            t, error, damping = t + step, tried, damping * 0.1
        else:
            damping *= 10
    return t


def _squared(X: Float[np.ndarray, "K 3"], t: Float[np.ndarray, "3"], seen: Float[np.ndarray, "K 2"]) -> float:
    P = X + t
    return float(((P[:, :2] / P[:, 2:] - seen) ** 2).sum())


def _row(names: tuple[str, ...], name: str, kind: str) -> int:
    if name not in names:
        near = [n for n in names if name in n or n in name][:5] or list(names[:5])
        raise ConfigError(f"there is no {kind} {name!r}; there are {len(names)}, for instance {', '.join(near)}")
    return names.index(name)
