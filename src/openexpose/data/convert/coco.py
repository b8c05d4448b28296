"""COCO keypoints (17) and COCO-WholeBody (133): people with annotated points, crowds left out.

COCO's flag is 0 not labelled, 1 labelled but hidden, 2 visible: labelled points are known. COCO-WholeBody adds lists
for feet, face and hands with a switch each; what is switched off is unknown.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openexpose.data.convert.common import (
    CHUNK_ROWS,
    Job,
    Options,
    Problem,
    keypoint_box,
    left_out,
    need_folder,
    photo_problem,
)
from openexpose.data.convert.foreign import photo_name
from openexpose.data.convert.json_lists import Span, list_spans, read_span
from openexpose.data.record import Keypoints, Record
from openexpose.errors import DataError
from openexpose.readers.json_files import numbers
from openexpose.skeleton import Skeleton

PARTS = {"keypoints": 17, "foot_kpts": 6, "face_kpts": 68, "lefthand_kpts": 21, "righthand_kpts": 21}
"""COCO-WholeBody's lists, in the order of its 133 points."""
_VALID = {k: k.replace("_kpts", "_valid") for k in PARTS if k != "keypoints"}
MAX_IMAGES = 10_000_000
_UNUSED = ("segmentation", "area", "captions", "licenses", "license", "coco_url", "flickr_url", "date_captured")


def jobs(output: str, options: Options) -> Sequence[Job]:
    """Return pieces of an output's annotations. DataError or AssetError if the raw data is not there or damaged."""
    file = _annotations(output, options.root)
    if options.photos:
        need_folder(_photo_folder(output, options.root, file), "COCO's photos; --no-photos does without")
    spans = list_spans(file, {"images": MAX_IMAGES, "annotations": CHUNK_ROWS})
    images = spans["images"][:1] or [Span(0, 0, 0, 0)]
    Photos().of(file, images[0])  # damaged ones would be named by every piece
    where = [v for span in images for v in (span.count, span.start, span.stop)]
    return [
        Job(f"annotations {s.first} to {s.first + s.count - 1}", (file,),
            (output, s.first, s.count, s.start, s.stop, *where))
        for s in spans["annotations"]
    ]  # fmt: skip


class Photos:
    """What a file says about its photos, by id; read with the first piece of a process."""

    def __init__(self) -> None:
        self._key: tuple[Path, Span] | None = None
        self._by_id: dict[str, dict[str, Any]] = {}

    def of(self, file: Path, span: Span) -> Mapping[str, dict[str, Any]]:
        """Return the photos of a span of a file. AssetError if they are damaged."""
        if self._key != (file, span):
            found = read_span(file, span, drop=_UNUSED)
            self._by_id = {str(p.get("id")): p for p in found if isinstance(p, dict)}
            self._key = (file, span)
        return self._by_id


def load(output: str, options: Options) -> Photos:
    """Return the place for what is said about photos."""
    return Photos()


def rows(job: Job, loaded: Photos, options: Options) -> Iterator[Record | Problem]:
    """Yield every person with labelled points, in the order of the file."""
    output, file = str(job.args[0]), job.sources[0]
    first, *place = (int(n or 0) for n in job.args[1:])
    annotations = read_span(file, Span(first, *place[:3]), drop=_UNUSED)
    photos = loaded.of(file, Span(0, *place[3:]))
    folder = _photo_folder(output, options.root, file).relative_to(options.root).as_posix()
    skeleton = Skeleton.read("coco_wholebody" if "wholebody" in output else "coco")
    states: dict[str, Problem | None] = {}
    for at, annotation in enumerate(annotations, first):
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
            yield left_out(where, e)
            continue
        if options.photos and name not in states:
            states[name] = photo_problem(options.root / name, size_px=_size(photo))
        problem = states.get(name)
        yield problem or Record(photo=name, box_xywh_px=box, keypoints2d=Keypoints(skeleton, xyc))


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
