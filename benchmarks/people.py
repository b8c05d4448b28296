"""How well the people detector finds: real photos marked by hand, mosaics of a pack's validation part, rendered crowds.

    python benchmarks/people.py --photos DIR --pack PACK.npz --scenes 60 --out DIR [--weights people.safetensors]

Prints a table a set: recall and precision at several scores, average precision at IoU 0.5; and the time a photo.
"""

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch

from openexpose import images
from openexpose.data.pack import PhotoPack
from openexpose.detect.builtin import LOOKS_PX, MIN_SCORE, BuiltinDetector
from openexpose.evaluate.people import FoundPeople, compare_people, score_people
from openexpose.synth.background import crops_without_people
from openexpose.synth.photo import Studio
from openexpose.synth.scene import SynthConfig
from openexpose.train.people_decks import PackDeck, SceneDeck, render_scenes
from openexpose.train.people_pictures import PictureConfig, Pictures

SEED = 900_000_077
"""Of scenes and mosaics that training never sees."""
SIZES = ((0.0, 0.12), (0.12, 0.3), (0.3, 0.6), (0.6, 2.0))
Labelled = tuple[str, np.ndarray, np.ndarray, np.ndarray]
"""Name, photo, boxes of people, boxes to ignore."""


def photos(folder: Path) -> Iterator[Labelled]:
    """The real photos."""
    marked = json.loads(Path(__file__).with_name("people_photos.json").read_text())["photos"]
    for path in sorted(folder.rglob("*")):
        if path.name in marked:
            m = marked[path.name]
            people, ignored = (np.array(m[k], float).reshape(-1, 4) for k in ("people", "ignored"))
            yield path.name, images.read_rgb(path), people, ignored


def mosaics(pack: Path, count: int) -> Iterator[Labelled]:
    """Photos of the pack's last 500 rows, alone and joined; some people are not marked: precision is a lower bound."""
    kept = PhotoPack.open(pack, first=-500)
    pictures = Pictures([(PackDeck(kept), 1.0)], crops_without_people(kept), PictureConfig())
    for i in range(count):
        p = pictures.draw(SEED, i, size_px=320)
        h, w = p.filled_px
        yield f"mosaic {i}", p.rgb[:h, :w].copy(), np.array(p.boxes_px).reshape(-1, 4), np.zeros((0, 4))


def crowds(pack: Path, count: int, folder: Path) -> Iterator[Labelled]:
    """Rendered scenes of several people, poses and backgrounds that training never sees."""
    file = folder / f"crowds_{count}.npz"
    if not file.exists():
        cfg = SynthConfig(
            size_px=320, whole=0.6, upper=0.25, head=0.15, hand=0, crowd=0.75, bank_share=0.7, held_out=True
        )
        studio = Studio(cfg, backgrounds=crops_without_people(PhotoPack.open(pack, first=-500)))
        render_scenes(studio, SEED, 0, count, file)
    deck = SceneDeck([file])
    for i in range(len(deck)):
        card = deck.card(i)
        yield f"scene {i}", card.rgb, card.boxes_px[card.counts], card.boxes_px[~card.counts]


def report(title: str, detector: BuiltinDetector, rows: Iterator[Labelled], sheet: Path | None) -> None:
    """Print one set's table; draw what was found."""
    found: list[FoundPeople] = []
    by_size: dict[tuple[float, float], list[bool]] = {s: [] for s in SIZES}
    drawn, seconds = [], []
    for name, rgb, people, ignored in rows:
        began = time.process_time()
        got = detector(rgb)
        seconds.append(time.process_time() - began)
        boxes, scores = np.array([d.box_px for d in got]).reshape(-1, 4), np.array([d.score for d in got])
        match = compare_people(boxes, scores, people, ignored)
        found.append(match)
        if title == "photos":
            best = [f"IoU {i:.2f} score {s:.2f}" for i, s in zip(match.best_iou, match.score_of, strict=True)]
            wrong = [round(float(s), 2) for s, r in zip(match.scores, match.right, strict=True) if not r]
            print(f"  {name:20} {', '.join(best)}; others {wrong}")
        for size in SIZES:
            share = (people[:, 3] - people[:, 1]) / max(rgb.shape[:2])
            hit = (match.best_iou > 0) & (match.score_of >= MIN_SCORE)
            by_size[size] += hit[(share >= size[0]) & (share < size[1])].tolist()
        drawn.append(_drawn(rgb, people, got))
    print(f"{title}: {len(found)} pictures, {score_people(found).people} people; CPU {1e3 * np.median(seconds):.0f} ms")
    for at in (0.2, 0.3, 0.4, 0.5, 0.6):
        s = score_people(found, min_score=at)
        print(f"  score >= {at:.2f}: recall {s.recall:.3f} precision {s.precision:.3f} IoU {s.iou:.3f}")
    print(f"  AP50 {score_people(found).average_precision:.3f}")
    text = [f"{a:.2f}-{b:.2f}: {np.mean(v):.2f} of {len(v)}" for (a, b), v in by_size.items() if v]
    print(f"  recall at {MIN_SCORE} by height in the photo: " + "; ".join(text))
    if sheet is not None:
        columns = [np.vstack(drawn[k::6][:5]) for k in range(6) if len(drawn[k::6]) >= 1]
        h = max(c.shape[0] for c in columns)
        cv2.imwrite(str(sheet), np.hstack([np.pad(c, ((0, h - c.shape[0]), (0, 0), (0, 0))) for c in columns]))


def _drawn(rgb: np.ndarray, people: np.ndarray, got: list) -> np.ndarray:
    scale = 320 / max(rgb.shape[:2])
    small = cv2.resize(rgb[..., ::-1], None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    for box in people:
        a, b = (tuple(int(v * scale) for v in box[k : k + 2]) for k in (0, 2))
        cv2.rectangle(small, a, b, (255, 255, 255), 1)
    for d in got:
        if d.score >= MIN_SCORE:
            a, b = (tuple(int(v * scale) for v in d.box_px[k : k + 2]) for k in (0, 2))
            cv2.rectangle(small, a, b, (0, 255, 0), 2)
            cv2.putText(small, f"{d.score:.2f}", (a[0] + 2, a[1] + 14), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 255), 1)
    return np.pad(small, ((0, 320 - small.shape[0]), (0, 320 - small.shape[1]), (0, 0)))


def main() -> None:
    """Run the sets that were asked for."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--photos", type=Path)
    p.add_argument("--pack", type=Path)
    p.add_argument("--mosaics", type=int, default=0)
    p.add_argument("--scenes", type=int, default=0)
    p.add_argument("--weights", type=Path)
    p.add_argument("--looks", type=int, nargs="+", default=list(LOOKS_PX), help="longer sides of the reduced photos")
    p.add_argument("--out", type=Path, default=Path("people"))
    a = p.parse_args()
    torch.set_num_threads(1)
    a.out.mkdir(parents=True, exist_ok=True)
    print(f"longer sides {a.looks} px")
    detector = BuiltinDetector.load(a.weights, min_score=0.05, looks_px=a.looks)
    if a.photos:
        report("photos", detector, photos(a.photos), a.out / "photos.png")
    if a.mosaics:
        report("mosaics", detector, mosaics(a.pack, a.mosaics), a.out / "mosaics.png")
    if a.scenes:
        report("crowds", detector, crowds(a.pack, a.scenes, a.out), a.out / "crowds.png")


if __name__ == "__main__":
    main()
