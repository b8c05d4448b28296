"""SMPL, SMPL-X, MANO and FLAME files as their authors distribute them -> `ModelArrays`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from openexpose.body.arrays import Family, ModelArrays
from openexpose.body.side_files import floats, integers, wrong
from openexpose.errors import AssetError
from openexpose.readers import Npz, read_pickle


@dataclass(frozen=True)
class FamilyLayout:
    """What is fixed about the files of one family."""

    title: str
    vertices: int
    joints: int
    faces: int
    extra: tuple[int, ...]
    names: tuple[str, ...]
    """File names without suffix, {G} = NEUTRAL, {g} = neutral, {i} = initial (n for neutral is spelt out)."""


_SMPLX_EXTRA = (
    9120, 9929, 9448, 616, 6, 5770, 5780, 8846, 8463, 8474, 8635,
    5361, 4933, 5058, 5169, 5286, 8079, 7669, 7794, 7905, 8022,
)  # fmt: skip
_SMPL_EXTRA = (
    332, 6260, 2800, 4071, 583, 3216, 3226, 3387, 6617, 6624, 6787,
    2746, 2319, 2445, 2556, 2673, 6191, 5782, 5905, 6016, 6133,
)  # fmt: skip
LAYOUTS: Final[Mapping[Family, FamilyLayout]] = {
    "smplx": FamilyLayout("SMPL-X", 10475, 55, 20908, _SMPLX_EXTRA, ("SMPLX_{G}", "SMPLX_{G}_2020", "model")),
    "smpl": FamilyLayout(
        "SMPL", 6890, 24, 13776, _SMPL_EXTRA,
        ("SMPL_{G}", "basicModel_{i}_lbs_10_207_0_v1.0.0", "basicmodel_{i}_lbs_10_207_0_v1.0.0",
         "basicmodel_{i}_lbs_10_207_0_v1.1.0"),
    ),
    "mano": FamilyLayout("MANO", 778, 16, 1538, (744, 320, 443, 555, 672), ("MANO_RIGHT", "MANO_LEFT")),
    "flame": FamilyLayout("FLAME", 5023, 5, 9976, (), ("FLAME_{G}", "generic_model")),
}  # fmt: skip
"""Counts and extra keypoint vertices (spec 4.2, 4.4; SMPL's as the body-model authors list them) by family."""


def gender_in(name: str) -> str:
    """The gender that a file name states: "neutral", "male", "female" or "unknown"."""
    low = name.lower()
    for word, gender in (("female", "female"), ("male", "male"), ("neutral", "neutral"), ("generic", "neutral")):
        if word in low:
            return gender
    initial = re.search(r"basicmodel_(m|f)_", low)
    return {"m": "male", "f": "female"}[initial[1]] if initial else "unknown"


def side_of_hand(v_template: NDArray[np.float64], J_regressor: NDArray[np.float64]) -> str:
    """ "right" if the fingers of a MANO template point to -x from the wrist (the body's right), else "left"."""
    joints_m = J_regressor @ v_template
    return "right" if joints_m[1:, 0].mean() < joints_m[0, 0] else "left"


def family_of(vertices: int, joints: int) -> Family | None:
    """The family whose files have these counts, or None."""
    return next((f for f, x in LAYOUTS.items() if (x.vertices, x.joints) == (vertices, joints)), None)


class Source:
    """The named arrays of a `.npz` or `.pkl` model file, read as they are asked for."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.npz = Npz(file) if file.suffix == ".npz" else None
        self.content: Mapping[Any, Any] = {}
        if self.npz is None:
            content = read_pickle(file)
            if not isinstance(content, dict):
                raise wrong(file, f"a {type(content).__name__}", "a body model (SMPL, SMPL-X, MANO or FLAME)")
            self.content = content

    def get(self, key: str) -> Any:
        """One value, or None if there is no such name."""
        if self.npz is None:
            return self.content.get(key)
        return self.npz.read(key) if key in self.npz else None

    def view(self, key: str) -> Any:
        """One array of which only parts are needed: a view of the file where that is possible."""
        mapped = self.npz.memmap(key) if self.npz is not None and key in self.npz else None
        return self.get(key) if mapped is None else mapped

    def close(self) -> None:
        """Close the file."""
        if self.npz is not None:
            self.npz.close()


def read_distributed(file: Path, num_betas: int | None, num_expression: int | None) -> ModelArrays:
    """The model in a `.npz` or `.pkl` file, without what stands in files beside it; AssetError as `read_model`."""
    if file.suffix not in (".npz", ".pkl"):
        raise AssetError(f"cannot read {file}: body models are .npz, .pkl or .safetensors files")
    source = Source(file)
    try:
        return _arrays_of(source, num_betas, num_expression)
    finally:
        source.close()


def _arrays_of(source: Source, num_betas: int | None, num_expression: int | None) -> ModelArrays:
    file = source.file
    v_template = floats(file, "v_template", source.get("v_template"), (None, 3))
    V = len(v_template)
    parents = _parents(file, source.get("kintree_table"))
    J = len(parents)
    family = family_of(V, J)
    if family is None:
        known = ", ".join(f"{x.title} {x.vertices}/{x.joints}" for x in LAYOUTS.values())
        raise wrong(file, f"a body model with {V} vertices and {J} joints", f"one of {known}")
    dirs = source.view("shapedirs")
    shape, expression = _columns(file, dirs, family, num_betas, num_expression)
    J_regressor = floats(file, "J_regressor", source.get("J_regressor"), (J, V))
    faces = integers(file, "f", source.get("f"), (None, 3), V)
    arrays = ModelArrays(
        family=family,
        label="",
        v_template=v_template,
        faces=faces,
        shapedirs=shape,
        exprdirs=expression,
        posedirs=floats(file, "posedirs", source.view("posedirs"), (V, 3, 9 * (J - 1))),
        pose_features=np.arange(9 * (J - 1)),
        J_regressor=J_regressor,
        weights=floats(file, "weights", source.get("weights"), (V, J)),
        parents=parents,
        gender="neutral" if family == "mano" else gender_in(file.name),
        extra_vertices=np.array(LAYOUTS[family].extra) if LAYOUTS[family].extra else None,
        means=_hand_means(source, family, v_template, J_regressor),
    )
    return checked(replace(_with_landmarks(arrays, source), label=_label(arrays, dirs.shape[2])), file)


def _parents(file: Path, table: Any) -> NDArray[np.int64]:
    """Parent of each joint from a (2, J) table, whose root says 4294967295 or -1."""
    if not isinstance(table, np.ndarray) or table.ndim != 2 or table.shape[0] != 2 or table.dtype.kind not in "iuf":
        raise wrong(file, "kintree_table is missing or no table of numbers", "a body model with kintree_table (2, J)")
    parents: NDArray[np.int64] = table[0].astype(np.int64)
    if len(parents):
        parents[0] = -1 if parents[0] in (-1, 2**32 - 1) else parents[0]
    return parents


def _columns(
    file: Path, dirs: Any, family: Family, num_betas: int | None, num_expression: int | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Shape and expression directions; only the columns asked for are read."""
    V = LAYOUTS[family].vertices
    if not isinstance(dirs, np.ndarray) or dirs.ndim != 3 or dirs.dtype.kind != "f":
        raise wrong(file, "shapedirs is missing or no array (V, 3, S)", f"shapedirs ({V}, 3, S)")
    total = dirs.shape[2]
    first = total if family in ("smpl", "mano") else 300 if total >= 400 else 10 if total == 20 else -1
    if first < 0:
        raise wrong(file, f"shapedirs has {total} columns", "20 (v1.0) or 400 columns of shape and expression")
    ends = (at_most(file, "betas", num_betas, first), at_most(file, "expressions", num_expression, total - first))
    pick = (dirs[:, :, : ends[0]], dirs[:, :, first : first + ends[1]])
    return floats(file, "shapedirs", pick[0], (V, 3, None)), floats(file, "shapedirs", pick[1], (V, 3, None))


def at_most(file: Path, what: str, wanted: int | None, there: int) -> int:
    """How many columns to keep: `wanted`, or all when None; AssetError if there are fewer."""
    if wanted is not None and not 0 <= wanted <= there:
        raise AssetError(f"{file}: it has {there} {what}, {wanted} were asked for; ask for at most {there}")
    return there if wanted is None else wanted


def _hand_means(
    source: Source, family: Family, v_template: NDArray[np.float64], J_regressor: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """Mean hand poses and hand PCA, if the file has them."""
    if family == "mano":
        keys = {side_of_hand(v_template, J_regressor): ""}
    else:
        keys = {"left": "l", "right": "r"} if family == "smplx" else {}
    out = {}
    for side, letter in keys.items():
        for kind, shape in (("mean", (45,)), ("components", (45, 45))):
            value = source.get(f"hands_{kind}{letter}")
            if value is not None:
                out[f"{side}_hand_{kind}"] = floats(source.file, f"hands_{kind}{letter}", value, shape)
    return out


def _with_landmarks(arrays: ModelArrays, source: Source) -> ModelArrays:
    """With the landmark tables that SMPL-X files carry themselves."""
    if arrays.family != "smplx" or source.get("lmk_faces_idx") is None:
        return arrays
    file, F = source.file, len(arrays.faces)
    return replace(
        arrays,
        static_faces=integers(file, "lmk_faces_idx", source.get("lmk_faces_idx"), (51,), F),
        static_bary=floats(file, "lmk_bary_coords", source.get("lmk_bary_coords"), (51, 3)),
        dynamic_faces=integers(file, "dynamic_lmk_faces_idx", source.get("dynamic_lmk_faces_idx"), (79, 17), F),
        dynamic_bary=floats(file, "dynamic_lmk_bary_coords", source.get("dynamic_lmk_bary_coords"), (79, 17, 3)),
    )


def _label(arrays: ModelArrays, columns: int) -> str:
    title = LAYOUTS[arrays.family].title
    if arrays.family == "mano":
        return f"{title} {side_of_hand(arrays.v_template, arrays.J_regressor)}"
    words = [title] if arrays.gender == "unknown" else [title, arrays.gender]
    if arrays.family != "flame":
        words.append("v1.0" if columns <= 20 else "v1.1")
    return " ".join(words)


def checked(arrays: ModelArrays, file: Path) -> ModelArrays:
    """The arrays, if they fit together; AssetError otherwise."""
    V, J = len(arrays.v_template), len(arrays.parents)
    if J == 0 or arrays.parents[0] != -1 or any(not 0 <= p < k for k, p in enumerate(arrays.parents) if k):
        raise wrong(file, "its joints do not form a tree", "a kinematic tree whose parents come first")
    sums = arrays.weights.sum(axis=1)
    if arrays.weights.min(initial=0) < -1e-6 or np.abs(sums - 1).max(initial=0) > 2e-3:  # float16 rounds to 5e-4
        raise wrong(file, "its skinning weights do not sum to one", "weights >= 0 that sum to one at each vertex")
    if arrays.extra_vertices is not None and not (arrays.extra_vertices < V).all():
        raise wrong(file, f"it has {V} vertices", "every keypoint vertex")
    return arrays
