"""Rays of cameras."""

import numpy as np
from numpy.typing import NDArray

from openexpose.geometry.camera import Camera, PerspectiveCamera


def rays(
    camera: Camera, pixels: NDArray[np.floating], near_m: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Origins and directions (N, 3) of the rays through pixel positions (column, row), in the meshes' frame.

    The direction's component along the viewing axis is 1, so a ray parameter is a depth: from the camera for a
    PerspectiveCamera, from the plane z = near_m for a WeakCamera.
    """
    # written out instead of a matrix product: BLAS would start threads for rows of three
    column, row = pixels[:, :1], pixels[:, 1:]
    if isinstance(camera, PerspectiveCamera):
        M = camera.T_camera_world[:3, :3].T @ np.linalg.inv(camera.K)
        directions = (column * M[:, 0] + row * M[:, 1] + M[:, 2]).astype(np.float32)
        eye = camera.T_world_camera[:3, 3].astype(np.float32)
        return np.broadcast_to(eye, directions.shape), directions
    M = np.linalg.inv(camera.T_px_m)
    origins = (column * M[:, 0] + row * M[:, 1] + M[:, 2]).astype(np.float32)
    origins[:, 2] = near_m
    return origins, np.broadcast_to(np.array([0, 0, 1], dtype=np.float32), origins.shape)
