"""Where the people detector's cards come from: packs of real photos, rendered scenes, HumanData of single people."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from openexpose import images
from openexpose.data.humandata import HumanData
from openexpose.data.pack import PhotoPack
from openexpose.errors import DataError
from openexpose.readers import Npz, write_atomically
from openexpose.synth.photo import Studio
from openexpose.train.people_pictures import Card, Deck

BODY_MARGIN, FACE_MARGIN = 0.07, 0.35
"""How far a person reaches beyond their marked points, as a share of the longer side of the points' box."""
LEAST_POINTS = 0.8
"""Share of a body's points that must be marked: otherwise its box would be too small."""
UNLABELLED = 0.3
"""Weight of the background where others may stand whom nobody labelled."""
SURE_SEEN, UNSEEN = 0.12, 0.02
"""A rendered person who fills more of their box counts, one who fills less than the second is not there."""
JPEG_QUALITY = 92


class PackDeck(Deck):
    """Real photos of a pack; around the marked person may be others."""

    def __init__(self, pack: PhotoPack) -> None:
        """pack: of bodies or of faces (68 points). Raises DataError if none of its photos has enough marked points."""
        self.pack, self.faces = pack, len(pack.skeleton) == 68
        rows = range(len(pack))
        self.boxes = {i: box for i in rows if (box := self._box(i)) is not None}
        self.rows = list(self.boxes)
        if not self.rows:
            raise DataError(f"{pack.path}: no photo has enough marked points to say where the person is")

    def __len__(self) -> int:
        """How many photos have enough points."""
        return len(self.rows)

    def card(self, index: int) -> Card:
        """One photo."""
        row = self.rows[index]
        rgb = images.read_rgb(self.pack.photo(row), name=f"{self.pack.name}#{row}")
        h, w = rgb.shape[:2]
        box = self.boxes[row].clip([-0.5] * 4, [w - 0.5, h - 0.5, w - 0.5, h - 0.5])
        if self.faces:
            box[3] = h - 0.5  # the neck and the chest go on below
        return Card(rgb, box[None], np.ones(1, bool), UNLABELLED)

    def _box(self, row: int) -> Float[np.ndarray, "4"] | None:
        points = self.pack.row(row).keypoints2d
        if points is None:
            return None
        xy = points.xyc[points.xyc[:, 2] > 0, :2]
        if len(xy) < LEAST_POINTS * len(points.xyc):
            return None
        low, high = xy.min(0), xy.max(0)
        margin = (FACE_MARGIN if self.faces else BODY_MARGIN) * float((high - low).max())
        return np.concatenate([low - margin, high + margin])


class SceneDeck(Deck):
    """Rendered scenes in which everybody is known: files of `render_scenes`."""

    def __init__(self, files: Sequence[Path]) -> None:
        """Raises DataError if there is no file."""
        if not files:
            raise DataError("no file of rendered scenes; render some first")
        self.jpg: list[UInt8[np.ndarray, " n"]] = []
        boxes, seen = [], []
        for file in files:
            with Npz(file) as z:
                data, offsets = z.read("jpg"), z.read("offsets")
                boxes.append(z.read("boxes"))
                seen.append(z.read("seen"))
            self.jpg += [data[a:b] for a, b in zip(offsets, offsets[1:], strict=False)]
        self.boxes, self.seen = np.concatenate(boxes).astype(np.float64), np.concatenate(seen)

    def __len__(self) -> int:
        """How many scenes there are."""
        return len(self.jpg)

    def card(self, index: int) -> Card:
        """One scene."""
        rgb = images.read_rgb(self.jpg[index].tobytes(), name=f"scene {index}")
        boxes, counts = everybody(self.boxes[index], self.seen[index])
        return Card(rgb, boxes, counts)


class SingleDeck(Deck):
    """HumanData with one labelled person a photo, as `openexpose synth make` writes it; others may stand behind."""

    def __init__(self, file: Path) -> None:
        """file: its photos lie beside it. Raises what HumanData raises."""
        self.root, self.data = file.parent, HumanData.open(file)

    def __len__(self) -> int:
        """How many photos there are."""
        return len(self.data)

    def card(self, index: int) -> Card:
        """One photo. Raises DataError if it has no box."""
        row = self.data.row(index)
        if row.box_xywh_px is None:
            raise DataError(f"{self.root}: row {index} has no box")
        rgb = images.read_rgb(self.root / row.photo, name=row.photo)
        x, y, w, h = (float(v) for v in row.box_xywh_px)
        high = [rgb.shape[1] - 0.5, rgb.shape[0] - 0.5]
        box = np.array([x, y, x + w, y + h]).clip([-0.5] * 4, high * 2)
        return Card(rgb, box[None], np.ones(1, bool), UNLABELLED)


def everybody(
    boxes_px: Float[np.ndarray, "P 4"], seen: Float[np.ndarray, " P"]
) -> tuple[Float[np.ndarray, "n 4"], Bool[np.ndarray, " n"]]:
    """Of a scene's people those who are there, and which of them are seen well enough to count."""
    there = np.isfinite(boxes_px).all(1) & (seen > UNSEEN)
    size = boxes_px[there, 2:] - boxes_px[there, :2]
    return boxes_px[there].astype(np.float64), (seen[there] >= SURE_SEEN) & (size.min(1) >= 2)


def render_scenes(studio: Studio, seed: int, first: int, count: int, file: Path) -> None:
    """Take the photos `first` to `first + count` of a seed and write them, with everybody's boxes, as one file."""
    jpg, boxes, seen = [], [], []
    for index in range(first, first + count):
        photos = studio.shoot([studio.draw(seed, index)])
        done, data = cv2.imencode(".jpg", photos.rgb[0].numpy()[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        if not done:
            raise DataError(f"cannot encode scene {index} of seed {seed}")
        jpg.append(data.ravel())
        boxes.append(photos.crowd_px[0].numpy())
        seen.append(photos.crowd_seen[0].numpy())
    offsets = np.cumsum([0, *(len(j) for j in jpg)])
    with write_atomically(file) as temporary, temporary.open("wb") as f:
        np.savez(f, jpg=np.concatenate(jpg), offsets=offsets, boxes=np.stack(boxes), seen=np.stack(seen))
