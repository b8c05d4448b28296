"""Bodies as one binary glTF 2.0 file (.glb): skinned, posed, with expressions as morph targets.

Frame of the file: y up, metres, right-handed, faces look along +z: that of the body models at rest. Written from the
specification (Khronos glTF 2.0); names of sections below are its own.
"""

import json
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from openexpose.errors import DataError
from openexpose.export.files import write_whole
from openexpose.export.skinned import Influences, SkinnedMesh, strongest
from openexpose.geometry.camera import T_OPENGL_OPENCV, PerspectiveCamera
from openexpose.render.scene import to_linear, vertex_normals

ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER = 34962, 34963
COMPONENT = {np.dtype("u1"): 5121, np.dtype("<u2"): 5123, np.dtype("<u4"): 5125, np.dtype("<f4"): 5126}
TYPE = {1: "SCALAR", 3: "VEC3", 4: "VEC4", 16: "MAT4"}


@dataclass(frozen=True)
class GlbReport:
    """What was written."""

    size_bytes: int
    dropped_weight_max: float
    """Largest share of one vertex's skinning weight that the influences could not hold."""
    dropped_weight_mean: float


def write_glb(
    path: Path, people: Sequence[SkinnedMesh], *, influences: int = 4, camera: PerspectiveCamera | None = None
) -> GlbReport:
    """Leaves a .glb with all people and returns what was lost in it. See `glb` for the arguments."""
    data, report = glb(people, influences=influences, camera=camera)
    write_whole(path, data)
    return report


def glb(
    people: Sequence[SkinnedMesh], *, influences: int = 4, camera: PerspectiveCamera | None = None
) -> tuple[bytes, GlbReport]:
    """The bytes of a binary glTF 2.0 file with all people, and what was lost.

    influences: joints for each vertex, 4 (every viewer) or 8 (JOINTS_1; exact for all our body models).
    camera: one more node, "photo camera"; its T_camera_world starts in the file's y-up world.
    Equal arrays (faces, weights of people with one body model) are stored once.
    Raises DataError for no people or another number of influences, ConfigError for a camera with skew or unequal
    focal lengths.
    """
    if not people:
        raise DataError("a .glb needs at least one person")
    if influences not in (4, 8):
        raise DataError(f"influences={influences}: glTF holds 4 (JOINTS_0) or 8 (JOINTS_0 and JOINTS_1) a vertex")
    file = _File()
    dropped = [_add_person(file, person, influences) for person in people]
    if camera is not None:
        _add_camera(file, camera)
    data = file.to_bytes()
    report = GlbReport(
        size_bytes=len(data),
        dropped_weight_max=max(d.dropped_max for d in dropped),
        dropped_weight_mean=float(np.mean([d.dropped_mean for d in dropped])),
    )
    return data, report


def quaternion(R: Float[np.ndarray, "*B 3 3"]) -> Float[np.ndarray, "*B 4"]:
    """Unit quaternions (x, y, z, w), w >= 0, of rotation matrices: glTF's order.

    Source: the eigenvector of the largest eigenvalue of Bar-Itzhack's symmetric 4x4 matrix (2000); no special cases.
    """
    m = [[R[..., i, j] for j in range(3)] for i in range(3)]
    rows = [
        [m[0][0] - m[1][1] - m[2][2], m[1][0] + m[0][1], m[2][0] + m[0][2], m[2][1] - m[1][2]],
        [m[1][0] + m[0][1], m[1][1] - m[0][0] - m[2][2], m[2][1] + m[1][2], m[0][2] - m[2][0]],
        [m[2][0] + m[0][2], m[2][1] + m[1][2], m[2][2] - m[0][0] - m[1][1], m[1][0] - m[0][1]],
        [m[2][1] - m[1][2], m[0][2] - m[2][0], m[1][0] - m[0][1], m[0][0] + m[1][1] + m[2][2]],
    ]
    symmetric = np.stack([np.stack(r, axis=-1) for r in rows], axis=-2).astype(np.float64)
    q = np.linalg.eigh(symmetric)[1][..., :, -1]
    return np.where(q[..., 3:] < 0, -q, q)


@dataclass(eq=False)
class _File:
    """The JSON part and the one buffer, as they grow."""

    tree: dict[str, Any] = field(
        default_factory=lambda: {
            "asset": {"version": "2.0", "generator": f"OpenExPose {version('openexpose')}"},
            "scene": 0,
            "scenes": [{"nodes": []}],
        }
    )
    data: bytearray = field(default_factory=bytearray)
    known: dict[tuple[bytes, str], int] = field(default_factory=dict)

    def add(self, kind: str, item: dict[str, Any]) -> int:
        """Append to one of the top-level arrays; returns the index."""
        items: list[dict[str, Any]] = self.tree.setdefault(kind, [])
        items.append(item)
        return len(items) - 1

    def view(self, array: NDArray[Any], target: int | None) -> int:
        while len(self.data) % 4:
            self.data.append(0)
        item = {"buffer": 0, "byteOffset": len(self.data), "byteLength": array.nbytes}
        self.data += array.tobytes()
        return self.add("bufferViews", item if target is None else {**item, "target": target})

    def accessor(
        self, array: NDArray[Any], target: int | None, *, bounds: bool = False, normalized: bool = False
    ) -> int:
        """The accessor of an array (N,) or (N, components); an equal one is used again."""
        array = np.ascontiguousarray(array)
        item = _accessor_head(array)
        if bounds:
            item |= _bounds(array)
        if normalized:
            item["normalized"] = True
        key = (array.tobytes(), json.dumps([item, target]))
        if key not in self.known:
            self.known[key] = self.add("accessors", {"bufferView": self.view(array, target), **item})
        return self.known[key]

    def sparse_accessor(self, array: NDArray[np.float32]) -> int:
        """An accessor of rows that are mostly zero: only the others are stored."""
        moved = np.flatnonzero(np.abs(array).max(axis=1) > 1e-7)
        if len(moved) > len(array) // 2:
            return self.accessor(array, ARRAY_BUFFER, bounds=True)
        if len(moved) == 0:  # without a bufferView an accessor holds zeros
            return self.add("accessors", {**_accessor_head(array), **_bounds(np.zeros_like(array))})
        key = (array.tobytes(), "sparse")
        if key not in self.known:
            index = moved.astype(_index_type(len(array)))
            kept = np.zeros_like(array)
            kept[moved] = array[moved]
            sparse = {
                "count": len(moved),
                "indices": {"bufferView": self.view(index, None), "componentType": COMPONENT[index.dtype]},
                "values": {"bufferView": self.view(np.ascontiguousarray(array[moved]), None)},
            }
            self.known[key] = self.add("accessors", {**_accessor_head(array), **_bounds(kept), "sparse": sparse})
        return self.known[key]

    def to_bytes(self) -> bytes:
        """GLB container: 12-byte header, JSON chunk padded with spaces, BIN chunk padded with zeros."""
        self.tree["buffers"] = [{"byteLength": len(self.data)}]
        text = json.dumps(self.tree, separators=(",", ":"), allow_nan=False).encode()
        text += b" " * (-len(text) % 4)
        data = bytes(self.data) + b"\0" * (-len(self.data) % 4)
        total = 12 + 8 + len(text) + 8 + len(data)
        head = struct.pack("<4sII", b"glTF", 2, total)
        return b"".join(
            (head, struct.pack("<I4s", len(text), b"JSON"), text, struct.pack("<I4s", len(data), b"BIN\0"), data)
        )


def _accessor_head(array: NDArray[Any]) -> dict[str, Any]:
    width = int(np.prod(array.shape[1:]))
    return {"componentType": COMPONENT[array.dtype], "count": len(array), "type": TYPE[width]}


def _bounds(array: NDArray[Any]) -> dict[str, Any]:
    rows = array.reshape(len(array), -1)
    return {"min": rows.min(axis=0).tolist(), "max": rows.max(axis=0).tolist()}


def _index_type(count: int) -> str:
    return "<u2" if count < 65_535 else "<u4"


def _add_person(file: _File, person: SkinnedMesh, influences: int) -> Influences:
    kept = strongest(person.weights, influences)
    first = _add_joints(file, person)
    inverse_bind = np.tile(np.eye(4), (person.J, 1, 1))
    inverse_bind[:, :3, 3] = -person.joints_rest_m
    columns = inverse_bind.swapaxes(1, 2).reshape(-1, 16).astype("<f4")  # glTF stores matrices by columns
    skin = file.add(
        "skins",
        {
            "name": person.name,
            "inverseBindMatrices": file.accessor(columns, None),
            "skeleton": first,
            "joints": list(range(first, first + person.J)),
        },
    )
    mesh = _add_mesh(file, person, kept)
    body = file.add("nodes", {"name": person.name, "mesh": mesh, "skin": skin})
    stand = {
        "name": f"{person.name} skeleton",
        "children": [first],
        "rotation": quaternion(person.T_world_model[:3, :3]).tolist(),
        "translation": person.T_world_model[:3, 3].tolist(),
    }
    file.tree["scenes"][0]["nodes"] += [file.add("nodes", stand), body]
    return kept


def _add_camera(file: _File, camera: PerspectiveCamera) -> None:
    """The photo's camera: field of view and aspect for every viewer, in `extras` what Blender's camera takes."""
    hints = camera.to_blender()  # refuses what glTF cannot say either
    hints.pop("matrix_world")
    tan_y = 0.5 * camera.height_px / float(camera.K[1, 1])
    lens: dict[str, Any] = {
        "type": "perspective",
        "name": "photo camera",
        "perspective": {
            "yfov": 2 * math.atan(tan_y),
            "aspectRatio": camera.width_px / camera.height_px,
            "znear": 0.05,
            "zfar": 1000.0,
        },
        "extras": {
            **hints,
            "resolution_x": camera.width_px,
            "resolution_y": camera.height_px,
            "focal_px": float(camera.K[0, 0]),
        },
    }
    T = camera.T_world_camera @ T_OPENGL_OPENCV  # glTF's cameras look along -z, y up
    node: dict[str, Any] = {
        "name": "photo camera",
        "camera": file.add("cameras", lens),
        "rotation": quaternion(T[:3, :3]).tolist(),
        "translation": T[:3, 3].tolist(),
    }
    file.tree["scenes"][0]["nodes"].append(file.add("nodes", node))


def _add_joints(file: _File, person: SkinnedMesh) -> int:
    """One node a joint, in the order of the joints; returns the index of the root's node."""
    first = len(file.tree.get("nodes", []))
    q = quaternion(person.R_parent_child)
    for k in range(person.J):
        parent = int(person.parents[k])
        offset = (
            person.joints_rest_m[k] + person.root_m
            if parent < 0
            else person.joints_rest_m[k] - person.joints_rest_m[parent]
        )
        node: dict[str, Any] = {
            "name": person.joint_names[k],
            "translation": offset.tolist(),
            "rotation": q[k].tolist(),
        }
        children = [first + int(c) for c in np.flatnonzero(person.parents == k)]
        file.add("nodes", {**node, "children": children} if children else node)
    return first


def _add_mesh(file: _File, person: SkinnedMesh, kept: Influences) -> int:
    v = person.vertices_rest_m.astype("<f4")
    normals = vertex_normals(person.vertices_rest_m.astype(np.float64), person.faces)
    normals[np.linalg.norm(normals, axis=1) < 0.5] = (0, 0, 1)  # vertices without faces; glTF wants unit vectors
    attributes = {
        "POSITION": file.accessor(v, ARRAY_BUFFER, bounds=True),
        "NORMAL": file.accessor(normals.astype("<f4"), ARRAY_BUFFER),
    }
    joint_type = "u1" if person.J <= 256 else "<u2"
    for k in range(kept.weights.shape[1] // 4):
        part = slice(4 * k, 4 * k + 4)
        attributes[f"JOINTS_{k}"] = file.accessor(kept.joints[:, part].astype(joint_type), ARRAY_BUFFER)
        attributes[f"WEIGHTS_{k}"] = file.accessor(kept.weights[:, part].astype("<f4"), ARRAY_BUFFER)
    if person.vertex_colours is not None:
        linear = np.rint(np.pad(to_linear(person.vertex_colours), ((0, 0), (0, 1)), constant_values=1) * 65_535)
        attributes["COLOR_0"] = file.accessor(linear.astype("<u2"), ARRAY_BUFFER, normalized=True)
    faces = person.faces.astype(_index_type(len(v))).reshape(-1)
    primitive: dict[str, Any] = {
        "attributes": attributes,
        "indices": file.accessor(faces, ELEMENT_ARRAY_BUFFER),
        "material": _add_material(file, person),
        "mode": 4,
    }
    mesh: dict[str, Any] = {"name": person.name, "primitives": [primitive]}
    if person.morphs:
        primitive["targets"] = [{"POSITION": file.sparse_accessor(m.astype("<f4"))} for m in person.morphs.values()]
        mesh["weights"] = [float(person.morph_values.get(name, 0.0)) for name in person.morphs]
        mesh["extras"] = {"targetNames": list(person.morphs)}
    return file.add("meshes", mesh)


def _add_material(file: _File, person: SkinnedMesh) -> int:
    base = [*to_linear(np.array(person.colour)).astype(float).tolist(), 1.0]
    material = {
        "name": "skin",
        "pbrMetallicRoughness": {"baseColorFactor": base, "metallicFactor": 0.0, "roughnessFactor": 0.65},
        "doubleSided": True,
    }
    materials: list[dict[str, Any]] = file.tree.get("materials", [])
    return materials.index(material) if material in materials else file.add("materials", material)
