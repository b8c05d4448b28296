"""Meshes as the page's 3D viewer reads them: 16-bit coordinates, base64, equal faces stored once."""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from openexpose.errors import DataError
from openexpose.geometry.camera import T_OPENGL_OPENCV, PerspectiveCamera
from openexpose.render.scene import Mesh, Scene


@dataclass(frozen=True, eq=False)
class ViewerMesh:
    """One entry of the viewer's list; y up, metres."""

    name: str
    vertices_m: Float[np.ndarray, "V 3"]
    faces: Int[np.ndarray, "F 3"]
    colour: tuple[float, float, float] = (0.80, 0.62, 0.53)
    """sRGB 0..1."""
    vertex_colours: Float[np.ndarray, "V 3"] | None = None
    """sRGB 0..1, instead of `colour`."""
    note: str = ""
    openness: Float[np.ndarray, " V"] | None = None
    """Share of the sky that each vertex sees, 0..1; None finds it."""


def viewer_data(meshes: Sequence[ViewerMesh], *, together: str = "", camera: PerspectiveCamera | None = None) -> str:
    """JSON for the viewer's data block; safe inside a script element.

    together: name of a first entry with all meshes at once. camera: standing at the origin of the y-up frame, looking
    along -z, as a photo's does. Raises DataError for meshes that cannot be drawn and cameras that stand elsewhere.

    Coordinates are rounded to 1/65535 of the mesh's extent along each axis (0.03 mm for a standing person). Colours
    carry the ambient occlusion as their fourth byte.
    """
    topologies: dict[bytes, int] = {}
    entries: list[dict[str, Any]] = []
    faces: list[dict[str, Any]] = []
    for mesh in meshes:
        drawable = Mesh(mesh.vertices_m, mesh.faces)  # refuses what cannot be drawn
        wide = len(mesh.vertices_m) > 65_535
        packed = mesh.faces.astype("<u4" if wide else "<u2").tobytes()
        if packed not in topologies:
            topologies[packed] = len(faces)
            faces.append({"wide": wide, "faces": _base64(packed)})
        low = mesh.vertices_m.min(axis=0).astype(np.float64)
        step = np.maximum(mesh.vertices_m.max(axis=0) - low, 1e-9) / 65_535
        q = np.rint((mesh.vertices_m - low) / step).astype("<u2")
        entries.append(
            {
                "name": mesh.name,
                "note": mesh.note,
                "topology": topologies[packed],
                "low": low.tolist(),
                "step": step.tolist(),
                "positions": _base64(q.tobytes()),
                "colours": _base64(_paint(mesh, drawable).tobytes()),
            }
        )
    data: dict[str, Any] = {"topologies": faces, "meshes": entries}
    if together:
        data["together"] = together
    if camera is not None:
        if not np.allclose(camera.T_camera_world, T_OPENGL_OPENCV, atol=1e-6):
            raise DataError("the viewer's camera must stand at the origin and look along -z, y up")
        tan = [0.5 * camera.width_px / camera.K[0, 0], 0.5 * camera.height_px / camera.K[1, 1]]
        data["camera"] = {"tanX": float(tan[0]), "tanY": float(tan[1])}
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _paint(mesh: ViewerMesh, drawable: Mesh) -> NDArray[np.uint8]:
    colours = mesh.vertex_colours
    if colours is None:
        colours = np.broadcast_to(np.array(mesh.colour), mesh.vertices_m.shape)
    if colours.shape != mesh.vertices_m.shape:
        raise DataError(f"{mesh.name}: {len(colours)} colours for {len(mesh.vertices_m)} vertices")
    openness = Scene.of(drawable).openness(24, 0.35) if mesh.openness is None else mesh.openness
    if len(openness) != len(colours):
        raise DataError(f"{mesh.name}: {len(openness)} values of openness for {len(colours)} vertices")
    rgba = np.concatenate([np.clip(colours, 0, 1), openness[:, None]], axis=1)
    return np.rint(rgba * 255).astype(np.uint8)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
