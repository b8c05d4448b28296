"""Samples a second on one core: decode, augment, crop, targets, against a plain pipeline with the reference's steps.

    python benchmarks/bench_data.py

The plain pipeline decodes the whole photo, mirrors or turns it whole, warps the crop, multiplies channels of crop and
photo, and normalises both (spec 3.1, 7.3), as the reference does for every sample. Both run here, one after the other,
in one process with one thread, on the same JPEGs with the same chances. Ratios matter; absolute numbers are the
machine's.
"""

import argparse
import io
import time
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from PIL import Image

from openexpose.data import augment
from openexpose.data.augment import AugmentConfig, draw, place, square_around
from openexpose.data.dataset import Samples, collate
from openexpose.data.record import Keypoints, Record
from openexpose.data.sample import body_layout
from openexpose.geometry.crop import MEAN_RGB, STD_RGB, normalise
from openexpose.skeleton import Skeleton

SIZES = {"640 x 480": (640, 480, 0.75), "12 megapixel": (4000, 3000, 0.6)}
"""Width, height, and the person's share of the height."""


def photo_like(width: int, height: int, seed: int) -> bytes:
    """A JPEG whose detail falls off with frequency as a photo's does, at quality 90."""
    rng = np.random.default_rng(seed)
    out = np.zeros((height, width, 3), np.float32)
    for cells in (4, 16, 64, 256, 1024):
        noise = rng.random((max(2, cells * height // width), cells, 3), np.float32) - 0.5
        out += cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC) / cells**0.4
    rgb = np.clip(128 + 160 * out, 0, 255).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(rgb).save(stream, "JPEG", quality=90)
    return stream.getvalue()


@dataclass(frozen=True)
class Photos:
    """A store of equal people in different photos."""

    jpegs: tuple[bytes, ...]
    record: Record
    name: str = "bench"

    def __len__(self) -> int:
        return len(self.jpegs)

    def row(self, index: int) -> Record:
        return self.record

    def photo(self, index: int) -> bytes:
        return self.jpegs[index]


def person(width: int, height: int, share: float) -> Record:
    """Someone in the middle of the photo, with every label."""
    rng = np.random.default_rng(0)
    h = share * height
    box = np.array([width / 2 - 0.2 * h, (height - h) / 2, 0.4 * h, h])
    points = np.column_stack([rng.uniform(box[:2], box[:2] + box[2:], (144, 2)), np.ones(144)])
    skeleton = Skeleton.read("smplx")
    params = {"global_orient": (3,), "body_pose": (21, 3), "jaw_pose": (3,), "left_hand_pose": (15, 3),
              "right_hand_pose": (15, 3), "betas": (10,), "expression": (10,)}  # fmt: skip
    joints = Keypoints(skeleton, np.ones((144, 4)))
    values = {n: rng.normal(size=s) for n, s in params.items()}
    return Record("x.jpg", box, Keypoints(skeleton, points), joints, values, "smplx")


def plain_sample(
    store: Photos, row: int, cfg: AugmentConfig, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """The reference's pixel work for one sample (labels cost both sides about the same and are left out here)."""
    photo = cv2.imdecode(np.frombuffer(store.photo(row), np.uint8), cv2.IMREAD_COLOR)
    chances = draw(cfg, rng)
    box = store.row(row).box_xywh_px
    placement = place(cfg, chances, *square_around(box, scale=1.0), photo_px=photo.shape[1::-1])
    if placement.flipped:
        photo = cv2.flip(photo, 1)
    if placement.work_px != photo.shape[1::-1]:
        mirror = np.array([[-1.0, 0, photo.shape[1] - 1], [0, 1, 0]]) if placement.flipped else np.eye(2, 3)
        turn = np.vstack([placement.T_work_photo, [0, 0, 1]]) @ np.vstack([mirror, [0, 0, 1]])
        photo = cv2.warpAffine(photo, turn[:2], placement.work_px)
    crop = cv2.warpAffine(photo, placement.T_crop_work, (cfg.crop_px,) * 2)
    gain = np.array(chances.channel_gain)[::-1].reshape(1, 3)
    both = (cv2.multiply(x, (*gain[0], 1.0)) for x in (crop, photo))
    out = []
    for x in both:
        rgb = cv2.cvtColor(x, cv2.COLOR_BGR2RGB).astype(np.float32)
        cv2.subtract(rgb, (*MEAN_RGB, 0.0), rgb)
        cv2.multiply(rgb, (*(1 / np.array(STD_RGB)), 0.0), rgb)
        out.append(torch.from_numpy(np.ascontiguousarray(rgb.transpose(2, 0, 1))))
    return out[0], out[1]


def our_sample(samples: Samples, row: int, epoch: int) -> torch.Tensor:
    """Everything: decode, crop, view, targets, the normalised crop."""
    s = samples.sample(row, epoch=epoch, index=row)
    return normalise(collate([s]).crops)


def median_seconds(works: tuple[Callable[[int], object], ...], count: int) -> list[float]:
    """Median time of one call of each, taken in turns so that other load on the machine hits all alike."""
    times: list[list[float]] = [[] for _ in works]
    for i in range(count + 1):
        for work, taken in zip(works, times, strict=True):
            began = time.perf_counter()
            work(i)
            taken.append(time.perf_counter() - began)
    return [float(np.median(t[1:])) for t in times]


def main() -> None:
    """Print one line for each photo size and network."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=30, help="samples per measurement")
    parser.add_argument("--photos", type=int, default=3, help="different photos per size")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    print(f"{'photo':14} {'network':8} {'plain /s':>9} {'ours /s':>9} {'ratio':>6}")
    for title, (width, height, share) in SIZES.items():
        store = Photos(tuple(photo_like(width, height, s) for s in range(args.photos)), person(width, height, share))
        kinds = {"body": (augment.body(), augment.body(augment.REFERENCE)),
                 "whole": (augment.whole(), augment.whole(augment.REFERENCE))}  # fmt: skip
        for name, (ours, theirs) in kinds.items():
            samples = Samples(store, body_layout(), ours, seed=0, box_scale=1.0, on_error="raise")
            n = len(store)

            def plain(i: int, store: Photos = store, cfg: AugmentConfig = theirs, n: int = n) -> object:
                return plain_sample(store, i % n, cfg, np.random.default_rng((0, i, i % n)))

            def quick(i: int, samples: Samples = samples, n: int = n) -> object:
                return our_sample(samples, i % n, i)

            a, b = median_seconds((plain, quick), args.count)
            print(f"{title:14} {name:8} {1 / a:9.1f} {1 / b:9.1f} {a / b:6.2f}")


if __name__ == "__main__":
    main()
