"""One training item and a stack of them. Every target of a kind has the same shape in every sample, known or not."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from openexpose.errors import DataError
from openexpose.skeleton import Skeleton


@dataclass(frozen=True)
class Labelled:
    """A target and how much to trust it. Unknown = zeros with weight 0, so samples always stack."""

    value: Float[Tensor, "..."]
    weight: Float[Tensor, "*B"]

    @classmethod
    def unknown(cls, *shape: int) -> "Labelled":
        """Return a target of this shape that no loss will look at."""
        return cls(torch.zeros(shape), torch.zeros(()))

    @classmethod
    def known(cls, value: np.ndarray) -> "Labelled":
        """Return a fully trusted target; values become float32."""
        return cls(torch.from_numpy(np.ascontiguousarray(value, np.float32)), torch.ones(()))


@dataclass(frozen=True)
class TargetLayout:
    """Which targets every sample carries, and their shapes: what one network can learn from."""

    skeleton: Skeleton
    """Convention of the keypoints: smplx, flame, freihand..."""
    rotations: Mapping[str, int]
    """Name -> number of joints; 0 for a single joint without a joint axis."""
    betas: int
    expression: int

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of each target's value."""
        k = len(self.skeleton)
        out: dict[str, tuple[int, ...]] = {"keypoints2d": (k, 3), "keypoints3d": (k, 4)}
        out |= {n: (j, 3, 3) if j else (3, 3) for n, j in self.rotations.items()}
        return out | {"betas": (self.betas,)} | ({"expression": (self.expression,)} if self.expression else {})


def body_layout(betas: int = 10, expression: int = 10, *, lsp: bool = False) -> TargetLayout:
    """Return the targets of a whole body: SMPL-X keypoints (`lsp`: and LSP's hips, neck, head top), all rotations."""
    joints = {"global_orient": 0, "body_pose": 21, "jaw_pose": 0, "left_hand_pose": 15, "right_hand_pose": 15}
    return TargetLayout(Skeleton.read("smplx_lsp" if lsp else "smplx"), joints, betas, expression)


def head_layout(betas: int = 100, expression: int = 50) -> TargetLayout:
    """Return the targets of a head: FLAME keypoints, head and jaw rotation."""
    return TargetLayout(Skeleton.read("flame"), {"global_orient": 0, "jaw_pose": 0}, betas, expression)


def hand_layout(betas: int = 10) -> TargetLayout:
    """Return the targets of a right hand: 21 keypoints in FreiHAND order, wrist and finger rotations."""
    return TargetLayout(Skeleton.read("freihand"), {"global_orient": 0, "right_hand_pose": 15}, betas, 0)


@dataclass(frozen=True)
class View:
    """The part of the photo that hands and head are looked at again in, upright with the crop (turned and mirrored)."""

    rgb: UInt8[Tensor, "H W 3"]
    T_view_crop: Float[Tensor, "2 3"]
    """Crop pixels -> pixels of `rgb`."""
    side_px: Float[Tensor, ""]
    """Side of the body crop in pixels of `rgb`."""


@dataclass(frozen=True)
class Sample:
    """One person, augmented, as a network is trained on it."""

    crop: UInt8[Tensor, "S S 3"]
    """RGB, 0 to 255; `geometry.crop.normalise` makes the network's input of it."""
    targets: Mapping[str, Labelled]
    """keypoints2d (K, 3): crop pixels, confidence; keypoints3d (K, 4): metres, confidence; rotations as matrices..."""
    view: View | None
    T_crop_photo: Float[Tensor, "2 3"]
    """Pixels of the upright full-size photo -> crop pixels; includes flip and turn."""
    photo: str
    """Which photo."""
    row: int
    """Which row of its data set."""
    skipped: tuple[str, ...] = ()
    """What was wrong with the rows in whose place this one stands."""


@dataclass(frozen=True)
class SampleBatch:
    """Samples stacked along a first axis B."""

    crops: UInt8[Tensor, "B S S 3"]
    targets: Mapping[str, Labelled]
    views: tuple[UInt8[Tensor, "_ _ 3"], ...]
    """Of any sizes; none if the samples have none."""
    T_view_crop: Float[Tensor, "B 2 3"] | None
    view_side_px: Float[Tensor, " B"] | None
    """Side of each body crop in its view's pixels."""
    photos: tuple[str, ...]
    rows: tuple[int, ...]
    skipped: tuple[str, ...] = ()
    """Bad rows that others replace, one message each: collect them for the report at the end."""

    def __len__(self) -> int:
        return len(self.crops)


def skip_report(messages: Iterable[str]) -> str:
    """Return a summary of all `skipped` messages of a run, the first few in full; empty if there were none."""
    unique = sorted(set(messages))
    if not unique:
        return ""
    more = f"\n  ... and {len(unique) - 10} more" if len(unique) > 10 else ""
    return f"{len(unique)} rows were skipped:\n" + "\n".join(f"  {m}" for m in unique[:10]) + more


def collate(samples: Sequence[Sample]) -> SampleBatch:
    """Return the samples as one batch.

    Raises DataError if there are none, or if they carry different targets or sizes (mixed layouts do not stack).
    """
    if not samples:
        raise DataError("no samples to stack; the batch is empty")
    first = samples[0]
    for s in samples:
        for name in set(first.targets) | set(s.targets):
            shapes = [x.targets[name].value.shape if name in x.targets else None for x in (first, s)]
            if shapes[0] != shapes[1]:
                raise DataError(f"target {name!r} is {shapes[0]} in {first.photo!r}, {shapes[1]} in {s.photo!r}; "
                                "give all mixed data sets the same TargetLayout")  # fmt: skip
        if s.crop.shape != first.crop.shape or (s.view is None) != (first.view is None):
            raise DataError(f"{s.photo!r} and {first.photo!r} differ in crop size or in having a view; use one config")
    stacked = {
        n: Labelled(
            torch.stack([s.targets[n].value for s in samples]), torch.stack([s.targets[n].weight for s in samples])
        )
        for n in first.targets
    }
    views = [s.view for s in samples if s.view is not None]
    return SampleBatch(
        crops=torch.stack([s.crop for s in samples]),
        targets=stacked,
        views=tuple(v.rgb for v in views),
        T_view_crop=torch.stack([v.T_view_crop for v in views]) if views else None,
        view_side_px=torch.stack([v.side_px for v in views]) if views else None,
        photos=tuple(s.photo for s in samples),
        rows=tuple(s.row for s in samples),
        skipped=tuple(m for s in samples for m in s.skipped),
    )
