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


def viewer_data(meshes: Sequence[ViewerMesh]) -> str:
    """JSON for the viewer's data block; safe inside a script element.

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
    text = json.dumps({"topologies": faces, "meshes": entries}, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _paint(mesh: ViewerMesh, drawable: Mesh) -> NDArray[np.uint8]:
    colours = mesh.vertex_colours
    if colours is None:
        colours = np.broadcast_to(np.array(mesh.colour), mesh.vertices_m.shape)
    if colours.shape != mesh.vertices_m.shape:
        raise DataError(f"{mesh.name}: {len(colours)} colours for {len(mesh.vertices_m)} vertices")
    openness = Scene.of(drawable).openness(24, 0.35)
    rgba = np.concatenate([np.clip(colours, 0, 1), openness[:, None]], axis=1)
    return np.rint(rgba * 255).astype(np.uint8)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
