"""Which rows of the photo packs are for training and which are kept for validation; the same for everybody."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from openexpose.data.pack import PhotoPack
from openexpose.errors import DataError
from openexpose.readers import Npz
from openexpose.skeleton import Skeleton

BODIES_KEPT = 500
"""The last so many rows of the LSPET pack, which is shuffled, validate; the others train."""
FACES_KEPT = 200
"""So many faces of the face pack validate."""
VIDEO_SOURCE = 0
"""Source of the face pack with several photos of most people; validation comes from it, for it is the hard one."""


@dataclass(frozen=True)
class Split:
    """Rows of a pack, ascending."""

    train: NDArray[np.int64]
    validation: NDArray[np.int64]


def body_split(count: int, *, kept: int = BODIES_KEPT) -> Split:
    """The split of a pack of bodies by position: the last `kept` rows validate.

    Raises DataError if nothing would be left to train on.
    """
    if not 0 < kept < count:
        raise DataError(f"a pack of {count} rows cannot keep {kept} for validation and train on the others")
    rows = np.arange(count, dtype=np.int64)
    return Split(rows[:-kept], rows[-kept:])


def person_of(source_file: str) -> str:
    """Who is on a photo named `<folders>/<First_Last>_<number>.<ending>`: "First_Last"."""
    return PurePosixPath(source_file).stem.rpartition("_")[0]


def face_split(source: Sequence[int], source_file: Sequence[str], *, kept: int = FACES_KEPT) -> Split:
    """The split of the pack of faces by people: nobody is on both sides.

    Validation takes people of `VIDEO_SOURCE` in the order of the SHA-256 of their name until it has `kept` faces; what
    the last of them has beyond that is on neither side. Raises DataError if there are fewer faces than that.
    """
    rows = [i for i, s in enumerate(source) if s == VIDEO_SOURCE]
    names = {i: person_of(str(source_file[i])) for i in rows}
    if not 0 < kept < len(rows):
        raise DataError(f"{len(rows)} faces of source {VIDEO_SOURCE} cannot give {kept} to validation: is it the pack?")
    order = sorted(rows, key=lambda i: (hashlib.sha256(names[i].encode()).hexdigest(), source_file[i]))
    validation = order[:kept]
    people = {names[i] for i in validation}
    train = [i for i in range(len(source_file)) if i not in names or names[i] not in people]
    return Split(np.array(train, np.int64), np.array(sorted(validation), np.int64))


def body_packs(path: Path) -> tuple[PhotoPack, PhotoPack]:
    """Training and validation part of the LSPET pack. Raises AssetError or DataError for another file."""
    with Npz(path) as z:
        count = int(z.header("keypoints2d").shape[0])
    split = body_split(count)
    return _packs(path, split, "lspet")


def face_packs(path: Path) -> tuple[PhotoPack, PhotoPack]:
    """Training and validation part of the face pack. Raises AssetError or DataError for another file."""
    with Npz(path) as z:
        missing = [k for k in ("source", "source_file") if k not in z]
        if missing:
            raise DataError(f"{path} has no {' and no '.join(missing)}; people cannot be told apart in it")
        split = face_split(z.read("source").tolist(), z.read("source_file").tolist())
    return _packs(path, split, "ibug68")


def _packs(path: Path, split: Split, skeleton: str) -> tuple[PhotoPack, PhotoPack]:
    convention = Skeleton.read(skeleton)
    return PhotoPack(path, split.train, convention), PhotoPack(path, split.validation, convention)
