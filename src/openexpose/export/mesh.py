"""Meshes as .obj and .ply files: metres, the frame the caller names (y-up for body models), one mesh a file."""

from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from openexpose.errors import DataError, ShapeError
from openexpose.export.files import write_whole

FRAME = "+x the body's left, +y up, +z where the face looks; metres"
"""Frame of the body models at rest, written into the files' headers unless the caller says otherwise."""


def write_obj(
    path: Path,
    vertices_m: Float[np.ndarray, "V 3"],
    faces: Int[np.ndarray, "F 3"],
    *,
    vertex_colours: Float[np.ndarray, "V 3"] | None = None,
    frame: str = FRAME,
) -> None:
    """Leaves a Wavefront .obj with 6 decimals (a micrometre); colours (sRGB 0..1) stand behind the coordinates.

    Raises ShapeError or DataError for arrays that are no mesh.
    """
    _check(vertices_m, faces, vertex_colours)
    rows = vertices_m if vertex_colours is None else np.concatenate([vertices_m, vertex_colours], axis=1)
    head = f"# OpenExPose mesh, {len(vertices_m)} vertices, {len(faces)} faces\n# frame: {_one_line(frame)}\n"
    write_whole(path, head.encode() + _lines(b"v", rows, 6) + _lines(b"f", faces.astype(np.float64) + 1, 0))


def write_ply(
    path: Path,
    vertices_m: Float[np.ndarray, "V 3"],
    faces: Int[np.ndarray, "F 3"],
    *,
    normals: Float[np.ndarray, "V 3"] | None = None,
    vertex_colours: Float[np.ndarray, "V 3"] | None = None,
    frame: str = FRAME,
) -> None:
    """Leaves a binary little-endian .ply: float32 coordinates and normals, colours (sRGB 0..1) as bytes.

    Raises ShapeError or DataError for arrays that are no mesh.
    """
    _check(vertices_m, faces, vertex_colours)
    if normals is not None and normals.shape != vertices_m.shape:
        raise ShapeError(f"{len(normals)} normals for {len(vertices_m)} vertices")
    fields: list[tuple[str, str]] = [(n, "<f4") for n in ("x", "y", "z")]
    columns = [vertices_m]
    if normals is not None:
        fields += [(n, "<f4") for n in ("nx", "ny", "nz")]
        columns.append(normals)
    if vertex_colours is not None:
        fields += [(n, "u1") for n in ("red", "green", "blue")]
        columns.append(np.rint(np.clip(vertex_colours, 0, 1) * 255))
    table = np.empty(len(vertices_m), dtype=fields)
    for (name, _), values in zip(fields, np.concatenate(columns, axis=1).T, strict=True):
        table[name] = values
    index = np.empty(len(faces), dtype=[("n", "u1"), ("v", "<i4", (3,))])
    index["n"], index["v"] = 3, faces
    kinds = {"<f4": "float", "u1": "uchar"}
    head = [
        "ply",
        "format binary_little_endian 1.0",
        "comment OpenExPose mesh",
        f"comment frame: {_one_line(frame)}",
        f"element vertex {len(vertices_m)}",
        *(f"property {kinds[kind]} {name}" for name, kind in fields),
        f"element face {len(faces)}",
        "property list uchar int vertex_indices",
        "end_header",
    ]
    write_whole(path, ("\n".join(head) + "\n").encode() + table.tobytes() + index.tobytes())


def _lines(word: bytes, rows: NDArray[np.floating], decimals: int) -> bytes:
    """One line a row: the word, then each number as `f"{x:.{decimals}f}"` writes it; no loop over rows.

    Every number gets a field of one width, digit by digit; what stands before its first digit is then left out.
    """
    whole = np.rint(np.abs(rows.astype(np.float64)) * 10**decimals).astype(np.int64)
    digits = max(len(str(int(whole.max(initial=0)))), decimals + 1)
    width = 1 + 1 + digits + (decimals > 0)  # space, sign, digits, point
    text = np.full((*rows.shape, width), ord("0"), np.uint8)
    rest, column = whole, width - 1
    for k in range(digits):
        if k == decimals and decimals:
            text[..., column] = ord(".")
            column -= 1
        rest, text[..., column] = rest // 10, rest % 10 + ord("0")
        column -= 1
    powers = 10 ** np.arange(digits - 1, decimals, -1)
    first = (whole[..., None] < powers).sum(-1)  # zeros that nobody writes
    negative = (rows < 0) & (whole > 0)
    start = 2 + first - negative
    np.put_along_axis(text, np.where(negative, start, 2 + first)[..., None], _signed(text, start, negative), -1)
    np.put_along_axis(text, (start - 1)[..., None], np.uint8(ord(" ")), -1)
    keep = np.arange(width) >= (start - 1)[..., None]
    ends = np.full((len(rows), 1), ord("\n"), np.uint8)
    begins = np.tile(np.frombuffer(word, np.uint8), (len(rows), 1))
    lines = np.concatenate([begins, text.reshape(len(rows), -1), ends], axis=1)
    kept = np.pad(keep.reshape(len(rows), -1), ((0, 0), (len(word), 1)), constant_values=True)
    return lines[kept].tobytes()


def _signed(text: NDArray[np.uint8], start: NDArray[np.int64], negative: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """What stands at each number's first place: a minus sign, or the digit that is there already."""
    there = np.take_along_axis(text, start[..., None], -1)
    return np.where(negative[..., None], np.uint8(ord("-")), there)


def _check(
    vertices_m: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"], colours: Float[np.ndarray, "C 3"] | None
) -> None:
    if vertices_m.ndim != 2 or vertices_m.shape[1] != 3 or faces.ndim != 2 or faces.shape[1] != 3:
        raise ShapeError(f"a mesh needs vertices (V, 3) and faces (F, 3), got {vertices_m.shape} and {faces.shape}")
    if not np.isfinite(vertices_m).all():
        raise DataError("the mesh has coordinates that are not finite; nothing was written")
    if len(faces) and (faces.min() < 0 or faces.max() >= len(vertices_m)):
        raise DataError(f"the faces name vertices {faces.min()}..{faces.max()}, the mesh has 0..{len(vertices_m) - 1}")
    if colours is not None and len(colours) != len(vertices_m):
        raise ShapeError(f"{len(colours)} colours for {len(vertices_m)} vertices")


def _one_line(text: str) -> str:
    return " ".join(text.split())
