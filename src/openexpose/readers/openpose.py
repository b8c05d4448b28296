"""OpenPose's json files: the people of one photo, part by part."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from openexpose.errors import DataError
from openexpose.readers.json_files import numbers, read_json

ENDING = "_keypoints.json"
"""What OpenPose appends to a photo's name."""
PARTS: Final[Mapping[str, int]] = MappingProxyType({"pose": 25, "hand_left": 21, "hand_right": 21, "face": 70})
"""Part -> number of its points, the body's in the model BODY_25; together the order of `openpose_137`."""
LEAST: Final[Mapping[str, float]] = MappingProxyType({"pose": 0.05, "hand_left": 0.2, "hand_right": 0.2, "face": 0.4})
"""Part -> least confidence of a point that counts, as the original ExPose has it."""

Person = Mapping[str, NDArray[np.float64]]
"""Part -> (K, 3) pixels and confidence as they stand; no points where it was not looked for."""


def read_openpose(path: Path) -> list[Person]:
    """Return the people of a file, whatever body model they were found with.

    Raises AssetError if the file is missing or no json, DataError naming the person if it is not OpenPose's.
    """
    content = read_json(path)
    people = content.get("people") if isinstance(content, dict) else None
    if not isinstance(people, list):
        raise DataError(f"{path} has no list `people`; it is no OpenPose file")
    return [_person(one, f"{path}, person {k}") for k, one in enumerate(people)]


def sure(person: Person) -> Person:
    """Return a person whose points of less than the `LEAST` confidence are zero; the others keep theirs."""
    return {part: np.where(xyc[:, 2:] >= LEAST[part], xyc, 0) for part, xyc in person.items()}


def body_25(person: Person, where: str) -> NDArray[np.float64]:
    """Return the (137, 3) points of a person, zero in parts that were not looked for.

    Raises DataError if they were found with another body model than BODY_25.
    """
    for part, count in PARTS.items():
        if len(person[part]) not in (0, count) or not len(person["pose"]):
            raise DataError(
                f"{where}: {part} has {len(person[part])} points, not {count}; run OpenPose with --model_pose BODY_25"
            )
    return np.concatenate([person[p] if len(person[p]) else np.zeros((n, 3)) for p, n in PARTS.items()])


def _person(entry: Any, where: str) -> Person:
    found = {}
    for part in PARTS:
        names = (f"{part}_keypoints_2d", f"{part}_keypoints")  # the second before version 1.2
        name = next((n for n in names if isinstance(entry, dict) and n in entry), "")
        if not name and part == "pose":
            raise DataError(f"{where} has no {names[0]}; it is no person of OpenPose")
        flat = numbers((entry[name] if name else None) or [], (None,), f"{where}: {name}")
        if len(flat) % 3 or not np.isfinite(flat).all():
            raise DataError(f"{where}: {name} should be finite numbers, three for each point")
        found[part] = flat.reshape(-1, 3)
    return found
