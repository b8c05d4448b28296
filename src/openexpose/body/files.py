"""Body-model files -> `ModelArrays`: SMPL, SMPL-X, MANO and FLAME as distributed, and our own safetensors."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from openexpose.body.arrays import Family, ModelArrays
from openexpose.body.distributed import LAYOUTS, at_most, checked, read_distributed
from openexpose.body.side_files import floats, integers, read_embedding, read_regressor, read_vertex_ids, wrong
from openexpose.errors import AssetError
from openexpose.readers import read_safetensors, sha256_of, write_safetensors

FORMAT = "openexpose-body-1"
_Array = NDArray[Any]


def read_model(
    path: Path,
    family: Family | None = None,
    *,
    gender: str | None = None,
    num_betas: int | None = None,
    num_expression: int | None = None,
    landmarks_dir: Path | None = None,
) -> ModelArrays:
    """The body model in a `.pkl`, `.npz` or `.safetensors` file, recognised by its contents.

    path: the file, or a folder of the data tree that holds it (then `gender`, neutral if None, picks the file).
    family, gender: what the caller needs; a file of another family or named after another gender is refused.
    num_betas, num_expression: how many columns to read, None for all. SMPL-X expression starts at column 300, or 10
    in the 20-column files of v1.0; FLAME's at 300. landmarks_dir: where FLAME's two embeddings are, if not beside it.
    Files beside the model fill `regressors` ("j14", "h36m") and `regions` ("left_hand", "right_hand", "head").
    Nothing in a file is run. Raises AssetError if it is missing, damaged or another model, or has too few columns.
    """
    file = _file_in(Path(path), family, gender) if Path(path).is_dir() else Path(path)
    with ThreadPoolExecutor(1) as pool:
        digest = pool.submit(sha256_of, file)
        if file.suffix == ".safetensors":
            arrays = _read_own(file)
        else:
            arrays = read_distributed(file, num_betas, num_expression)
            arrays = _with_side_files(arrays, file, Path(landmarks_dir) if landmarks_dir else file.parent)
        arrays = replace(arrays, sha256=digest.result())
    if family is not None and arrays.family != family:
        raise wrong(file, f"it holds {arrays.label}", f"a {LAYOUTS[family].title} model")
    if gender is not None and arrays.gender not in (gender, "unknown"):
        raise wrong(file, f"it holds {arrays.label}", f"the {gender} model")
    return _cut(arrays, num_betas, num_expression, file)


def write_model(arrays: ModelArrays, path: Path, *, dtype: Literal["float64", "float32", "float16"]) -> None:
    """Write a body model as one `.safetensors` file that `read_model` reads back; numbers are rounded to `dtype`.

    Raises DataError when the disk refuses, AssetError for another suffix. Licensed models stay under their licence.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise AssetError(f"cannot write {path}: our body models are .safetensors files; change the suffix")
    tensors: dict[str, _Array] = {}
    for name in _FLOATS + _INTEGERS:
        value = getattr(arrays, name)
        if value is not None:
            tensors[name] = value
    for group in _GROUPS:
        tensors |= {f"{group}.{key}": value for key, value in getattr(arrays, group).items()}
    stored = {k: v.astype(np.int32 if v.dtype.kind in "iu" else dtype) for k, v in tensors.items()}
    about = {"family": arrays.family, "label": arrays.label, "gender": arrays.gender, "source_sha256": arrays.sha256}
    write_safetensors(path, stored, {"format": FORMAT, "openexpose": json.dumps(about, sort_keys=True)})


# ---- files beside the model ------------------------------------------------------------------------------------


def _with_side_files(arrays: ModelArrays, file: Path, landmarks_dir: Path) -> ModelArrays:
    folders = (file.parent, file.parent.parent)
    V, F = len(arrays.v_template), len(arrays.faces)
    if arrays.family == "smplx":
        j14 = _beside(folders, "SMPLX_to_J14.npy", "SMPLX_to_J14.pkl")
        ids = [_beside(folders, "MANO_SMPLX_vertex_ids.pkl"), _beside(folders, "SMPL-X__FLAME_vertex_ids.npy")]
        regions = {k: v for p in ids if p is not None for k, v in read_vertex_ids(p, V).items()}
        return replace(arrays, regressors={} if j14 is None else {"j14": read_regressor(j14, V)}, regions=regions)
    if arrays.family == "smpl":
        h36m = _beside(folders, "J_regressor_h36m.npy")
        return replace(arrays, regressors={} if h36m is None else {"h36m": read_regressor(h36m, V)})
    if arrays.family == "flame":
        static = _beside((landmarks_dir,), "flame_static_embedding.pkl", "flame_static_embedding.npy")
        dynamic = _beside((landmarks_dir,), "flame_dynamic_embedding.npy", "flame_dynamic_embedding.pkl")
        if static is not None:
            faces, bary = read_embedding(static, (51,), F)
            arrays = replace(arrays, static_faces=faces, static_bary=bary)
        if dynamic is not None:
            faces, bary = read_embedding(dynamic, (79, 17), F)
            arrays = replace(arrays, dynamic_faces=faces, dynamic_bary=bary)
    return arrays


def _beside(folders: tuple[Path, ...], *names: str) -> Path | None:
    return next((f / name for f in folders for name in names if (f / name).is_file()), None)


def _file_in(folder: Path, family: Family | None, gender: str | None) -> Path:
    """The model file in a folder of the data tree, or in its sub-folder named after the family."""
    if gender not in (None, "neutral", "male", "female"):
        raise AssetError(f"gender {gender!r} is unknown: neutral, male or female")
    words = {"G": (gender or "neutral").upper(), "i": {"male": "m", "female": "f"}.get(gender or "", "neutral")}
    families: tuple[Family, ...] = (family,) if family is not None else tuple(LAYOUTS)
    tried = []
    found: dict[Family, Path] = {}
    for fam in families:
        for pattern in LAYOUTS[fam].names:
            for place in (folder, folder / fam):
                for suffix in (".npz", ".pkl", ".safetensors"):
                    candidate = place / (pattern.format(**words) + suffix)
                    tried.append(candidate)
                    if fam not in found and candidate.is_file():
                        found[fam] = candidate
    if len(found) == 1:
        return next(iter(found.values()))
    if found:
        raise AssetError(f"{folder} holds several models ({', '.join(p.name for p in found.values())}): name the file")
    shown = "\n".join(f"  {p}" for p in tried if p.parent == folder)
    raise AssetError(f"no body model in {folder}. Looked for:\n{shown}\n`openexpose doctor` shows where to get them.")


# ---- our own files ---------------------------------------------------------------------------------------------

_FLOATS = (
    "v_template", "shapedirs", "exprdirs", "posedirs", "J_regressor", "weights", "static_bary", "dynamic_bary",
)  # fmt: skip
_INTEGERS = ("faces", "pose_features", "parents", "extra_vertices", "static_faces", "dynamic_faces")
_GROUPS = ("regressors", "regions", "means")


def _read_own(file: Path) -> ModelArrays:
    tensors, metadata = read_safetensors(file)
    try:
        about = json.loads(metadata["openexpose"])
        family, label, gender = about["family"], about["label"], about["gender"]
    except (KeyError, ValueError, TypeError, RecursionError) as e:
        raise wrong(file, "no body model of ours (its metadata is missing)", f"a file of format {FORMAT}") from e
    if metadata.get("format") != FORMAT or family not in LAYOUTS or not isinstance(label, str):
        raise wrong(file, f"format {metadata.get('format')!r}, family {family!r}", f"a file of format {FORMAT}")
    fields: dict[str, Any] = {name: tensors.get(name) for name in _FLOATS + _INTEGERS}
    for group in _GROUPS:
        fields[group] = {k.partition(".")[2]: v for k, v in tensors.items() if k.startswith(f"{group}.")}
    sized = _shapes_checked(file, fields)
    return checked(ModelArrays(family=cast(Family, family), label=label, gender=str(gender), **sized), file)


def _shapes_checked(file: Path, x: dict[str, Any]) -> dict[str, Any]:
    """The fields of a file of ours as float64 and int64, sizes and index ranges checked."""
    size = {k: 0 if x[k] is None else x[k].shape[0] for k in ("v_template", "faces", "parents", "pose_features")}
    V, F, J, P = size.values()
    out: dict[str, Any] = {
        "v_template": floats(file, "v_template", x["v_template"], (V, 3)),
        "faces": integers(file, "faces", x["faces"], (F, 3), V),
        "shapedirs": floats(file, "shapedirs", x["shapedirs"], (V, 3, None)),
        "exprdirs": floats(file, "exprdirs", x["exprdirs"], (V, 3, None)),
        "posedirs": floats(file, "posedirs", x["posedirs"], (V, 3, P)),
        "pose_features": integers(file, "pose_features", x["pose_features"], (P,), max(9 * (J - 1), 0)),
        "J_regressor": floats(file, "J_regressor", x["J_regressor"], (J, V)),
        "weights": floats(file, "weights", x["weights"], (V, J)),
        "regressors": {k: floats(file, k, v, (None, V)) for k, v in x["regressors"].items()},
        "regions": {k: integers(file, k, v, (None,), V) for k, v in x["regions"].items()},
        "means": {k: floats(file, k, v, (None,) * np.ndim(v)) for k, v in x["means"].items()},
    }
    if x["parents"] is None or x["parents"].ndim != 1 or x["parents"].dtype.kind != "i":
        raise wrong(file, "parents is missing or no list of integers", "a body model of ours")
    out["parents"] = x["parents"].astype(np.int64)
    optional: tuple[tuple[str, tuple[int | None, ...], int], ...] = (
        ("extra_vertices", (None,), V), ("static_faces", (None,), F), ("dynamic_faces", (None, None), F)
    )  # fmt: skip
    for name, shape, end in optional:
        out[name] = None if x[name] is None else integers(file, name, x[name], shape, end)
    for name in ("static", "dynamic"):
        ids = out[f"{name}_faces"]
        out[f"{name}_bary"] = None if ids is None else floats(file, f"{name}_bary", x[f"{name}_bary"], (*ids.shape, 3))
    return out


def _cut(arrays: ModelArrays, num_betas: int | None, num_expression: int | None, file: Path) -> ModelArrays:
    """With only the first columns; files as distributed were cut while reading."""
    S = at_most(file, "betas", num_betas, arrays.shapedirs.shape[2])
    E = at_most(file, "expressions", num_expression, arrays.exprdirs.shape[2])
    if (arrays.shapedirs.shape[2], arrays.exprdirs.shape[2]) == (S, E):
        return arrays
    return replace(arrays, shapedirs=arrays.shapedirs[..., :S].copy(), exprdirs=arrays.exprdirs[..., :E].copy())
