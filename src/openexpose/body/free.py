"""FreeBody, FreeHand and FreeHead: the body models inside the package (docs/freebody.md says how they are made)."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load

from openexpose.body.arrays import Family, ModelArrays
from openexpose.errors import AssetError

FORMAT = "openexpose-free-1"
"""Written into the header of each file; `build_free.store` writes what this module reads."""
FILES = {"body": "free_body.safetensors", "hand": "free_hand.safetensors", "head": "free_head.safetensors"}
"""File names inside this package."""

_AXES: tuple[str, ...] = ("x", "y", "z")
_OPTIONAL = ("extra_vertices", "static_faces", "static_bary", "dynamic_faces", "dynamic_bary")


@dataclass(frozen=True)
class FacialActions:
    """The 52 named facial actions (browDownLeft ... tongueOut) in the parameters of FreeBody and FreeHead."""

    names: tuple[str, ...]
    expression: NDArray[np.float64]
    """(52, 50) expression coefficients of each action at full strength; the first 10 columns are FreeBody's."""
    jaw_rad: NDArray[np.float64]
    """(52, 3) axis-angle of the jaw that belongs to it."""
    left_eye_rad: NDArray[np.float64]
    """(52, 3) axis-angle of the left eyeball."""
    right_eye_rad: NDArray[np.float64]
    """(52, 3) axis-angle of the right eyeball."""


def load_body() -> ModelArrays:
    """FreeBody: SMPL-X's 55 joints, parameters and 144 keypoints on a free surface."""
    return read(_shipped("body"))


def load_hand() -> ModelArrays:
    """FreeHand: the right hand of FreeBody with MANO's 16 joints and 10 betas of its own."""
    return read(_shipped("hand"))


def load_head() -> ModelArrays:
    """FreeHead: the head of FreeBody with FLAME's 5 joints, 100 betas and 50 expressions."""
    return read(_shipped("head"))


def load_mirror() -> NDArray[np.int64]:
    """(V,) for each vertex of FreeBody the one on the other side of the body."""
    return np.asarray(_tensors(_shipped("body"))[0]["mirror"], np.int64)


def load_facial_actions() -> FacialActions:
    """What each named facial action is in expression coefficients and in turns of jaw and eyes."""
    tensors, header = _tensors(_shipped("head"))
    names = tuple(str(s) for s in json.loads(header["action_names"]))
    parts = {
        k: np.asarray(tensors[f"actions.{k}"], np.float64)
        for k in ("expression", "jaw_rad", "left_eye_rad", "right_eye_rad")
    }
    return FacialActions(names, **parts)


def read(path: Path) -> ModelArrays:
    """A free body model from a file that `openexpose body build-free` wrote.

    Raises AssetError if the file is missing, damaged, or something else.
    """
    tensors, header = _tensors(path)
    if header.get("family") not in get_args(Family):
        raise AssetError(
            f"{path}: family {header.get('family')!r} is unknown; build it again: openexpose body build-free"
        )
    try:
        return decode(tensors, header)
    except (KeyError, IndexError, ValueError) as e:
        raise AssetError(
            f"{path}: not a complete free body model ({e!r}); build it again: openexpose body build-free"
        ) from e


def decode(tensors: Mapping[str, NDArray[Any]], header: Mapping[str, str]) -> ModelArrays:
    """The arrays that a file's tensors and header stand for.

    Raises KeyError, IndexError or ValueError if tensors are missing or do not fit each other.
    """
    template = np.asarray(tensors["v_template"], np.float64)
    V, J = len(template), len(tensors["parents"])
    groups: dict[str, dict[str, NDArray[Any]]] = {"regressors": {}, "regions": {}, "means": {}}
    for name, value in tensors.items():
        group, _, key = name.partition(".")
        if group in ("regions", "means"):
            groups[group][key] = value.astype(np.int64 if group == "regions" else np.float64)
        elif group == "regressors" and key.endswith(".values"):
            stem = key.removesuffix(".values")
            groups[group][stem] = _sparse_rows(tensors, f"regressors.{stem}", V)
    optional: dict[str, Any] = {
        k: np.asarray(tensors[k], np.int64 if k.endswith(("faces", "vertices")) else np.float64)
        for k in _OPTIONAL
        if k in tensors
    }
    return ModelArrays(
        family=header["family"],  # type: ignore[arg-type]  # checked by the caller
        label=header["label"],
        v_template=template,
        faces=np.asarray(tensors["faces"], np.int64),
        shapedirs=_blocks(tensors, "shapedirs", V),
        exprdirs=_blocks(tensors, "exprdirs", V),
        posedirs=_blocks(tensors, "posedirs", V),
        pose_features=np.asarray(tensors["pose_features"], np.int64),
        J_regressor=_sparse_rows(tensors, "J_regressor", V),
        weights=_sparse_rows(tensors, "weights", J),
        parents=np.asarray(tensors["parents"], np.int64),
        regressors=groups["regressors"],
        regions=groups["regions"],
        means=groups["means"],
        sha256=header.get("sha256", ""),
        **optional,
    )


def _shipped(part: str) -> Path:
    return Path(__file__).with_name(FILES[part])


def _tensors(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """All tensors, and the header with the hash of the bytes added."""
    try:
        data = path.read_bytes()
    except OSError as e:
        raise AssetError(f"{path} cannot be read ({e.strerror}); build it: openexpose body build-free") from e
    try:
        tensors = load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")]).get("__metadata__", {})
    except (SafetensorError, ValueError) as e:
        raise AssetError(f"{path} is damaged ({e}); build it again: openexpose body build-free") from e
    if header.get("format") != FORMAT:
        raise AssetError(f"{path} is not a free body model of format {FORMAT}; see openexpose body show --help")
    return tensors, {**header, "sha256": hashlib.sha256(data).hexdigest()}


def _blocks(tensors: Mapping[str, NDArray[Any]], name: str, vertices: int) -> NDArray[np.float64]:
    """(V, 3, C) from blocks of columns, each stored as whole numbers times a scale per column on some vertices only."""
    columns = []
    for k in range(sum(n.startswith(f"{name}.") and n.endswith(".steps") for n in tensors)):
        steps, scale = tensors[f"{name}.{k}.steps"], np.asarray(tensors[f"{name}.{k}.scale"], np.float64)
        block = np.zeros((vertices, len(_AXES), steps.shape[2]))
        block[tensors[f"{name}.{k}.vertices"].astype(np.int64)] = steps.astype(np.float64) * scale
        columns.append(block)
    return np.concatenate(columns, 2) if columns else np.zeros((vertices, len(_AXES), 0))


def _sparse_rows(tensors: Mapping[str, NDArray[Any]], name: str, width: int) -> NDArray[np.float64]:
    """(R, width) matrix whose rows have few entries and sum to one."""
    index = tensors[f"{name}.index"].astype(np.int64)
    values = tensors[f"{name}.values"].astype(np.float64)
    out = np.zeros((len(index), width))
    np.add.at(out, (np.arange(len(index))[:, None], index), values)
    total: NDArray[np.float64] = out.sum(1, keepdims=True)
    return out / total
