"""A miniature MPII Human Pose: photos and the MATLAB struct of structs, as release 1 (u12_1) nests it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.io
from numpy.typing import NDArray

from openexpose.skeleton import Skeleton
from tests.raw_trees.drawing import save_photo
from tests.raw_trees.people import person

EMPTY = np.zeros((0, 0))
FILE = "mpii_human_pose_v1_u12_1.mat"


@dataclass(frozen=True, eq=False)
class Annotated:
    """One training person: photo, (16, 2) zero-based pixels, (16,) labelled, height / 200 and centre."""

    photo: str
    xy_px: NDArray[np.float64]
    labelled: NDArray[np.bool_]
    scale: float


def write_mpii(root: Path, *, count: int = 4, seed: int = 3, drawn: bool = True) -> list[Annotated]:
    """Write images/ and the annotation file; MATLAB counts pixels from 1.

    root: becomes `datasets/mpii`. The last photo is a test photo without annotations; the first has a second person
    without joints (a bare head box).
    """
    rng, rows, truth = np.random.default_rng(seed), [], []
    for i in range(count):
        name, one = f"{15601864 + 37 * i:09d}.jpg", person(1000 * seed + i, drawn=drawn)
        save_photo(root / "images" / name, one.photo)
        xy = one.seen(Skeleton.read("mpii"))
        labelled = rng.random(16) < 0.85
        labelled[:3] = True
        truth.append(Annotated(name, xy, labelled, float(np.ptp(xy[:, 1])) / 200))
        people = [_annorect(xy, labelled, truth[-1].scale, rng)]
        people += [_headbox()] if i == 0 else []
        rows.append(_image(name, _stack(people)))
    save_photo(root / "images" / "000000001.jpg", person(9, drawn=False).photo)
    rows.append(_image("000000001.jpg", _stack([{"scale": 1.0, "objpos": _struct(x=5.0, y=5.0)}])))
    release = {
        "annolist": _stack(rows),
        "img_train": np.array([[1] * count + [0]], np.uint8),
        "version": "12",
        "single_person": np.array([[i + 1] for i in range(count + 1)], object),
    }
    scipy.io.savemat(root / FILE, {"RELEASE": release}, do_compression=True)
    return truth


def _annorect(xy, labelled, scale: float, rng) -> dict[str, object]:
    points = []
    for k in rng.permutation(np.flatnonzero(labelled)):  # in no order
        flag = EMPTY if k in (7, 8) else ("1" if rng.random() < 0.7 else np.uint8(0))
        points.append({"x": xy[k, 0] + 1, "y": xy[k, 1] + 1, "id": np.uint8(k), "is_visible": flag})
    middle = xy.mean(0) + 1
    return {
        "x1": np.int16(3), "y1": np.int16(4), "x2": np.int16(30), "y2": np.int16(40),
        "annopoints": _struct(point=_stack(points)), "scale": scale, "objpos": _struct(x=middle[0], y=middle[1]),
    }  # fmt: skip


def _headbox() -> dict[str, object]:
    return {
        "x1": np.int16(3), "y1": np.int16(4), "x2": np.int16(30), "y2": np.int16(40), "annopoints": EMPTY,
        "scale": 1.1, "objpos": _struct(x=9.0, y=9.0),
    }  # fmt: skip


def _image(name: str, annorect: NDArray) -> dict[str, object]:
    return {"image": _struct(name=name), "annorect": annorect, "frame_sec": EMPTY, "vididx": EMPTY}


def _struct(**fields: object) -> NDArray:
    return _stack([fields])


def _stack(elements: list[dict[str, object]]) -> NDArray:
    """A MATLAB struct array (1, N) with the fields of the first element."""
    out = np.empty((1, len(elements)), dtype=[(name, object) for name in elements[0]])
    for i, element in enumerate(elements):
        out[0, i] = tuple(element[name] for name in elements[0])
    return out
