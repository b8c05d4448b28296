"""Photos made on the fly for training: one at a time as a data set's store, or whole batches on a GPU."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from openexpose.data.record import Record
from openexpose.data.sample import Labelled, SampleBatch, body_layout
from openexpose.errors import ConfigError
from openexpose.synth.labels import Part, PartShapes, record_of
from openexpose.synth.photo import Photos, Studio
from openexpose.synth.scene import SceneDraw
from openexpose.synth.sets import check_training_seed

_PNG_SPEED = [cv2.IMWRITE_PNG_COMPRESSION, 1]
_CROPPING = 0x63726F70
"""Keeps the chances of crops apart from those of scenes."""


class SynthStore:
    """An endless data set cut to `count` rows: rows and photos are made when asked for (`data.dataset.Store`).

    `Samples(SynthStore(studio, seed=1, count=100_000), body_layout(), augment.body(), ...)` trains on it. The last
    photo is kept, so asking for a row and then for its photo costs one rendering.
    """

    def __init__(self, studio: Studio, *, seed: int, count: int, part: Part = "body", test: bool = False) -> None:
        """test: allow the seeds of the fixed test sets. Raises ConfigError for a seed that is kept for tests."""
        if count < 1:
            raise ConfigError(f"count={count}: a data set needs at least one row")
        self.studio, self.seed, self.count, self.part = studio, seed if test else check_training_seed(seed), count, part
        self.shapes = PartShapes.fitted()
        self._last: tuple[int, Photos] | None = None

    @property
    def name(self) -> str:
        """For messages."""
        return f"synth-{self.part}-{self.seed}"

    def __len__(self) -> int:
        return self.count

    def row(self, index: int) -> Record:
        """The labels of one photo."""
        return record_of(self._shot(index), 0, f"{self.name}#{index}", self.part, self.shapes)

    def photo(self, index: int) -> bytes:
        """One photo as PNG bytes."""
        rgb = self._shot(index).rgb[0].cpu().numpy()
        _, data = cv2.imencode(".png", np.ascontiguousarray(rgb[..., ::-1]), _PNG_SPEED)
        return bytes(data.tobytes())

    def _shot(self, index: int) -> Photos:
        if self._last is None or self._last[0] != index:
            self._last = index, self.studio.shoot([self.studio.draw(self.seed, index)])
        return self._last[1]


@dataclass(frozen=True)
class CropConfig:
    """How bodies are cropped on the device."""

    crop_px: int = 256
    box_scale: float = 1.1
    """Side of the crop over the longer side of the person's box."""
    scale_jitter: float = 0.2
    """The side is multiplied by 1 plus or minus this."""
    shift_jitter: float = 0.10
    """The centre moves by up to this share of the side."""

    def __post_init__(self) -> None:
        """Raises ConfigError for sizes that are not positive."""
        if self.crop_px < 16 or self.box_scale <= 0 or not 0 <= self.scale_jitter < 1:
            raise ConfigError(f"{self}: crop_px >= 16, box_scale > 0, 0 <= scale_jitter < 1")


class BodyBatches:
    """Batches of bodies on the studio's device: `batches.batch(positions)`, a function of seed and positions."""

    def __init__(self, studio: Studio, *, seed: int, cfg: CropConfig = CropConfig()) -> None:
        """Raises ConfigError for a seed that is kept for tests."""
        self.studio, self.seed, self.cfg = studio, check_training_seed(seed), cfg

    def batch(self, positions: Sequence[int], draws: Sequence[SceneDraw] | None = None) -> SampleBatch:
        """The photos at these positions, cropped, with all targets of `body_layout(10, 50)`; views are the photos.

        draws: the scenes, where other processes have drawn them (`ahead.DrawAhead`).
        Raises ConfigError if they are scenes of another seed or other positions.
        """
        draws = [self.studio.draw(self.seed, p) for p in positions] if draws is None else draws
        if [(d.seed, d.index) for d in draws] != [(self.seed, p) for p in positions]:
            raise ConfigError(f"the scenes are not those of seed {self.seed} at positions {list(positions)[:4]}...")
        photos = self.studio.shoot(draws)
        centre, side = self._squares(photos, positions)
        crops, T = cropped(photos.rgb, centre, side, self.cfg.crop_px)
        points = photos.keypoints_px @ T[:, :, :2].mT + T[:, None, :, 2]
        one = torch.ones((*points.shape[:2], 1), device=points.device)
        known = (photos.keypoints_m[..., 2:] > 0.05).float()
        targets = {
            "keypoints2d": torch.cat([points * known, known], -1),
            "keypoints3d": torch.cat([photos.keypoints_m, one], -1),
        } | _parameters(photos)
        layout = body_layout(10, self.studio.casting.expressions)
        assert set(targets) == set(layout.shapes())
        sure = torch.ones(len(positions), device=points.device)
        return SampleBatch(
            crops=crops,
            targets={n: Labelled(v, sure) for n, v in targets.items()},
            views=tuple(photos.rgb.unbind(0)),
            T_view_crop=_inverse(T),
            view_side_px=side,
            photos=tuple(f"synth-{self.seed}#{p}" for p in positions),
            rows=tuple(positions),
        )

    def _squares(self, photos: Photos, positions: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Centre and side of each crop in photo pixels."""
        chances = np.stack([np.random.default_rng((self.seed, p, _CROPPING)).uniform(-1, 1, 3) for p in positions])
        c = torch.tensor(chances, dtype=torch.float32, device=photos.box_px.device)
        low, high = photos.box_px[:, :2], photos.box_px[:, 2:]
        side = (high - low).amax(1).clamp(min=8) * self.cfg.box_scale * (1 + self.cfg.scale_jitter * c[:, 0])
        return (low + high) / 2 + self.cfg.shift_jitter * side[:, None] * c[:, 1:], side


def cropped(
    photos: UInt8[Tensor, "B H W 3"], centre_px: Float[Tensor, "B 2"], side_px: Float[Tensor, " B"], size_px: int
) -> tuple[UInt8[Tensor, "B S S 3"], Float[Tensor, "B 2 3"]]:
    """Square crops, bilinear, black outside, and T_crop_photo of each; on the photos' device.

    The square's centre lands on (size / 2, size / 2), as in `geometry.affine.crop_affine`.
    """
    B, H, W, _ = photos.shape
    k = size_px / side_px
    T = torch.zeros((B, 2, 3), device=photos.device)
    T[:, 0, 0] = T[:, 1, 1] = k
    T[:, :, 2] = size_px / 2 - k[:, None] * centre_px
    at = torch.arange(size_px, device=photos.device).float()
    x = (at[None] - T[:, 0, 2:]) / k[:, None]
    y = (at[None] - T[:, 1, 2:]) / k[:, None]
    grid = torch.stack(torch.broadcast_tensors((2 * x[:, None, :] + 1) / W - 1, (2 * y[:, :, None] + 1) / H - 1), -1)
    pixels = photos.permute(0, 3, 1, 2).float()
    out = torch.nn.functional.grid_sample(pixels, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return out.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous(), T


def _inverse(T: Float[Tensor, "B 2 3"]) -> Float[Tensor, "B 2 3"]:
    """Of affines that scale and shift."""
    k = T[:, 0, 0]
    back = torch.zeros_like(T)
    back[:, 0, 0] = back[:, 1, 1] = 1 / k
    back[:, :, 2] = -T[:, :, 2] / k[:, None]
    return back


def _parameters(photos: Photos) -> dict[str, Tensor]:
    """Rotations, shape and expression of the first people, on the photos' device."""
    device = photos.keypoints_m.device
    R = torch.from_numpy(np.stack([d.R[0] for d in photos.draws])).to(device)
    betas, expression = (np.stack([getattr(d, n)[0] for d in photos.draws]) for n in ("betas", "expression"))
    return {
        "global_orient": R[:, 0], "body_pose": R[:, 1:22], "jaw_pose": R[:, 22],
        "left_hand_pose": R[:, 25:40], "right_hand_pose": R[:, 40:55],
        "betas": torch.from_numpy(betas).to(device), "expression": torch.from_numpy(expression).to(device),
    }  # fmt: skip
