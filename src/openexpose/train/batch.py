"""What a training step is given."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from openexpose.losses.network import Target
from openexpose.nets.params import Part


class Photos(NamedTuple):
    """Where the crops come from: what the whole network needs to look again."""

    pixels: Sequence[Tensor]
    """Each person's photo, (H, W, 3) RGB 0 to 255, of any size."""
    T_crop_photo: Float[Tensor, "B 2 3"]
    """Photo pixels to crop pixels."""
    side_px: Float[Tensor, " B"]
    """Side of the crop in photo pixels."""


class Batch:
    """Samples stacked: crops, labels, and for the whole network the photos.

    Deliberately no dataclass: Fabric would take it apart and put a copy together again.
    """

    def __init__(
        self,
        crops: Float[Tensor, "B 3 S S"],
        targets: Mapping[str, Target],
        *,
        photos: Photos | None = None,
        positions: Sequence[int] = (),
        skipped: Sequence[str] = (),
        closeups: Mapping[Part, "Batch"] | None = None,
    ) -> None:
        """crops: normalised RGB.   targets: see `losses.network`.   positions: where the samples came from.

        skipped: what was wrong with rows in whose place others stand.   closeups: images of single hands or heads.
        """
        self.crops, self.targets, self.photos = crops, dict(targets), photos
        self.positions, self.closeups = tuple(positions), dict(closeups or {})
        of_closeups = [message for batch in self.closeups.values() for message in batch.skipped]
        self.skipped: tuple[str, ...] = (*skipped, *of_closeups)

    def __len__(self) -> int:
        return len(self.crops)

    def to(self, device: torch.device) -> "Batch":
        """The same batch on another device."""
        photos = self.photos
        if photos is not None:
            pixels = [p.to(device, non_blocking=True) for p in photos.pixels]
            photos = Photos(pixels, photos.T_crop_photo.to(device), photos.side_px.to(device))
        targets = {k: Target(*(x.to(device, non_blocking=True) for x in t)) for k, t in self.targets.items()}
        crops, closeups = self.crops.to(device, non_blocking=True), {k: b.to(device) for k, b in self.closeups.items()}
        out = Batch(crops, targets, photos=photos, positions=self.positions, closeups=closeups)
        out.skipped = self.skipped
        return out

    def tensors(self) -> dict[str, Tensor]:
        """Everything by name, on the CPU: to write a batch down."""
        out = {"crops": self.crops, "positions": torch.tensor(self.positions, dtype=torch.int64)}
        if self.photos is not None:
            out |= {"T_crop_photo": self.photos.T_crop_photo, "side_px": self.photos.side_px}
            out |= {f"photo/{i}": pixels for i, pixels in enumerate(self.photos.pixels)}
        for name, target in self.targets.items():
            out[f"target/{name}"], out[f"weight/{name}"] = target.value, target.weight
        for part, batch in self.closeups.items():
            out |= {f"{part}/{name}": value for name, value in batch.tensors().items()}
        return {k: v.detach().cpu().contiguous().clone() for k, v in out.items()}  # labels share their weights
