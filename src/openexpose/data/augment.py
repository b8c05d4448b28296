"""What is varied in training: settings, one draw of chances, and where that draw puts the crop in the photo."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from jaxtyping import Float

from openexpose.data.degrade import DegradeConfig
from openexpose.errors import ConfigError, DataError
from openexpose.geometry.affine import Affine, canvas_turn, compose, crop_affine, flip_affine, moved

Chance = np.random.Generator | np.random.RandomState
"""Training uses Generators; the old kind exists to repeat the reference's draws."""


@dataclass(frozen=True)
class Quirks:
    """Habits of the reference that are not what one would want; all off by default, all on in `REFERENCE`."""

    turn_photo_first: bool = False
    """Turn the whole photo onto a larger canvas before cropping, so pixels are interpolated twice (whole network)."""
    truncate_turned_keypoints: bool = False
    """Turned keypoints become int(position + 1): up to a pixel off, and whole pixels (golden README, row 18)."""
    leave_unseen_keypoints: bool = False
    """Keypoints with confidence <= 0 keep their photo position in the crop; off: they become zeros (row 18)."""
    low_res_bilinear: bool = False
    """Low resolution is simulated by bilinear sampling both ways, which aliases; off: areas are averaged (row 17)."""
    decode_in_full: bool = False
    """Flip and decode the photo at full size, bit for bit as the reference; off: only as many pixels as are needed."""


REFERENCE = Quirks(
    turn_photo_first=True,
    truncate_turned_keypoints=True,
    leave_unseen_keypoints=True,
    low_res_bilinear=True,
    decode_in_full=True,
)
"""For numbers that must agree with the reference's pipeline."""


@dataclass(frozen=True)
class AugmentConfig:
    """How much a sample may vary: by default not at all. `body()`, `head()`, `hand()`, `whole()` as published."""

    crop_px: int = 256
    """Side of the crop."""
    centre_jitter: float = 0.0
    """Largest shift of the crop's centre along each axis, as a share of its side; kept inside the photo."""
    jitter_kind: Literal["uniform", "normal"] = "uniform"
    """"normal": centre_jitter is the standard deviation."""
    flip: float = 0.0
    """Probability of mirroring left and right."""
    scale: float = 0.0
    """Standard deviation of the crop side's factor, which stays within 1 - scale to 1 + scale."""
    turn: float = 0.0
    """Probability of turning."""
    turn_sd_deg: float = 30.0
    """Standard deviation of the turn, cut at twice itself."""
    channel_noise: float = 0.0
    """Each colour channel is multiplied by a factor within 1 - channel_noise to 1 + channel_noise."""
    low_res: tuple[float, ...] = (1.0,)
    """The crop is shrunk by one of these factors and enlarged again."""
    truncate: float = 0.0
    """Probability of moving the crop so that part of the person is cut off (beyond the reference)."""
    degrade: DegradeConfig = field(default_factory=DegradeConfig)
    """Further damage to pixels (beyond the reference, off by default)."""
    quirks: Quirks = field(default_factory=Quirks)
    """Parity with the reference."""
    view_px: int | None = None
    """Largest side of the square kept for looking again at hands and head (never enlarged); None keeps none."""
    view_scale: float = 1.25
    """Side of that square over the person's box."""

    def __post_init__(self) -> None:
        """Raises ConfigError naming a setting outside its range."""
        for name in ("flip", "turn", "truncate", "centre_jitter"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"augment.{name}={getattr(self, name)}: between 0 and 1")
        if not (0 <= self.scale < 1 and 0 <= self.channel_noise < 1):
            raise ConfigError(
                f"augment.scale={self.scale}, augment.channel_noise={self.channel_noise}: 0 up to, not with, 1"
            )
        if self.crop_px < 8 or (self.view_px is not None and self.view_px < 8):
            raise ConfigError(f"augment.crop_px={self.crop_px}, augment.view_px={self.view_px}: at least 8 pixels")
        if not self.low_res or not all(1 <= f <= self.crop_px / 2 for f in self.low_res):
            raise ConfigError(f"augment.low_res={self.low_res}: factors from 1 to half the crop's side")


def body(quirks: Quirks | None = None) -> AugmentConfig:
    """Return the reference's settings for the body network (spec 7.3)."""
    return AugmentConfig(
        flip=0.5, scale=0.25, turn=0.6, channel_noise=0.4, quirks=_in_crop(Quirks() if quirks is None else quirks)
    )


def head(quirks: Quirks | None = None) -> AugmentConfig:
    """Return the reference's settings for the face network."""
    return AugmentConfig(
        centre_jitter=0.2, flip=0.5, scale=0.2, turn=0.6, channel_noise=0.4,
        low_res=(1.0, 1.2, 1.5, 2.0, 3.0, 4.0, 8.0),
        quirks=_in_crop(Quirks() if quirks is None else quirks),
    )  # fmt: skip


def hand(quirks: Quirks | None = None) -> AugmentConfig:
    """Return the reference's settings for the hand network: right hands, so never flipped."""
    return AugmentConfig(
        crop_px=224, centre_jitter=0.2, scale=0.2, turn=0.6, channel_noise=0.4, low_res=(1.0, 1.2, 1.5, 2.0, 3.0, 4.0),
        quirks=_in_crop(Quirks() if quirks is None else quirks),
    )  # fmt: skip


def whole(quirks: Quirks | None = None, view_px: int = 768) -> AugmentConfig:
    """Return the reference's settings for the whole network, which looks again into the photo."""
    return AugmentConfig(
        flip=0.5,
        scale=0.25,
        turn=0.6,
        channel_noise=0.4,
        view_px=view_px,
        quirks=Quirks() if quirks is None else quirks,
    )


def strong(crop_px: int, *, flip: float) -> AugmentConfig:
    """Return our settings for few real photos and many rendered ones: everything varies, colours and sharpness too."""
    return AugmentConfig(
        crop_px=crop_px, centre_jitter=0.06, jitter_kind="normal", flip=flip, scale=0.22, turn=0.6, turn_sd_deg=25.0,
        channel_noise=0.15, low_res=(1.0, 1.0, 1.0, 1.0, 1.5, 2.0, 3.0), truncate=0.25,
        degrade=DegradeConfig(colour=0.5, blur=0.1, jpeg=0.1, occlude=0.15),
    )  # fmt: skip


def _in_crop(q: Quirks) -> Quirks:
    """Only the whole network's pipeline turns the photo itself."""
    return Quirks(
        leave_unseen_keypoints=q.leave_unseen_keypoints,
        low_res_bilinear=q.low_res_bilinear,
        decode_in_full=q.decode_in_full,
    )


@dataclass(frozen=True)
class Draw:
    """What chance decided for one sample. Apply it twice and the same thing happens."""

    shift: tuple[float, float]
    """Of the centre, in sides of the square."""
    flipped: bool
    scale: float
    """Factor of the square's side."""
    turn_deg: float
    channel_gain: tuple[float, float, float]
    """R, G, B."""
    low_res: float
    truncated: tuple[float, float, float] | None
    """Further shift of the centre and factor of the side; None: the person stays whole."""


def draw(cfg: AugmentConfig, rng: Chance) -> Draw:
    """Return one draw. The order of calls is the reference's, so that its seeds give its draws (spec 7.3)."""
    shift = (0.0, 0.0)
    if cfg.centre_jitter:
        raw = [
            rng.uniform(-cfg.centre_jitter, cfg.centre_jitter)
            if cfg.jitter_kind == "uniform"
            else cfg.centre_jitter * rng.standard_normal()
            for _ in range(2)
        ]
        shift = (float(raw[0]), float(raw[1]))
    flipped = bool(rng.random() <= cfg.flip) and cfg.flip > 0
    scale = float(np.clip(1 + cfg.scale * rng.standard_normal(), 1 - cfg.scale, 1 + cfg.scale))
    angle = float(np.clip(cfg.turn_sd_deg * rng.standard_normal(), -2 * cfg.turn_sd_deg, 2 * cfg.turn_sd_deg))
    turn_deg = angle if rng.random() <= cfg.turn and cfg.turn > 0 else 0.0
    blue, green, red = (float(v) for v in rng.uniform(1 - cfg.channel_noise, 1 + cfg.channel_noise, 3))
    low_res = float(rng.choice(cfg.low_res))
    truncated = None
    if cfg.truncate and rng.random() <= cfg.truncate:
        truncated = (float(rng.uniform(-0.35, 0.35)), float(rng.uniform(-0.35, 0.35)), float(rng.uniform(0.4, 0.8)))
    return Draw(shift, flipped, scale, turn_deg, (red, green, blue), low_res, truncated)


def square_around(box_xywh_px: Float[np.ndarray, "4"], *, scale: float) -> tuple[Float[np.ndarray, "2"], float]:
    """Return centre and side of the square around a box: its longer side times `scale` (spec 6.1).

    Raises DataError if the box has a number that is not finite, or no area.
    """
    x, y, w, h = (float(v) for v in box_xywh_px)
    if not (np.isfinite(box_xywh_px).all() and w > 0 and h > 0):
        raise DataError(f"box {box_xywh_px.tolist()} (left, top, width, height) is empty or not finite")
    return np.array([x + w / 2, y + h / 2]), max(w, h) * scale


@dataclass(frozen=True)
class Placement:
    """Where the crop lies. Everything that moves points follows from it."""

    T_work_photo: Affine
    """Photo as it is -> photo as it is worked on (mirrored; turned whole under that quirk)."""
    work_px: tuple[int, int]
    """Width and height of the worked-on photo."""
    T_crop_work: Affine
    centre_work_px: Float[np.ndarray, "2"]
    side_px: float
    """Of the crop, in photo pixels."""
    box_side_px: float
    """Of the person's square before scaling."""
    flipped: bool
    turn_deg: float
    """All turning done, counter-clockwise as seen in the picture."""
    size_px: int
    truncated_points: bool

    @property
    def T_crop_photo(self) -> Affine:
        """Photo as it is -> crop."""
        return compose(self.T_crop_work, self.T_work_photo)

    def points_in_work(self, photo_px: Float[np.ndarray, "K 2"]) -> Float[np.ndarray, "K 2"]:
        """Return photo points in the worked-on photo."""
        out = moved(self.T_work_photo, photo_px)
        return np.trunc(out + 1) if self.truncated_points else out


def place(
    cfg: AugmentConfig, chances: Draw, centre_px: Float[np.ndarray, "2"], side_px: float, photo_px: tuple[int, int]
) -> Placement:
    """Return where the crop of one draw lies.

    centre_px, side_px: the person's square.  photo_px: width and height of the upright photo.
    """
    width = photo_px[0]
    centre = centre_px + np.array(chances.shift) * side_px
    if cfg.centre_jitter:
        centre = np.clip(centre, 0, np.array(photo_px, float))
    if chances.truncated is not None:
        centre = centre + np.array(chances.truncated[:2]) * side_px
    T_work_photo = flip_affine(width) if chances.flipped else np.eye(2, 3)
    side = side_px * chances.scale * (1.0 if chances.truncated is None else chances.truncated[2])
    work_px, in_crop_deg = photo_px, chances.turn_deg
    truncated_points = False
    if cfg.quirks.turn_photo_first and chances.turn_deg:
        T_turn, work_px = canvas_turn(photo_px, chances.turn_deg)
        T_work_photo, in_crop_deg = compose(T_turn, T_work_photo), 0.0
        truncated_points = cfg.quirks.truncate_turned_keypoints
    centre_work = moved(T_work_photo, centre)
    return Placement(
        T_work_photo=T_work_photo,
        work_px=work_px,
        T_crop_work=crop_affine(centre_work, side, cfg.crop_px, in_crop_deg),
        centre_work_px=centre_work,
        side_px=side,
        box_side_px=side_px,
        flipped=chances.flipped,
        turn_deg=chances.turn_deg,
        size_px=cfg.crop_px,
        truncated_points=truncated_points,
    )
