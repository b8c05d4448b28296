"""Cameras, and the only places where metres become pixels.

Convention (OpenCV): in the camera frame x points right, y down, z forward, metres. Pixel (column 0, row 0) is the
top-left one and its *centre* has the coordinates (0, 0); an image of `width_px` columns so covers
[-0.5, width_px - 0.5]. `T_camera_world` takes a world point to the camera frame.

ExPose's own camera is the weak one: u = s * (X_xy + t) in [-1, 1] over the square crop (spec 2.3). A crop of S pixels
has u = -1 at the centre of its first pixel and u = +1 at the centre of its last: q = (u / 2 + 1 / 2) * (S - 1)
(spec 3.1).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from torch import Tensor

from openexpose.errors import ConfigError, ShapeError

T_OPENGL_OPENCV = np.diag([1.0, -1.0, -1.0, 1.0])
"""Camera axes of OpenGL and Blender (x right, y up, z backward) from OpenCV's. Its own inverse."""
T_PYTORCH3D_OPENCV = np.diag([-1.0, -1.0, 1.0, 1.0])
"""Camera axes of PyTorch3D (x left, y up, z forward) from OpenCV's. Its own inverse."""


def weak_project(points_m: Float[Tensor, "*B N D"], camera: Float[Tensor, "*B 3"]) -> Float[Tensor, "*B N 2"]:
    """Coordinates u in [-1, 1] over the crop of points of the camera frame; differentiable, z is ignored.

    points_m: metres, D is 2 or 3.   camera: (s, tx, ty), s > 0 in 1 / metre, t in metres.
    Source: u = s * (X_xy + t), spec 2.3.
    """
    return camera[..., None, :1] * (points_m[..., :2] + camera[..., None, 1:])


@dataclass(frozen=True, eq=False)
class PerspectiveCamera:
    """A pinhole camera and the size of its picture.

    Raises ConfigError when K has no positive focal lengths, T_camera_world is no rigid motion, or the size is empty.
    """

    K: Float[np.ndarray, "3 3"]
    """Camera metres to pixels: focal lengths, skew and principal point, last row 0 0 1."""
    T_camera_world: Float[np.ndarray, "4 4"]
    """Rigid, metres."""
    width_px: int
    height_px: int

    def __post_init__(self) -> None:
        _require_size(self.width_px, self.height_px)
        if self.K.shape != (3, 3) or not np.array_equal(self.K[2], [0, 0, 1]) or min(self.K[0, 0], self.K[1, 1]) <= 0:
            raise ConfigError(f"K must be 3x3 with positive focal lengths and last row 0 0 1, got {self.K.tolist()}")
        R = self.T_camera_world[:3, :3]
        if self.T_camera_world.shape != (4, 4) or not _is_rotation(R):
            raise ConfigError(f"T_camera_world must be a 4x4 rigid motion, got {self.T_camera_world.tolist()}")

    @classmethod
    def with_fov(
        cls, T_camera_world: Float[np.ndarray, "4 4"], *, fov_y_rad: float, width_px: int, height_px: int
    ) -> "PerspectiveCamera":
        """A camera with square pixels whose principal point is the middle of the picture."""
        if not 0 < fov_y_rad < np.pi:
            raise ConfigError(f"fov_y_rad={fov_y_rad}: a pinhole camera sees between 0 and pi radians")
        focal_px = 0.5 * height_px / np.tan(0.5 * fov_y_rad)
        K = np.array([[focal_px, 0, 0.5 * (width_px - 1)], [0, focal_px, 0.5 * (height_px - 1)], [0, 0, 1.0]])
        return cls(K=K, T_camera_world=T_camera_world, width_px=width_px, height_px=height_px)

    @property
    def T_world_camera(self) -> Float[np.ndarray, "4 4"]:
        """The inverse motion; its last column is where the camera stands."""
        R, t = self.T_camera_world[:3, :3], self.T_camera_world[:3, 3]
        T = np.eye(4)
        T[:3, :3], T[:3, 3] = R.T, -R.T @ t
        return T

    def to_camera(self, points_m: Float[np.ndarray, "*N 3"]) -> Float[np.ndarray, "*N 3"]:
        """World points in the camera frame, metres."""
        return points_m @ self.T_camera_world[:3, :3].T + self.T_camera_world[:3, 3]

    def project(self, points_m: Float[np.ndarray, "*N 3"]) -> Float[np.ndarray, "*N 2"]:
        """Pixels of world points; NaN for a point that is not in front of the camera."""
        in_camera_m = self.to_camera(points_m)
        z = in_camera_m[..., 2:]
        scaled = in_camera_m / np.where(z > 0, z, np.nan)
        return scaled @ self.K[:2].T

    def to_opengl(self, near_m: float, far_m: float) -> tuple[Float[np.ndarray, "4 4"], Float[np.ndarray, "4 4"]]:
        """OpenGL's projection matrix (column vectors, clip z in [-1, 1]) and view matrix (y up, looks along -z).

        Window coordinates of OpenGL have pixel centres at halves and row 0 at the bottom; the projection accounts
        for both.
        """
        if not 0 < near_m < far_m:
            raise ConfigError(f"near_m={near_m}, far_m={far_m}: need 0 < near_m < far_m")
        (fx, skew, cx), (_, fy, cy) = self.K[0], self.K[1]
        w, h = self.width_px, self.height_px
        depth = far_m - near_m
        projection = np.array(
            [
                [2 * fx / w, -2 * skew / w, 1 - 2 * (cx + 0.5) / w, 0],
                [0, 2 * fy / h, 2 * (cy + 0.5) / h - 1, 0],
                [0, 0, -(far_m + near_m) / depth, -2 * far_m * near_m / depth],
                [0, 0, -1, 0],
            ]
        )
        return projection, T_OPENGL_OPENCV @ self.T_camera_world

    def to_pytorch3d(self) -> dict[str, Float[np.ndarray, "..."]]:
        """Keyword arguments R, T, focal_length, principal_point, image_size of its PerspectiveCameras (in_ndc=False).

        PyTorch3D multiplies row vectors from the left (X_view = X_world @ R + T) and puts pixel centres at halves.
        """
        T_view_world = T_PYTORCH3D_OPENCV @ self.T_camera_world
        return {
            "R": T_view_world[:3, :3].T[None],
            "T": T_view_world[:3, 3][None],
            "focal_length": np.array([[self.K[0, 0], self.K[1, 1]]]),
            "principal_point": self.K[:2, 2][None] + 0.5,
            "image_size": np.array([[self.height_px, self.width_px]], dtype=np.float64),
        }

    def to_blender(self, sensor_mm: float = 36.0) -> dict[str, float | Float[np.ndarray, "4 4"]]:
        """matrix_world, lens (mm), sensor_width (mm), shift_x and shift_y of a Blender camera with sensor fit AUTO.

        The world stays ours; Blender's own scenes are z-up. Refuses (ConfigError) unequal focal lengths and skew,
        which Blender's camera cannot express.
        """
        if not np.isclose(self.K[0, 0], self.K[1, 1], rtol=1e-6) or self.K[0, 1] != 0:
            raise ConfigError("Blender's camera has one focal length and no skew; resample the photo to square pixels")
        long_px = max(self.width_px, self.height_px)
        return {
            "matrix_world": self.T_world_camera @ T_OPENGL_OPENCV,
            "lens": float(self.K[0, 0] * sensor_mm / long_px),
            "sensor_width": sensor_mm,
            "shift_x": float((0.5 * self.width_px - self.K[0, 2] - 0.5) / long_px),
            "shift_y": float((self.K[1, 2] + 0.5 - 0.5 * self.height_px) / long_px),
        }


@dataclass(frozen=True, eq=False)
class WeakCamera:
    """ExPose's camera over a square crop, and where that crop lies in the picture.

    Points are in a frame with the camera's axes (x right, y down, z away from the viewer): that is what the networks
    predict. Their z only orders them.
    """

    scale: float
    """s in u = s * (X_xy + t), 1 / metre; positive."""
    tx_m: float
    ty_m: float
    T_px_u: Float[np.ndarray, "3 3"]
    """From u (the square [-1, 1]) to pixels of the picture; affine, last row 0 0 1."""
    width_px: int
    height_px: int

    def __post_init__(self) -> None:
        _require_size(self.width_px, self.height_px)
        if not self.scale > 0 or not np.isfinite([self.scale, self.tx_m, self.ty_m]).all():
            raise ConfigError(f"weak camera (s, tx, ty) = {self.scale, self.tx_m, self.ty_m}: needs finite s > 0")
        if abs(np.linalg.det(self.T_px_u[:2, :2])) < 1e-12 or not np.array_equal(self.T_px_u[2], [0, 0, 1]):
            raise ConfigError(f"T_px_u must be an invertible 3x3 affine map, got {self.T_px_u.tolist()}")

    @classmethod
    def in_crop(cls, scale: float, tx_m: float, ty_m: float, *, side_px: int) -> "WeakCamera":
        """The camera whose picture is the crop itself; u = -1 and +1 at the centres of its first and last pixel."""
        half_px = 0.5 * (side_px - 1)
        T_px_u = np.array([[half_px, 0, half_px], [0, half_px, half_px], [0, 0, 1.0]])
        return cls(scale=scale, tx_m=tx_m, ty_m=ty_m, T_px_u=T_px_u, width_px=side_px, height_px=side_px)

    def moved(self, T_new_old: Float[np.ndarray, "3 3"], *, width_px: int, height_px: int) -> "WeakCamera":
        """The same camera seen in another picture, e.g. the photo with T_new_old = T_photo_crop (pixels to pixels)."""
        return WeakCamera(
            scale=self.scale,
            tx_m=self.tx_m,
            ty_m=self.ty_m,
            T_px_u=T_new_old @ self.T_px_u,
            width_px=width_px,
            height_px=height_px,
        )

    @property
    def T_px_m(self) -> Float[np.ndarray, "3 3"]:
        """From metres (x, y, 1) to pixels (column, row, 1)."""
        s, t = self.scale, np.array([self.tx_m, self.ty_m])
        T_u_m = np.array([[s, 0, s * t[0]], [0, s, s * t[1]], [0, 0, 1.0]])
        return self.T_px_u @ T_u_m

    def project_u(self, points_m: Float[np.ndarray, "*N D"]) -> Float[np.ndarray, "*N 2"]:
        """u in [-1, 1] over the crop."""
        return self.scale * (points_m[..., :2] + np.array([self.tx_m, self.ty_m]))

    def project(self, points_m: Float[np.ndarray, "*N D"]) -> Float[np.ndarray, "*N 2"]:
        """Pixels of the picture."""
        T = self.T_px_m
        return points_m[..., :2] @ T[:2, :2].T + T[:2, 2]

    def to_perspective(self, focal_px: float, principal_px: tuple[float, float] | None = None) -> PerspectiveCamera:
        """A pinhole camera that agrees with this one on points of depth z = 0.

        principal_px: default is the middle of the crop, as the reference renders; pass the middle of the photo for
        a camera of the whole photo. Translation: z = focal / (pixels per metre), spec 9.
        Raises ConfigError if the crop is turned or stretched in the picture.
        """
        T = self.T_px_m
        per_m = T[0, 0]
        if per_m <= 0 or not np.allclose(T[:2, :2], per_m * np.eye(2), rtol=1e-6, atol=1e-6 * abs(per_m)):
            raise ConfigError("to_perspective needs a crop that is neither turned, mirrored nor stretched in the photo")
        if focal_px <= 0:
            raise ConfigError(f"focal_px={focal_px}: must be positive")
        centre = self.T_px_u[:2, 2] if principal_px is None else np.array(principal_px, dtype=np.float64)
        T_camera_world = np.eye(4)
        T_camera_world[:2, 3] = (T[:2, 2] - centre) / per_m
        T_camera_world[2, 3] = focal_px / per_m
        K = np.array([[focal_px, 0, centre[0]], [0, focal_px, centre[1]], [0, 0, 1.0]])
        return PerspectiveCamera(K=K, T_camera_world=T_camera_world, width_px=self.width_px, height_px=self.height_px)


Camera = PerspectiveCamera | WeakCamera


def look_at(
    eye_m: Float[np.ndarray, " 3"], target_m: Float[np.ndarray, " 3"], up: Float[np.ndarray, " 3"]
) -> Float[np.ndarray, "4 4"]:
    """T_camera_world of a camera at `eye_m` that has `target_m` in its middle and `up` upwards in the picture.

    Raises ConfigError if the eye is at the target or looks along `up`.
    """
    forward = target_m - eye_m
    right = np.cross(forward, up)
    if np.linalg.norm(right) < 1e-9 * max(1.0, float(np.linalg.norm(up))):
        raise ConfigError(f"look_at from {eye_m.tolist()} to {target_m.tolist()}: no direction, or along up")
    z = forward / np.linalg.norm(forward)
    x = right / np.linalg.norm(right)
    T = np.eye(4)
    T[:3, :3] = np.stack([x, np.cross(z, x), z])
    T[:3, 3] = -T[:3, :3] @ eye_m
    return T


def orbit(
    points_m: Float[np.ndarray, "N 3"],
    *,
    azimuth_rad: float,
    elevation_rad: float = 0.0,
    fov_y_rad: float = 0.45,
    width_px: int = 512,
    height_px: int = 512,
    margin: float = 1.08,
) -> PerspectiveCamera:
    """A camera around a y-up model that just has all its points in the picture.

    azimuth_rad: 0 looks at the model's front (its +z side), pi/2 at the model's left side.
    elevation_rad: above the horizon.   margin: 1 touches the picture's border.
    """
    if points_m.ndim != 2 or points_m.shape[-1] != 3 or len(points_m) == 0 or not np.isfinite(points_m).all():
        raise ShapeError(f"orbit needs finite points (N, 3) with N > 0, got shape {points_m.shape}")
    if margin < 1 or abs(elevation_rad) >= np.pi / 2:
        raise ConfigError(f"margin={margin}, elevation_rad={elevation_rad}: need margin >= 1 and |elevation| < pi/2")
    points = np.asarray(points_m, dtype=np.float64)
    middle = 0.5 * (points.min(axis=0) + points.max(axis=0))
    level = np.cos(elevation_rad)
    towards_eye = np.array([np.sin(azimuth_rad) * level, np.sin(elevation_rad), np.cos(azimuth_rad) * level])
    T = look_at(middle + towards_eye, middle, np.array([0.0, 1.0, 0.0]))
    tan_y = np.tan(0.5 * fov_y_rad)
    tan = np.array([tan_y * width_px / height_px, tan_y]) / margin
    turned = (points - middle) @ T[:3, :3].T
    high = np.max(turned[:, :2] - turned[:, 2:] * tan, axis=0)
    low = np.min(turned[:, :2] + turned[:, 2:] * tan, axis=0)
    nearest = -float(turned[:, 2].min())
    distance = max(float(np.max((high - low) / (2 * tan))), 1.01 * nearest + 1e-3)
    shift = 0.5 * (high + low)
    T[:3, 3] = -T[:3, :3] @ middle + np.array([-shift[0], -shift[1], distance])
    return PerspectiveCamera.with_fov(T, fov_y_rad=fov_y_rad, width_px=width_px, height_px=height_px)


def _require_size(width_px: int, height_px: int) -> None:
    if width_px < 1 or height_px < 1:
        raise ConfigError(f"picture of {width_px} x {height_px} pixels: both sides must be at least 1")


def _is_rotation(R: Float[np.ndarray, "3 3"]) -> bool:
    return bool(np.allclose(R @ R.T, np.eye(3), atol=1e-5) and np.linalg.det(R) > 0)
