"""COCO keypoints (17) and COCO-WholeBody (133): people with annotated points, crowds left out.

COCO's flag is 0 not labelled, 1 labelled but hidden, 2 visible: labelled points are known. COCO-WholeBody adds lists
for feet, face and hands with a switch each; what is switched off is unknown.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openexpose.data.convert.common import Job, Options, Problem, keypoint_box, need_folder, need_keys, photo_problem
from openexpose.data.convert.foreign import numbers, photo_name, read_json
from openexpose.data.record import Keypoints, Record
from openexpose.errors import DataError
from openexpose.skeleton import Skeleton

PARTS = {"keypoints": 17, "foot_kpts": 6, "face_kpts": 68, "lefthand_kpts": 21, "righthand_kpts": 21}
"""COCO-WholeBody's lists, in the order of its 133 points."""
_VALID = {k: k.replace("_kpts", "_valid") for k in PARTS if k != "keypoints"}
_LISTS = ("images", "annotations")
_UNUSED = ("segmentation", "area", "captions", "licenses", "license", "coco_url", "flickr_url", "date_captured")


def jobs(output: str, options: Options) -> Sequence[Job]:
    """Return the one piece of an output: reading the file is most of the work. DataError if it is not there."""
    file = _annotations(output, options.root)
    if options.photos:
        need_folder(_photo_folder(output, options.root, file), "COCO's photos; --no-photos does without")
    return [Job(file.name, (file,), (output,))]


def load(output: str, options: Options) -> None:
    """Nothing is shared."""


def rows(job: Job, loaded: None, options: Options) -> Iterator[Record | Problem]:
    """Yield every person with labelled points, in the order of the file."""
    output, file = str(job.args[0]), job.sources[0]
    content = read_json(file, drop=_UNUSED)
    if not isinstance(content, dict):
        raise DataError(f"{file} holds a {type(content).__name__}, not COCO's images and annotations")
    need_keys(content, _LISTS, file)
    if not all(isinstance(content[k], list) for k in _LISTS):
        raise DataError(f"{file}: {' and '.join(_LISTS)} should be lists; it is not COCO's")
    folder = _photo_folder(output, options.root, file).relative_to(options.root).as_posix()
    photos = {str(p.get("id")): p for p in content["images"] if isinstance(p, dict)}
    skeleton = Skeleton.read("coco_wholebody" if "wholebody" in output else "coco")
    states: dict[str, Problem | None] = {}
    for at, annotation in enumerate(content["annotations"]):
        where = f"{file.name}, annotation {at}"
        try:
            xyc = _points(annotation, len(skeleton), where)
            if xyc is None:
                continue
            photo = photos.get(str(annotation.get("image_id")))
            if photo is None:
                raise DataError(f"{where}: there is no image {str(annotation.get('image_id'))[:40]}")
            name = f"{folder}/{photo_name(photo.get('file_name'), where)}"
            box = _box(annotation, xyc, where)
        except DataError as e:
            yield Problem(where, f"{e}; row left out")
            continue
        if options.photos:
            if name not in states:
                states[name] = problem = photo_problem(options.root / name, size_px=_size(photo))
                if problem is not None:
                    yield problem
            if states[name] is not None:
                continue
        yield Record(photo=name, box_xywh_px=box, keypoints2d=Keypoints(skeleton, xyc))


def _annotations(output: str, root: Path) -> Path:
    """The json file of an output; of several years the newest."""
    split = output.rpartition("_")[2]
    names = (
        [f"coco_wholebody_{split}_v1.0.json"]
        if "wholebody" in output
        else [f"person_keypoints_{split}{year}.json" for year in ("2017", "2014")]
    )
    places = [root / sub / name for name in names for sub in ("annotations", "")]
    for file in places:
        if file.is_file():
            return file
    raise DataError(f"none of {', '.join(map(str, places))} is there; docs/data.md draws the tree")


def _photo_folder(output: str, root: Path, file: Path) -> Path:
    """Folder of an output's photos: `train2017`, perhaps inside `images`."""
    name = f"{output.rpartition('_')[2]}{'2014' if '2014' in file.name else '2017'}"
    inside = root / "images" / name
    return inside if inside.is_dir() else root / name


def _points(annotation: Any, count: int, where: str) -> NDArray[np.float64] | None:
    """(count, 3) pixels and confidence 0 or 1; None for a crowd, or a person without labelled points."""
    if not isinstance(annotation, Mapping):
        raise DataError(f"{where} is a {type(annotation).__name__}")
    if annotation.get("iscrowd"):
        return None
    parts = []
    for name, points in PARTS.items() if count == sum(PARTS.values()) else [("keypoints", count)]:
        flat = annotation.get(name)
        if flat is None:
            if name == "keypoints":
                return None
            raise DataError(f"{where} has no {name}; it is not COCO-WholeBody")
        xyv = numbers(flat, (3 * points,), f"{where}: {name}").reshape(points, 3)
        off = name in _VALID and not annotation.get(_VALID[name])
        parts.append(xyv * (not off))
    xyc = np.concatenate(parts)
    if not np.isfinite(xyc).all():
        raise DataError(f"{where}: keypoints are not finite")
    xyc[:, 2] = xyc[:, 2] > 0
    xyc[xyc[:, 2] == 0] = 0
    return xyc if xyc[:, 2].any() else None


def _box(annotation: Mapping[str, Any], xyc: NDArray[np.float64], where: str) -> NDArray[np.float64]:
    """The annotated box; that of the points where it is empty."""
    box = numbers(annotation.get("bbox", [0, 0, 0, 0]), (4,), f"{where}: bbox")
    if np.isfinite(box).all() and (box[2:] > 0).all():
        return box
    around = keypoint_box(xyc)
    if around is None or not (around[2:] > 0).all():
        raise DataError(f"{where}: its box is empty, and its points span none")
    return around


def _size(photo: Mapping[str, Any]) -> tuple[int, int] | None:
    width, height = photo.get("width"), photo.get("height")
    return (width, height) if isinstance(width, int) and isinstance(height, int) else None
