"""The small files that stand beside body models: mean poses, vertex maps, joint regressors, landmark embeddings."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openexpose.errors import AssetError
from openexpose.readers import SparseMatrix, read_npy, read_pickle

PARTS = {"body_pose": 21, "left_hand_pose": 15, "right_hand_pose": 15}
"""Joints in each block of `all_means.pkl`."""
_FORMS = {"aa": (3,), "cont_rot_repr": (6,), "rot_mats": (3, 3)}


def wrong(path: Path, what: str, want: str) -> AssetError:
    """An AssetError for a file that can be read but is not what its place asks for (to be raised by the caller)."""
    return AssetError(f"{path}: {what}; expected {want}. `openexpose doctor` shows where to get the right file.")


def floats(path: Path, key: str, value: Any, shape: tuple[int | None, ...]) -> NDArray[np.float64]:
    """`value` as finite float64 of `shape` (None: any length); AssetError naming file and key otherwise."""
    if isinstance(value, SparseMatrix):
        if any(n is not None and n != m for n, m in zip(shape, value.shape, strict=False)):
            raise wrong(path, f"{key} has shape {value.shape}", _shape_text(shape))
        value = value.dense()
    if isinstance(value, np.ndarray) and value.dtype == object and value.ndim == 0:
        return floats(path, key, value.item(), shape)
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu":
        what = "is missing" if value is None else f"is a {type(value).__name__}, not an array of numbers"
        raise wrong(path, f"{key} {what}", f"{key} {_shape_text(shape)}")
    if value.ndim != len(shape) or any(n is not None and n != m for n, m in zip(shape, value.shape, strict=True)):
        raise wrong(path, f"{key} has shape {value.shape}", _shape_text(shape))
    fresh = value.flags.owndata and value.flags.writeable  # anything else is a view of the file, maybe not aligned
    out = np.ascontiguousarray(value, np.float64) if fresh else np.array(value, np.float64, order="C")
    if not np.isfinite(out).all():
        raise wrong(path, f"{key} contains NaN or infinity", "finite numbers")
    return out


def integers(path: Path, key: str, value: Any, shape: tuple[int | None, ...], end: int) -> NDArray[np.int64]:
    """`value` as int64 of `shape` with entries in 0..end-1; AssetError naming file and key otherwise."""
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "iuf":
        what = "is missing" if value is None else f"is a {type(value).__name__}, not an array of numbers"
        raise wrong(path, f"{key} {what}", f"{key} {_shape_text(shape)}")
    if value.ndim != len(shape) or any(n is not None and n != m for n, m in zip(shape, value.shape, strict=True)):
        raise wrong(path, f"{key} has shape {value.shape}", _shape_text(shape))
    if value.size and not (0 <= value.min() <= value.max() < end):
        raise wrong(path, f"{key} has entries outside 0..{end - 1}", "indices within the model")
    out = np.array(value, np.int64, order="C")
    if value.dtype.kind == "f" and not np.array_equal(out, value):
        raise wrong(path, f"{key} has broken numbers", "whole indices")
    return out


def read_any(path: Path) -> Any:
    """What a `.npy` or `.pkl` file holds; a single pickled object inside a `.npy` is taken out of its array."""
    path = Path(path)
    if path.suffix == ".npy":
        value = read_npy(path)
        return value.item() if value.dtype == object and value.ndim == 0 else value
    return read_pickle(path)


def read_means(path: Path) -> dict[str, dict[str, NDArray[np.float64]]]:
    """Mean poses of `all_means.pkl`: {"body_pose", "left_hand_pose", "right_hand_pose"} -> forms of rotation.

    Each holds "aa" (J, 3) radians, "cont_rot_repr" (J, 6) and, if the file has it, "rot_mats" (J, 3, 3); J = 21, 15,
    15. Extra axes of length one, as some releases have, are dropped. Raises AssetError.
    """
    path = Path(path)
    content = read_pickle(path)
    if not isinstance(content, dict):
        raise wrong(path, f"a {type(content).__name__}", "a dictionary of mean poses (all_means.pkl)")
    out: dict[str, dict[str, NDArray[np.float64]]] = {}
    for part, joints in PARTS.items():
        entry = content.get(part)
        if not isinstance(entry, dict):
            raise wrong(path, f"no entry {part!r}", f"mean poses of {', '.join(PARTS)}")
        out[part] = {}
        for form, tail in _FORMS.items():
            value = entry.get(form)
            if value is None and form == "rot_mats":
                continue
            if isinstance(value, np.ndarray) and value.size == joints * int(np.prod(tail)):
                value = value.reshape(joints, *tail)
            out[part][form] = floats(path, f"{part}/{form}", value, (joints, *tail))
    return out


def read_shape_mean(path: Path) -> NDArray[np.float64]:
    """Mean betas (n,), n >= 10, of `shape_mean.npy`; AssetError if it holds anything else."""
    path = Path(path)
    value = read_npy(path)
    flat = floats(path, "mean betas", value.reshape(-1), (None,))
    if len(flat) < 10:
        raise wrong(path, f"{len(flat)} mean betas", "at least 10")
    return flat


def read_vertex_ids(path: Path, vertices: int = 10475) -> dict[str, NDArray[np.int64]]:
    """Vertex ids by region: {"left_hand", "right_hand"} of a MANO_SMPLX `.pkl`, {"head"} of a FLAME `.npy`.

    Row order is the vertex order of MANO or FLAME; every id is below `vertices`. Raises AssetError.
    """
    path = Path(path)
    content = read_any(path)
    if isinstance(content, np.ndarray):
        content = {"head": content.reshape(-1)}
    if not isinstance(content, dict) or not content:
        raise wrong(path, f"a {type(content).__name__}", "vertex ids")
    names = ("head",) if "head" in content else ("left_hand", "right_hand")
    return {name: integers(path, name, content.get(name), (None,), vertices) for name in names}


def read_regressor(path: Path, vertices: int | None = None) -> NDArray[np.float64]:
    """Joint regressor (K, V) of a `.npy` or `.pkl` file; AssetError unless V is `vertices` (None: any)."""
    return floats(Path(path), "regressor", read_any(path), (None, vertices))


def read_embedding(path: Path, lead: tuple[int, ...], faces: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Landmarks as (face ids `lead`, barycentric weights `lead` + (3,)) of a FLAME embedding `.npy` or `.pkl`.

    lead is (51,) for the static file and (79, 17) for the jaw contour. Raises AssetError.
    """
    path = Path(path)
    content = read_any(path)
    if not isinstance(content, Mapping):
        raise wrong(path, f"a {type(content).__name__}", "a dictionary with lmk_face_idx and lmk_b_coords")
    ids = integers(path, "lmk_face_idx", content.get("lmk_face_idx"), lead, faces)
    return ids, floats(path, "lmk_b_coords", content.get("lmk_b_coords"), (*lead, 3))


def _shape_text(shape: tuple[int | None, ...]) -> str:
    return "(" + ", ".join("n" if n is None else str(n) for n in shape) + ")"
