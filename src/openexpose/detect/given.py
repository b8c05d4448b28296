"""People that somebody found already: boxes (JSON, CSV) and keypoints (COCO, COCO-WholeBody, OpenPose folders).

Entries are matched to photos by name: the path as it is written in the file if the photo's path ends with it, else the
name without its folder, with or without its ending. An entry that fits two photos, or two that fit one, are refused.
"""

import csv
import hashlib
import io
import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePath
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from openexpose.detect import Detection
from openexpose.errors import DataError
from openexpose.images import SUFFIXES
from openexpose.readers.openpose import ENDING, read_openpose, sure

BoxFormat = Literal["xyxy", "xywh"]
MAX_BYTES = 1 << 30
GROW = 1.2
"""A person's box over the tight box of their keypoints: these end at ankles, wrists and eyes."""
MIN_POINTS = 4
"""Fewer visible keypoints make no box."""
COCO_PARTS = ("keypoints", "foot_kpts", "lefthand_kpts", "righthand_kpts", "face_kpts")
_CSV_BOX = ("x0", "y0", "x1", "y1")


@dataclass(frozen=True, eq=False)
class GivenPeople:
    """Who is in each photo, as a file says."""

    source: str
    """Name of the file or folder."""
    people: Mapping[str, Sequence[Detection]]
    """Name of the photo as written there -> its people."""

    @cached_property
    def sha256(self) -> str:
        """Of all names, boxes and scores: the same people give the same hash."""
        rows = {name: [[*d.box_px, d.score] for d in found] for name, found in sorted(self.people.items())}
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()

    def names_of(self, photos: Sequence[Path]) -> dict[Path, Sequence[Detection] | None]:
        """Each photo's people; None for a photo that the file does not name.

        Raises DataError if a name fits several photos or a photo several names, or no photo is named at all.
        """
        by_stem: dict[str, list[str]] = defaultdict(list)
        for written in self.people:
            by_stem[_stem_and_ending(written)[0]].append(written)
        out: dict[Path, Sequence[Detection] | None] = {}
        taken: dict[str, Path] = {}
        for photo in photos:
            name = self._name_of(photo, by_stem)
            if name is not None and taken.setdefault(name, photo) != photo:
                raise DataError(
                    f"{self.source} names {name!r}, which fits {taken[name]} and {photo}: write more of their paths"
                )
            out[photo] = None if name is None else self.people[name]
        if photos and not taken:
            some = ", ".join(list(self.people)[:3]) or "nobody"
            raise DataError(f"{self.source} names none of the {len(photos)} photos (it has {some}; first: {photos[0]})")
        return out

    def _name_of(self, photo: Path, by_stem: Mapping[str, Sequence[str]]) -> str | None:
        parts = photo.parts
        exact = [
            name
            for name in {"/".join(parts[-k:]) for k in range(1, len(parts) + 1)} | {str(photo)}
            if name in self.people
        ]
        if exact:
            return max(exact, key=len)
        loose = [n for n in by_stem.get(photo.stem, ()) if _stem_and_ending(n)[1] in ("", photo.suffix)]
        if len(loose) > 1:
            raise DataError(f"{photo}: {self.source} has {loose} for it; name it with its ending")
        return loose[0] if loose else None


def read_boxes(path: Path, *, box_format: BoxFormat = "xyxy") -> GivenPeople:
    """Boxes from JSON or CSV.

    JSON: {"a.jpg": [[x0, y0, x1, y1], [x0, y0, x1, y1, score]]}, or a list of {"photo": "a.jpg", "box_px": [...],
    "score": 0.9}. CSV: a header with photo, x0, y0, x1, y1 and, if wanted, score; one person a line.
    box_format: "xywh" reads the last two numbers as width and height. Photo pixels of the upright photo.
    Raises DataError naming the file and the row.
    """
    text = _text(path)
    rows = _csv_rows(path, text) if path.suffix.lower() == ".csv" else _json_rows(path, _parsed(path, text))
    people: dict[str, list[Detection]] = defaultdict(list)
    for where, photo, numbers in rows:
        if numbers is None:
            people[photo] += []
            continue
        if len(numbers) not in (4, 5):
            raise DataError(f"{where}: a box is 4 numbers, or 5 with a score, got {len(numbers)}")
        people[photo].append(_detection(where, numbers[:4], box_format, *numbers[4:]))
    return GivenPeople(path.name, dict(people))


def read_keypoints(path: Path) -> GivenPeople:
    """People from keypoints: a COCO or COCO-WholeBody JSON file, or a folder of OpenPose's `*_keypoints.json`.

    A COCO annotation's own "bbox" is taken where it has one; otherwise the box is that of the visible keypoints,
    grown by `GROW`. People with fewer than `MIN_POINTS` visible points are left out.
    Raises DataError or AssetError naming the file and the person.
    """
    return _openpose_folder(path) if path.is_dir() else _coco(path)


def box_of_points(points: Float[np.ndarray, "K 3"], *, min_confidence: float = 0.0) -> tuple[float, ...] | None:
    """x0, y0, x1, y1 around the points whose confidence is above the limit, grown; None if they are too few."""
    seen = points[(points[:, 2] > min_confidence) & np.isfinite(points).all(-1), :2]
    if len(seen) < MIN_POINTS:
        return None
    low, high = seen.min(0), seen.max(0)
    if (high <= low).any():
        return None
    middle, half = (low + high) / 2, (high - low) / 2 * GROW
    return tuple(float(v) for v in (*(middle - half), *(middle + half)))


def _stem_and_ending(name: str) -> tuple[str, str]:
    """Of a photo's name without its folder; OpenPose's names have no ending, but may have dots."""
    pure = PurePath(name)
    known = pure.suffix.lower() in SUFFIXES
    return (pure.stem, pure.suffix) if known else (pure.name, "")


def _detection(where: str, numbers: Sequence[float], box_format: BoxFormat, score: float = 1.0) -> Detection:
    x0, y0, x1, y1 = numbers
    if box_format == "xywh":
        x1, y1 = x0 + x1, y0 + y1
    try:
        return Detection((x0, y0, x1, y1), score)
    except DataError as e:
        hint = "" if box_format == "xywh" else " Width and height? Give --box-format xywh."
        raise DataError(f"{where}: {e}.{hint}") from e


def _csv_rows(path: Path, text: str) -> Iterable[tuple[str, str, list[float] | None]]:
    reader = csv.DictReader(io.StringIO(text), skipinitialspace=True)
    need = ("photo", *_CSV_BOX)
    if reader.fieldnames is None or not set(need) <= set(reader.fieldnames):
        raise DataError(f"{path}: the first line must name the columns {', '.join(need)} (and score, if there is one)")
    for number, row in enumerate(reader, start=2):
        where = f"{path}, line {number}"
        values = [row[k] for k in _CSV_BOX] + ([row["score"]] if row.get("score") else [])
        yield where, str(row["photo"]), _numbers(where, values)


def _json_rows(path: Path, raw: Any) -> Iterable[tuple[str, str, list[float] | None]]:
    if isinstance(raw, dict):
        for photo, boxes in raw.items():
            if not isinstance(boxes, list):
                raise DataError(f"{path}, {photo}: a list of boxes was expected, got {type(boxes).__name__}")
            if not boxes:
                yield f"{path}, {photo}", photo, None
            for i, box in enumerate(boxes):
                where = f"{path}, {photo}, box {i}"
                yield where, photo, _numbers(where, box)
    elif isinstance(raw, list):
        for i, row in enumerate(raw):
            where = f"{path}, entry {i}"
            if not isinstance(row, dict) or not isinstance(row.get("photo"), str) or "box_px" not in row:
                raise DataError(f'{where}: {{"photo": name, "box_px": [x0, y0, x1, y1]}} was expected, got {row!r:.80}')
            yield where, row["photo"], _numbers(where, [*row["box_px"], *([row["score"]] if "score" in row else [])])
    else:
        raise DataError(f"{path}: a JSON object or list was expected, got {type(raw).__name__}")


def _coco(path: Path) -> GivenPeople:
    raw = _parsed(path, _text(path))
    rows = raw.get("annotations") if isinstance(raw, dict) else raw
    if not isinstance(rows, list):
        raise DataError(f'{path}: no COCO file: "annotations", or a list of results, was expected')
    names: dict[Any, str] = {}
    people: dict[str, list[Detection]] = defaultdict(list)
    for image in raw.get("images", []) if isinstance(raw, dict) else []:
        if not isinstance(image, dict) or not isinstance(image.get("file_name"), str) or "id" not in image:
            raise DataError(f'{path}: an image without "id" and "file_name": {image!r:.80}')
        names[image["id"]] = image["file_name"]
        people[image["file_name"]] += []
    for i, row in enumerate(rows):
        where = f"{path}, annotation {i}"
        if not isinstance(row, dict) or "image_id" not in row:
            raise DataError(f'{where}: no "image_id" in {row!r:.80}')
        if row.get("category_id", 1) != 1 or row.get("iscrowd", 0):
            continue
        image_id = row["image_id"]
        name = names.get(image_id, image_id if isinstance(image_id, str) else f"{image_id:012d}")
        person = _coco_person(where, row)
        if person is not None:
            people[name].append(person)
    return GivenPeople(path.name, dict(people))


def _coco_person(where: str, row: Mapping[str, Any]) -> Detection | None:
    blocks = [_points(where, row[k]) for k in COCO_PARTS if isinstance(row.get(k), list)]
    points = np.concatenate(blocks) if blocks else np.zeros((0, 3))
    score = _numbers(where, [row.get("score", 1.0)])[0]
    score = score if 0 <= score <= 1 else 1.0
    box = _numbers(where, row["bbox"]) if row.get("bbox") else None
    if box is not None and len(box) == 4 and box[2] > 0 and box[3] > 0:
        return Detection((box[0] - 0.5, box[1] - 0.5, box[0] + box[2] - 0.5, box[1] + box[3] - 0.5), score, points)
    around = box_of_points(points)
    return None if around is None else Detection((around[0], around[1], around[2], around[3]), score, points)


def _openpose_folder(path: Path) -> GivenPeople:
    files = sorted(path.glob(f"*{ENDING}"))
    if not files:
        raise DataError(f"{path} has no *{ENDING} files; give OpenPose's --write_json folder")
    people: dict[str, list[Detection]] = {}
    for file in files:
        found = []
        for person in read_openpose(file):
            points = np.concatenate(list(sure(person).values()))
            box = box_of_points(points)
            if box is not None:
                score = float(points[points[:, 2] > 0, 2].mean())
                found.append(Detection((box[0], box[1], box[2], box[3]), min(score, 1.0), points))
        people[file.name.removesuffix(ENDING)] = found
    return GivenPeople(path.name, people)


def _points(where: str, flat: Any) -> Float[np.ndarray, "K 3"]:
    numbers = _numbers(where, flat)
    if len(numbers) % 3:
        raise DataError(f"{where}: keypoints are x, y, confidence each; {len(numbers)} numbers are not threefold")
    return np.array(numbers, np.float64).reshape(-1, 3)


def _numbers(where: str, values: Any) -> list[float]:
    try:
        numbers = [float(v) for v in values]
    except (TypeError, ValueError) as e:
        raise DataError(f"{where}: numbers were expected, got {values!r:.80}") from e
    if not all(math.isfinite(v) for v in numbers):
        raise DataError(f"{where}: a number is not finite: {values!r:.80}")
    return numbers


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DataError(f"{path} has more than {MAX_BYTES:,} bytes; split it")
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as e:
        raise DataError(f"{path} cannot be read ({e}); check the path") from e


def _parsed(path: Path, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as e:
        raise DataError(f"{path} is no JSON ({e}); CSV files must end in .csv") from e
