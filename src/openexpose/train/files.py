"""Data sets as a source of batches: preprocessed files of the data tree, photo packs, rendered people."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from openexpose import images
from openexpose.assets import data_root, find
from openexpose.data import augment
from openexpose.data.augment import AugmentConfig
from openexpose.data.dataset import HumanDataStore, Samples, Store
from openexpose.data.humandata import HumanData
from openexpose.data.mix import MixConfig, Mixture
from openexpose.data.pack import PhotoPack
from openexpose.data.record import Record
from openexpose.data.sample import Sample, TargetLayout, body_layout, hand_layout, head_layout
from openexpose.data.splits import body_packs, face_packs
from openexpose.errors import ConfigError, DataError
from openexpose.geometry.crop import inverse_affine, normalise
from openexpose.losses.network import Target
from openexpose.nets.config import NetConfig, PartConfig
from openexpose.nets.params import Part
from openexpose.readers import Npz
from openexpose.synth.photo import Studio
from openexpose.synth.stream import SynthStore
from openexpose.train.batch import Batch, Photos
from openexpose.train.config import TrainConfig

PHOTO_FOLDERS = {
    "curated_fits_train": "",
    "spin_smplx_train": "",
    "h36m_train": "h36m",
    "ffhq_flame_train": "ffhq",
    "freihand_train": "FreiHand",
    "freihand_val": "FreiHand",
    "freihand_test": "FreiHand",
    "ehf_val": "EHF",
}
"""Where each file's `image_path` starts, under the tree's `datasets/` (spec 6.2)."""

SYNTH_ROWS = 100_000
"""People rendered before the same ones come again, unless data.samples_per_epoch says otherwise."""


@dataclass(frozen=True)
class Chosen:
    """Some rows of a store."""

    store: Store
    rows: tuple[int, ...]

    @property
    def name(self) -> str:
        """Of the data set."""
        return self.store.name

    def __len__(self) -> int:
        return len(self.rows)

    def row(self, index: int) -> Record:
        """One row."""
        return self.store.row(self.rows[index])

    def photo(self, index: int) -> images.Source:
        """A row's photo."""
        return self.store.photo(self.rows[index])


@dataclass(frozen=True)
class FileSource:
    """A mixture of data sets, as batches."""

    mixture: Mixture

    @property
    def samples_per_epoch(self) -> int:
        """Positions that count as one pass."""
        return self.mixture.samples_per_epoch

    def batch(self, positions: Sequence[int]) -> Batch:
        """The samples at these positions, stacked and normalised."""
        return stack([self.mixture.sample(p) for p in positions], positions)


def stack(samples: Sequence[Sample], positions: Sequence[int]) -> Batch:
    """One batch of samples; photos to look at again stay a list, for their sizes may differ."""
    crops = normalise(torch.stack([s.crop for s in samples]))
    labels = {name: [s.targets[name] for s in samples] for name in samples[0].targets}
    targets = {
        n: Target(torch.stack([x.value for x in v]), torch.stack([x.weight for x in v])) for n, v in labels.items()
    }
    views = [s.view for s in samples if s.view is not None]
    skipped = [message for s in samples for message in s.skipped]
    if not views:
        return Batch(crops, targets, positions=positions, skipped=skipped)
    T = [torch.from_numpy(inverse_affine(v.T_view_crop.double().numpy()).astype(np.float32)) for v in views]
    photos = Photos([v.rgb for v in views], torch.stack(T), torch.stack([v.side_px for v in views]))
    return Batch(crops, targets, photos=photos, positions=positions, skipped=skipped)


def file_sources(config: TrainConfig, net: NetConfig) -> tuple[FileSource, FileSource | None]:
    """Training and evaluation data of a run.

    Evaluation takes `data.evaluate`, or the held-out rows of the training sets; None if there are neither.
    Raises AssetError for missing files, ConfigError for settings that fit none.
    """
    data, (layout, augmentation) = config.data, _kind(config, net)
    stores = _stores(data.train, config)
    halves = [_split(store, data.held_out, config.seed) for store in stores]
    still = AugmentConfig(crop_px=augmentation.crop_px, view_px=augmentation.view_px)
    moving = still if data.only_first is not None else augmentation

    def source(parts: Sequence[Store], shares: Sequence[float], how: AugmentConfig, *, seed: int) -> FileSource:
        made = [Samples(s, layout, how, seed=seed, box_scale=data.box_scale, on_error=data.on_error) for s in parts]
        epoch: Literal["largest"] | int = data.samples_per_epoch or "largest"
        return FileSource(Mixture(made, MixConfig(tuple(shares), seed=seed, epoch=epoch)))

    train = source([kept for kept, _ in halves], data.shares, moving, seed=config.seed)
    if data.evaluate:
        others = _stores(data.evaluate, config)
        return train, source(others, [1 / len(others)] * len(others), still, seed=0)
    if data.held_out == 0:
        return train, None
    return train, source([held for _, held in halves], data.shares, still, seed=0)


def _kind(config: TrainConfig, net: NetConfig) -> tuple[TargetLayout, AugmentConfig]:
    """What a sample of this stage carries, and how it may vary."""
    quirks = augment.REFERENCE if config.data.reference_quirks else augment.Quirks()
    part = net.part("body" if config.stage == "whole" else config.stage)
    layout = _layout(config, part)
    if config.stage == "whole":
        return layout, replace(augment.whole(quirks, config.data.view_px), crop_px=part.crop_px)
    if config.data.augment == "strong":
        return layout, augment.strong(part.crop_px, flip=0.0 if config.stage == "hand" else 0.4)
    made = {"body": augment.body, "head": augment.head, "hand": augment.hand}[config.stage](quirks)
    return layout, replace(made, crop_px=part.crop_px)


def _layout(config: TrainConfig, part: PartConfig) -> TargetLayout:
    if config.stage == "hand":
        return hand_layout(part.num_betas)
    if config.stage == "head":
        return head_layout(part.num_betas, part.num_expression)
    return body_layout(part.num_betas, part.num_expression, lsp=bool(part.points) and config.stage in ("body", "whole"))


def _stores(names: Sequence[str], config: TrainConfig) -> list[Store]:
    """Every named data set: rendered people, a file given by its path, or one of the tree."""
    folders = config.data.photos if names is config.data.train else ()
    if folders and len(folders) != len(names):
        raise ConfigError(
            f"{len(folders)} folders for {len(names)} data sets: data.photos, or a close-up's, takes one each"
        )
    given = dict(zip(names, folders, strict=False))
    return [_store(name, given.get(name), config) for name in names]


def _store(name: str, folder: str | None, config: TrainConfig) -> Store:
    if name == "synth":
        part: Part = "body" if config.stage == "whole" else config.stage
        return SynthStore(Studio(), seed=config.seed, count=config.data.samples_per_epoch or SYNTH_ROWS, part=part)
    file, _, rows = name.partition("@")
    if file.endswith(".npz"):
        with Npz(Path(file)) as members:
            is_pack = "webp" in members
        if is_pack and rows in ("train", "validation"):
            with Npz(Path(file)) as members:
                packs = face_packs if members.header("keypoints2d").shape[1] == 68 else body_packs
            return packs(Path(file))[rows == "validation"]
        if is_pack:
            first, last = _rows(name, rows)
            return PhotoPack.open(Path(file), first=first, last=last)
    if folder is None and name not in PHOTO_FOLDERS:
        raise ConfigError(f"where are the photos of {name}? Give data.photos, one folder for each set")
    path = Path(file) if file.endswith(".npz") else find(f"{name}.npz")
    root = data_root() / "datasets" / (PHOTO_FOLDERS[name] if folder is None else folder)
    if not root.is_dir():
        raise DataError(f"{name}: its photos should lie in {root}, which is no folder; see `openexpose doctor`")
    return HumanDataStore(HumanData.open(path), root, misnamed_hands=name.startswith("freihand"))


def _rows(name: str, text: str) -> tuple[int, int | None]:
    """First and last row of a pack named FILE.npz@FIRST:LAST; all rows without the @.

    FILE.npz@train and FILE.npz@validation are the halves of `data.splits`.
    """
    if not text:
        return 0, None
    first, colon, last = text.partition(":")
    try:
        return int(first or 0), int(last) if last else None
    except ValueError as e:
        raise ConfigError(f"{name}: rows are written FILE.npz@FIRST:LAST, for instance pack.npz@0:-500") from e


def _split(store: Store, held_out: float, seed: int) -> tuple[Store, Store]:
    """Rows to train on and rows to evaluate on; the same ones on every process and after a resume."""
    order = np.random.default_rng((seed, 0x68656C64)).permutation(len(store))
    count = round(held_out * len(store))
    if count == 0:
        return store, Chosen(store, ())
    held, kept = np.sort(order[:count]), np.sort(order[count:])
    return Chosen(store, tuple(kept.tolist())), Chosen(store, tuple(held.tolist()))
