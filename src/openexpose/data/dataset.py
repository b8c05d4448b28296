"""From rows to samples: decode as much of the photo as the crop needs, cut it out, move the labels with it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, UInt8

from openexpose import images
from openexpose.data.augment import AugmentConfig, Chance, Draw, Placement, draw, place, square_around
from openexpose.data.degrade import Damage, channel_noise, damaged, draw_damage, lowered
from openexpose.data.humandata import HumanData
from openexpose.data.record import Record
from openexpose.data.sample import Sample, SampleBatch, TargetLayout, View, collate
from openexpose.data.targets import hands_are_misnamed, misnamed_hand, targets_of
from openexpose.errors import ConfigError, DataError
from openexpose.geometry.affine import Affine, compose, resample
from openexpose.geometry.crop import inverse_affine

MEAN_GREY = (124, 116, 104)
"""The mean colour: what lies outside the photo in a view is then zero for the networks (spec 3.2)."""
MAX_SKIPS = 32
"""Bad rows in a row after which skipping gives up: the data set's folder is wrong then."""
ROWS_ASKED = 15
"""Rows of which the majority says whether a file names fingers wrongly."""


@runtime_checkable
class Store(Protocol):
    """Rows and their photos."""

    @property
    def name(self) -> str:
        """Of the data set, for messages."""

    def __len__(self) -> int:
        """How many rows."""

    def row(self, index: int) -> Record:
        """One row."""

    def photo(self, index: int) -> images.Source:
        """A row's photo: a file or its bytes."""


@dataclass(frozen=True)
class HumanDataStore:
    """A HumanData file and the folder its photos lie in."""

    data: HumanData
    root: Path
    """`image_path` is relative to this folder (the reference: data/datasets/<name>)."""
    misnamed_hands: bool = False
    """The file may come from the reference's FreiHAND converter, which names fingers wrongly (spec 10.1): if its rows
    show that it does, hands are given under their true names."""

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return self.data.path.stem

    def __len__(self) -> int:
        return len(self.data)

    def row(self, index: int) -> Record:
        """Return one row, hands under their true names."""
        record = self.data.row(index)
        if not (self.misnamed_hands and self._wrong_names):
            return record
        k2d, k3d = (None if k is None else misnamed_hand(k) for k in (record.keypoints2d, record.keypoints3d))
        return Record(record.photo, record.box_xywh_px, k2d, k3d, record.params, record.family, record.extras)

    @cached_property
    def _wrong_names(self) -> bool:
        """What most of a few rows spread over the file say."""
        if not len(self.data):
            return False
        spread = np.unique(np.linspace(0, len(self.data) - 1, ROWS_ASKED).astype(int)).tolist()
        points = [r.keypoints3d or r.keypoints2d for r in map(self.data.row, spread)]
        votes = [hands_are_misnamed(p) for p in points if p is not None]
        return 2 * sum(votes) > len(votes)

    def photo(self, index: int) -> images.Source:
        """Return the path of a row's photo; DataError if the file names no photos."""
        if "image_path" not in self.data.columns:
            raise DataError(f"{self.data.path} has no image_path; its rows cannot be cropped from anything")
        return self.root / str(self.data.columns.row("image_path", index))


class Samples:
    """A data set as one network is trained on it: `samples.sample(row, epoch=3, index=row)`."""

    def __init__(
        self,
        store: Store,
        layout: TargetLayout,
        augment: AugmentConfig,
        *,
        seed: int,
        box_scale: float,
        on_error: Literal["raise", "skip"],
    ) -> None:
        """box_scale: side of the person's square over the longer side of its box (1.0 in the reference's training).

        on_error: "skip" puts the next good row in the place of a bad one and says so in `Sample.skipped`.
        Raises ConfigError if the store is empty or box_scale is not positive.
        """
        if len(store) == 0 or box_scale <= 0:
            raise ConfigError(
                f"data set {store.name!r} has {len(store)} rows, box_scale={box_scale}: both must be positive"
            )
        self.store, self.layout, self.augment = store, layout, augment
        self.seed, self.box_scale, self.on_error = seed, box_scale, on_error

    def __len__(self) -> int:
        return len(self.store)

    def sample(self, row: int, *, epoch: int, index: int) -> Sample:
        """Return one sample. (seed, epoch, index) decide all chances, so any worker makes the same one.

        Raises DataError naming data set, row and photo if the row cannot be used and `on_error` is "raise".
        """
        skipped: list[str] = []
        for attempt in range(MAX_SKIPS):
            at = (row + attempt) % len(self.store)
            try:
                rng = np.random.default_rng((self.seed, epoch, index, *([attempt] if attempt else [])))
                return self._make(at, rng, tuple(skipped))
            except DataError as e:
                message = f"{self.store.name}, row {at}: {e}"
                if self.on_error == "raise":
                    raise DataError(message) from e
                skipped.append(message)
        raise DataError(
            f"{MAX_SKIPS} rows one after another cannot be used; `openexpose data check` lists what is wrong. "
            f"The first: {skipped[0]}"
        )

    def batch(self, rows: Sequence[int], *, epoch: int) -> SampleBatch:
        """Return the samples of these rows in this epoch, stacked."""
        return collate([self.sample(r, epoch=epoch, index=r) for r in rows])

    def _make(self, row: int, rng: Chance, skipped: tuple[str, ...]) -> Sample:
        record = self.store.row(row)
        if record.box_xywh_px is None:
            raise DataError(f"photo {record.photo!r} has no box; give every row a bbox_xywh")
        square = square_around(record.box_xywh_px, scale=self.box_scale)
        source = self.store.photo(row)
        label = "" if isinstance(source, Path) else f"photo {record.photo!r} of {self.store.name}"
        chances, damage = draw(self.augment, rng), draw_damage(self.augment.degrade, rng)
        with images.opened(source, name=label) as photo:
            _require_overlap(record.box_xywh_px, photo.size_px, record.photo)
            placement = place(self.augment, chances, *square, photo_px=photo.size_px)
            cut = cut_out(photo, self.augment, placement)
        crop, view = finish(cut, self.augment, placement, chances, damage)
        quirks = self.augment.quirks
        return Sample(
            crop=torch.from_numpy(crop),
            targets=targets_of(record, self.layout, placement, leave_unseen=quirks.leave_unseen_keypoints),
            view=view,
            T_crop_photo=torch.from_numpy(placement.T_crop_photo.astype(np.float32)),
            photo=record.photo,
            row=row,
            skipped=skipped,
        )


def _require_overlap(box_xywh_px: Float[np.ndarray, "4"], photo_px: tuple[int, int], photo: str) -> None:
    lo, hi = np.maximum(box_xywh_px[:2], 0), np.minimum(box_xywh_px[:2] + box_xywh_px[2:], photo_px)
    if (hi <= lo).any():
        raise DataError(f"box {box_xywh_px.tolist()} does not touch photo {photo!r} of {photo_px[0]} x {photo_px[1]}")


@dataclass(frozen=True)
class Cut:
    """Undamaged pixels of one sample."""

    crop: UInt8[np.ndarray, "S S 3"]
    view: UInt8[np.ndarray, "H W 3"] | None
    T_view_crop: Affine | None


def cut_out(photo: images.Photo, cfg: AugmentConfig, placement: Placement) -> Cut:
    """Return crop and view of a photo; a JPEG is decoded no finer than these two need."""
    size = (placement.size_px, placement.size_px)
    if cfg.quirks.decode_in_full:
        return _cut_like_the_reference(photo.decode(density=1.0).rgb, cfg, placement)
    crop_density = placement.size_px / placement.side_px
    if cfg.view_px is None:
        decoded = photo.decode(density=crop_density)
        T_crop_decoded = compose(placement.T_crop_photo, inverse_affine(decoded.T_decoded_photo))
        return Cut(resample(decoded.rgb, T_crop_decoded, size), None, None)
    T_view_crop, view_px = _view_of(cfg.view_px, cfg.view_scale, placement)
    decoded = photo.decode(density=crop_density * max(1.0, T_view_crop[0, 0]))
    T_crop_decoded = compose(placement.T_crop_photo, inverse_affine(decoded.T_decoded_photo))
    view = resample(decoded.rgb, compose(T_view_crop, T_crop_decoded), (view_px, view_px), outside=MEAN_GREY)
    return Cut(resample(decoded.rgb, T_crop_decoded, size), view, T_view_crop)


def _view_of(most_px: int, view_scale: float, placement: Placement) -> tuple[Affine, int]:
    """T_view_crop and side of a square about the crop's centre that holds crop and person; never enlarges the photo."""
    side_px = view_scale * max(placement.side_px, placement.box_side_px)
    view_px = max(8, min(most_px, round(side_px)))
    k = (view_px / side_px) / (placement.size_px / placement.side_px)
    shift = view_px / 2 - k * placement.size_px / 2
    return np.array([[k, 0.0, shift], [0.0, k, shift]]), view_px


def _cut_like_the_reference(photo: np.ndarray, cfg: AugmentConfig, placement: Placement) -> Cut:
    """Every step on full-size pixels: mirror, turn the canvas, crop; the view is the whole worked-on photo."""
    if placement.flipped:
        photo = np.ascontiguousarray(photo[:, ::-1])
    if placement.work_px != (photo.shape[1], photo.shape[0]):
        T_mirror = np.array([[-1.0, 0, photo.shape[1] - 1], [0, 1, 0]]) if placement.flipped else np.eye(2, 3)
        photo = resample(photo, compose(placement.T_work_photo, T_mirror), placement.work_px)
    crop = resample(photo, placement.T_crop_work, (placement.size_px, placement.size_px))
    if cfg.view_px is None:
        return Cut(crop, None, None)
    return Cut(crop, photo, inverse_affine(placement.T_crop_work))


def finish(
    cut: Cut, cfg: AugmentConfig, placement: Placement, chances: Draw, damage: Damage
) -> tuple[UInt8[np.ndarray, "S S 3"], View | None]:
    """Return the damaged crop, and the view damaged alike (low resolution strikes only the crop, spec 7.3)."""
    crop = channel_noise(
        damaged(cut.crop, damage, origin_px=(0.0, 0.0), side_px=float(placement.size_px)), chances.channel_gain
    )
    crop = np.ascontiguousarray(lowered(crop, chances.low_res, bilinear=cfg.quirks.low_res_bilinear))
    if cut.view is None or cut.T_view_crop is None:
        return crop, None
    T = cut.T_view_crop
    side_px = float(np.hypot(*T[:, 0]) * placement.size_px)
    pixels = channel_noise(
        damaged(cut.view, damage, origin_px=(float(T[0, 2]), float(T[1, 2])), side_px=side_px), chances.channel_gain
    )
    view = View(
        rgb=torch.from_numpy(np.ascontiguousarray(pixels)),
        T_view_crop=torch.from_numpy(T.astype(np.float32)),
        side_px=torch.tensor(side_px, dtype=torch.float32),
    )
    return crop, view
