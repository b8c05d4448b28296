"""What is kept of a photo: `result.json` for reading, `result.npz` for computing, both the same numbers.

`docs/result.md` describes every key; `result.schema.json` beside this file is the JSON schema. The JSON is written
last and names the other files, so whoever finds it finds everything.
"""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openexpose import __version__
from openexpose.errors import DataError
from openexpose.export.files import write_whole
from openexpose.geometry.camera import PerspectiveCamera
from openexpose.prediction import PART_NAMES, POSE_BLOCKS, FocalFrom, ModelInfo, Prediction
from openexpose.readers import put_npz, read_npz

SCHEMA, VERSION = "openexpose-result", 1
"""Format and version; the version grows when a key changes its meaning or goes away."""
JSON_NAME, NPZ_NAME = "result.json", "result.npz"
MAX_JSON_BYTES = 1 << 28
CONVENTIONS: Mapping[str, Any] = {
    "flat_hand_mean": True,
    "rotations": "parent from child, absolute; global_orient is camera from body",
    "frame": "camera: x right, y down, z away from the viewer; metres; the camera stands at the origin",
    "pixels": "upright photo; (0, 0) is the centre of the top left pixel",
    "transl_m": "added to the posed body model; the pelvis is not at the origin of the body model",
    "weak_camera": "u = s * (X_xy + t), -1 and 1 at the centres of the first and last pixel of the crop",
}
"""What the numbers mean, written into every file."""
_DIGITS = 6


@dataclass(frozen=True, eq=False)
class About:
    """What a result says about the photo and the run, also where nobody was found."""

    photo: str
    """Name of the photo."""
    size_px: tuple[int, int]
    """Width and height."""
    camera: PerspectiveCamera
    focal_from: FocalFrom
    model: ModelInfo
    detector: str
    """Who found the people."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Options that change the files; a resumed run redoes photos whose settings differ."""


def write_result(folder: Path, people: Sequence[Prediction], about: About, *, files: Sequence[str] = ()) -> None:
    """Write `result.npz`, then `result.json`, each all or nothing.

    files: names in the folder that belong to the result and are written already.
    Raises DataError when the disk is full or refuses.
    """
    for name, data in result_files(people, about, files=files).items():
        write_whole(folder / name, data)


def result_files(people: Sequence[Prediction], about: About, *, files: Sequence[str] = ()) -> dict[str, bytes]:
    """What `write_result` writes, by file name in the order of writing; the same people give the same bytes."""
    npz = io.BytesIO()
    put_npz(npz, arrays_of(people, about), compressed=True, name=NPZ_NAME)
    document = document_of(people, about, files=[NPZ_NAME, *sorted(files)])
    text = json.dumps(document, separators=(",", ":"), allow_nan=False)
    return {NPZ_NAME: npz.getvalue(), JSON_NAME: f"{text}\n".encode()}


def document_of(people: Sequence[Prediction], about: About, *, files: Sequence[str]) -> dict[str, Any]:
    """The contents of `result.json`."""
    camera = about.camera
    models = {**asdict(about.model), "detector": about.detector}
    flat_hand_mean = models.pop("flat_hand_mean")
    return {
        "schema": SCHEMA,
        "schema_version": VERSION,
        "made_by": f"openexpose {__version__}",
        "photo": {"name": about.photo, "width_px": about.size_px[0], "height_px": about.size_px[1]},
        "models": models,
        "conventions": {**CONVENTIONS, "flat_hand_mean": flat_hand_mean},
        "camera": {
            "K": _plain(camera.K),
            "T_camera_world": _plain(camera.T_camera_world),
            "focal_px": round(float(camera.K[0, 0]), _DIGITS),
            "focal_from": about.focal_from,
        },
        "settings": dict(about.settings),
        "files": list(files),
        "people": [_person(p) for p in people],
    }


def arrays_of(people: Sequence[Prediction], about: About) -> dict[str, NDArray[Any]]:
    """The contents of `result.npz`: one row a person; without people the arrays have no rows, and no names."""
    names = {"part_names": np.array(PART_NAMES), "K": about.camera.K, "T_camera_world": about.camera.T_camera_world}
    photo = {"photo": np.array(about.photo), "photo_size_px": np.array(about.size_px, np.int64)}
    fixed: dict[str, NDArray[Any]] = {"schema_version": np.array(VERSION), **photo, **names}
    rows = [_row(p) for p in people]
    if not rows:
        return fixed | {"box_px": np.zeros((0, 4), np.float32), "score": np.zeros(0, np.float32)}
    points = {"joint_names": np.array(people[0].joint_names), "keypoint_names": np.array(people[0].keypoint_names)}
    return fixed | points | {key: np.stack([row[key] for row in rows]) for key in rows[0]}


def read_result(folder: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """The document and the arrays of one photo's folder.

    Raises DataError if the JSON is missing, damaged, or of a newer version.
    """
    document = read_document(folder / JSON_NAME)
    return document, read_npz(folder / NPZ_NAME)


def read_document(path: Path) -> dict[str, Any]:
    """`result.json`. Raises DataError if it is missing, damaged, something else, or of a newer version."""
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise DataError(f"{path} is too large for a result file")
        document = json.loads(path.read_text(encoding="utf8"))
    except (OSError, ValueError, RecursionError) as e:
        raise DataError(f"{path} cannot be read ({e}); run openexpose predict on the photo again") from e
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise DataError(f"{path} is not a result of openexpose predict")
    if document.get("schema_version") != VERSION:
        raise DataError(f"{path} has version {document.get('schema_version')!r}, this program reads {VERSION}")
    return document


def is_complete(folder: Path, settings: Mapping[str, Any]) -> bool:
    """Whether the folder holds a whole result made with these settings: what `--resume` skips."""
    try:
        document = read_document(folder / JSON_NAME)
    except DataError:
        return False
    same = document.get("settings") == json.loads(json.dumps(dict(settings)))
    return same and all((folder / name).is_file() for name in _files(document))


def clear_old(folder: Path) -> None:
    """Remove the files that an earlier result here names, its JSON first; anything else stays."""
    path = folder / JSON_NAME
    try:
        names = _files(read_document(path))
    except DataError:
        names = []
    for name in (JSON_NAME, *names):
        try:
            (folder / name).unlink(missing_ok=True)
        except OSError as e:
            raise DataError(f"cannot replace {folder / name}: {e.strerror or e}; choose another folder") from e


def _files(document: Mapping[str, Any]) -> list[str]:
    """File names of a result; only plain names within its own folder count."""
    names = document.get("files", [])
    return [n for n in names if isinstance(n, str) and n not in ("", ".", "..") and not {"/", "\\"} & set(n)]


def _person(p: Prediction) -> dict[str, Any]:
    angles = p.axis_angle_rad()
    seen_px = np.linalg.norm(p.weak_keypoints_px() - p.keypoints_px, axis=-1)
    pose = {
        name: {
            "matrix": _plain(getattr(p.params, name).reshape(-1, 3, 3).numpy()),
            "axis_angle_rad": _plain(angles[name].numpy()),
        }
        for name in POSE_BLOCKS
    }
    parts = {
        name: {"corners_px": _plain(s.corners_px), "used": s.used, "confidence": s.confidence}
        for name, s in p.parts.items()
    }
    return {
        "person": p.person,
        "box_px": _plain(p.box_px),
        "score": round(p.score, _DIGITS),
        "betas": _plain(p.params.betas.numpy()),
        "expression": _plain(p.params.expression.numpy()),
        "pose": pose,
        "transl_m": _plain(p.transl_m),
        "weak_camera": dict(zip(("s", "tx_m", "ty_m"), _plain(p.weak_camera), strict=True)),
        "crop": {
            "centre_px": _plain(np.array(p.crop.centre_px)),
            "side_px": round(p.crop.side_px, _DIGITS),
            "size_px": p.crop.size_px,
        },
        "joints_m": dict(zip(p.joint_names, _plain(p.joints_m), strict=True)),
        "keypoints_m": dict(zip(p.keypoint_names, _plain(p.keypoints_m), strict=True)),
        "keypoints_px": dict(zip(p.keypoint_names, _plain(p.keypoints_px, digits=3), strict=True)),
        "parts": parts,
        "reprojection_px": round(p.reprojection_px(), _DIGITS),
        "weak_gap_px": round(float(seen_px.mean()), 3),
    }


def _row(p: Prediction) -> dict[str, NDArray[Any]]:
    angles = p.axis_angle_rad()
    poses = {name: getattr(p.params, name).numpy() for name in POSE_BLOCKS}
    squares = [p.parts[name] for name in PART_NAMES]
    return {
        "box_px": p.box_px,
        "score": np.float32(p.score),
        "betas": p.params.betas.numpy(),
        "expression": p.params.expression.numpy(),
        **poses,
        **{f"{name}_rad": angles[name].numpy().reshape(poses[name].shape[:-1]) for name in POSE_BLOCKS},
        "transl_m": p.transl_m,
        "weak_camera": p.weak_camera,
        "crop_centre_px": np.array(p.crop.centre_px),
        "crop_side_px": np.float64(p.crop.side_px),
        "crop_size_px": np.int64(p.crop.size_px),
        "joints_m": p.joints_m,
        "keypoints_m": p.keypoints_m,
        "keypoints_px": p.keypoints_px,
        "part_corners_px": np.stack([s.corners_px for s in squares]),
        "part_used": np.array([s.used for s in squares]),
        "part_confidence": np.array([np.nan if s.confidence is None else s.confidence for s in squares], np.float32),
    }


def _plain(values: NDArray[Any], digits: int = _DIGITS) -> Any:
    return np.round(np.asarray(values, np.float64), digits).tolist()
