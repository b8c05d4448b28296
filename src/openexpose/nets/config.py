"""Sizes and choices of the networks: small frozen dataclasses, presets as functions, variants by `replace`."""

from dataclasses import dataclass, field, replace
from typing import Literal

from openexpose.errors import ConfigError
from openexpose.nets.params import PARAMS, Part
from openexpose.skeleton import Skeleton

LITE_BACKBONES = ("lite0_deep", "lite0_shallow", "mobilenet2_deep")
"""Our backbones (`points.py`) on EfficientNet-Lite0, down to stride 32 and to stride 16, and on MobileNetV2."""


@dataclass(frozen=True)
class PartConfig:
    """One of the three networks. Defaults are those that the three have in common."""

    backbone: str
    """"hrnet_w48_expose", or the name of any timm model."""
    crop_px: int
    """Side of the square crop it sees."""
    camera_scale: float
    """Where the camera's scale starts."""
    upside_down: bool
    """Whether the root starts half a turn about x (a y-up model in a y-down camera) or at the identity."""
    num_betas: int
    """Shape coefficients it predicts."""
    num_expression: int = 0
    """Expression coefficients it predicts; the hand has none."""
    activation: Literal["none", "relu"] = "relu"
    """Between the regressor's layers."""
    width: int = 1024
    """Of the regressor's hidden layers."""
    steps: int = 3
    """How often the regressor corrects its guess."""
    dropout: float = 0.5
    """In the regressor, while training."""
    fixed_norm: bool = True
    """Batch norms use stored statistics in training too, as the reference's; False from scratch."""
    confidence: bool = False
    """One more output: how far the network trusts itself. ExPose's networks have none."""
    points: tuple[str, ...] = ()
    """Keypoints that the backbone draws heatmaps of ("lite0" backbones, `points.py`); none for the reference's."""
    fine: int = 0
    """Width of the map at stride 4 that sharpens the heatmaps; 0: they stay at stride 8."""
    mirror: bool = False
    """Outside training, heatmaps are the mean of what the crop and its mirror image say; not for hands."""
    closer: float = 0.0
    """Share of the crop's side that another look outside training takes in; its heatmaps count too. 0: no such look."""
    depth: bool = False
    """The backbone also tells how far behind the others each point is (`refine.py` uses it, and the regressor)."""
    lift: int = 0
    """Width of the network that corrects the first guess by the heatmaps' points (`lift.py`); 0: there is none."""

    def __post_init__(self) -> None:
        """Raises ConfigError for sizes that make no network."""
        object.__setattr__(self, "points", tuple(self.points))  # weight files store lists
        if not self.points and (self.lift or self.mirror or self.fine or self.closer or self.depth):
            raise ConfigError(
                f"{self.backbone}: lift, mirror, closer, fine and depth are about heatmap points: there are none"
            )
        if not 0 <= self.closer < 1:
            raise ConfigError(f"{self.backbone}: closer={self.closer} must be at least 0 and below 1")
        if (self.backbone in LITE_BACKBONES) != bool(self.points):
            raise ConfigError(f"{self.backbone}: heatmap points go with {' and '.join(LITE_BACKBONES)}, and only there")
        for name in ("crop_px", "num_betas", "width", "steps"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{self.backbone}: {name}={getattr(self, name)} must be at least 1")
        if self.crop_px % 32:
            raise ConfigError(f"{self.backbone}: crop_px={self.crop_px} must be a multiple of 32")
        if not 0 <= self.dropout < 1 or self.camera_scale <= 0 or self.num_expression < 0:
            raise ConfigError(f"{self.backbone}: needs 0 <= dropout < 1, camera_scale > 0, num_expression >= 0: {self}")


@dataclass(frozen=True)
class ZoomConfig:
    """Where to look again: side of the second crop over the tight box of the projected points (spec 3.1)."""

    hand_scale: float = 3.0
    head_scale: float = 2.0

    def __post_init__(self) -> None:
        """Raises ConfigError below 1."""
        if min(self.hand_scale, self.head_scale) < 1:
            raise ConfigError(f"{self}: below 1 the crop would cut the part off")


@dataclass(frozen=True)
class GateConfig:
    """When a part's answer is refused and the body's own guess stays. Beyond the reference."""

    min_seen: float = 0.3
    """Least share of the part's crop that must lie on the photo."""
    min_side_px: float = 16.0
    """Least side of the part's crop in photo pixels."""
    min_confidence: float = 0.2
    """Least confidence, for part networks that report one."""

    def __post_init__(self) -> None:
        """Raises ConfigError outside the ranges."""
        if not (0 <= self.min_seen <= 1 and 0 <= self.min_confidence <= 1 and self.min_side_px >= 0):
            raise ConfigError(f"{self}: min_seen and min_confidence are shares of one, min_side_px is not negative")


@dataclass(frozen=True)
class RefineConfig:
    """How a network's guess is pulled onto what its heatmaps see (`refine.py`). Beyond the reference."""

    steps: int = 16
    """Levenberg-Marquardt steps."""
    spread_u: float = 0.012
    """How far a sure heatmap is expected to be off, in half crop sides."""
    outlier_u: float = 0.12
    """Points further off than this pull with constant force."""
    first_steps: int = 0
    """Steps of a first fit of the body, which trusts heatmaps less and says how deep its points are. 0: none."""
    first_spread_u: float = 0.04
    """`spread_u` of the first fit."""
    keep_depth_u: float = 0.02
    """How far points may then leave the depth of the first fit, in half crop sides."""
    least_peak: float = 0.05
    """Heatmaps less concentrated than this (0 to 1) do not pull."""
    depth_share: float = 1.0
    """How much depths count, where the network tells them, against what their doubts say."""
    outlier_depth_u: float = 0.3
    """Depths further off than this pull with constant force."""
    prior_share: float = 1.0
    """How much it counts what poses are like as a rule."""
    own_share: float = 1.0
    """How much the network's own guess of joints counts."""
    turn_rad: float = 0.31
    """How far the root of the guess may be off."""
    camera_spread: tuple[float, float, float] = (0.3, 0.3, 0.3)
    """The same for log scale, and the shift in metres."""
    alike: float = 0.0
    """Of hands: how far fingers that are not seen take after those of the other hand."""
    betas_spread: float = 1.0
    """Of a face: how far the body's shape coefficients may be off."""
    betas_share: float = 0.0
    """Of a face: what share of the body network's shape is where it starts."""

    def __post_init__(self) -> None:
        """Raises ConfigError for values that make no sense."""
        object.__setattr__(self, "camera_spread", tuple(self.camera_spread))  # weight files store lists
        if (
            self.steps < 1
            or self.first_steps < 0
            or self.spread_u <= 0
            or self.outlier_u <= 0
            or not 0 <= self.least_peak < 1
        ):
            raise ConfigError(f"{self}: steps >= 1, first_steps >= 0, spread_u > 0, outlier_u > 0, 0 <= least_peak < 1")
        if min(self.depth_share, self.prior_share, self.own_share) < 0 or self.prior_share + self.own_share == 0:
            raise ConfigError(f"{self}: shares may not be negative, prior_share and own_share not both 0")
        if not 0 <= self.alike <= 1:
            raise ConfigError(f"{self}: alike is a share of one")
        spreads = (self.first_spread_u, self.keep_depth_u, self.turn_rad, self.outlier_depth_u, self.betas_spread)
        if min(*spreads, *self.camera_spread) <= 0:
            raise ConfigError(f"{self}: spreads must be positive")


@dataclass(frozen=True)
class NetConfig:
    """A whole model, or one part of it: a part that is None is not built."""

    name: str
    """Preset it came from; written into weight files."""
    body: PartConfig | None
    hand: PartConfig | None
    head: PartConfig | None
    zoom: ZoomConfig = field(default_factory=ZoomConfig)
    gate: GateConfig | None = None
    """None: part answers always replace the body's, as in the reference."""
    refine: RefineConfig | None = None
    """None: the body network's answer stays as it is, as in the reference."""
    refine_hand: RefineConfig | None = None
    """The same for hands; needs `refine`."""
    refine_head: RefineConfig | None = None
    """The same for jaw, expression and the shape of the face; needs `refine`."""

    def part(self, part: Part) -> PartConfig:
        """One part's settings. Raises ConfigError if this model is built without it."""
        config: PartConfig | None = getattr(self, part)
        if config is None:
            raise ConfigError(f"preset {self.name!r} has no {part} network; it has {', '.join(self.parts)}")
        return config

    @property
    def parts(self) -> tuple[Part, ...]:
        """The networks this model consists of."""
        return tuple(p for p in PARAMS if getattr(self, p) is not None)


def expose() -> NetConfig:
    """ExPose: loads the released weights. 341, 109 and 165 numbers (spec 2.3)."""
    return NetConfig(
        "expose",
        body=PartConfig(
            "hrnet_w48_expose",
            256,
            camera_scale=0.9,
            upside_down=True,
            num_betas=10,
            num_expression=10,
            activation="none",
        ),
        hand=PartConfig("resnet18", 224, camera_scale=0.9, upside_down=False, num_betas=10),
        head=PartConfig("resnet18", 256, camera_scale=8.0, upside_down=True, num_betas=100, num_expression=50),
    )


BODY_POINTS = (
    *("right_ankle", "right_knee", "right_hip_extra", "left_hip_extra", "left_knee", "left_ankle"),
    *("right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist"),
    *("neck_extra", "headtop", "nose", "right_eye", "left_eye", "right_ear", "left_ear"),
    *("right_bigtoe", "left_bigtoe", "right_heel", "left_heel", "right_middle_1", "left_middle_1"),
)
"""The 14 of LSP, the head, the feet's ends, and where the hands are."""


def lite() -> NetConfig:
    """The small networks that ship: MobileNetV2 (body) and EfficientNet-Lite0 trunks with heatmaps, for FreeBody.

    Batch norms keep the statistics they began with, so a few small batches can train them. The second looks are
    tighter than the reference's: more of the part in fewer pixels.
    """
    freihand, flame = Skeleton.read("freihand").names, Skeleton.read("ibug68").names
    common = PartConfig("mobilenet2_deep", 160, 0.9, upside_down=True, num_betas=10, num_expression=10, width=256,
                        dropout=0.1, points=BODY_POINTS, fine=48, depth=True)  # fmt: skip
    small = replace(common, backbone="lite0_shallow", crop_px=128, width=192, lift=256)
    body = replace(common, lift=512, mirror=True, closer=0.85)
    return NetConfig(
        "lite",
        body=body,
        hand=replace(small, upside_down=False, num_expression=0, points=freihand),
        head=replace(
            small, mirror=True, width=160, camera_scale=8.0, num_betas=100, num_expression=50, points=flame, depth=False
        ),
        zoom=ZoomConfig(hand_scale=2.2, head_scale=1.6),
        refine=RefineConfig(steps=4, spread_u=0.006, first_steps=5, first_spread_u=0.05, keep_depth_u=0.015,
                            prior_share=2.0),
        refine_hand=RefineConfig(steps=6, spread_u=0.06, outlier_u=0.2, least_peak=0.8, depth_share=0.0, own_share=0.3,
                                 alike=0.7, turn_rad=0.5, camera_spread=(0.5, 1.0, 1.0)),
        refine_head=RefineConfig(steps=4, spread_u=0.06, outlier_u=0.12, least_peak=0.85, turn_rad=0.3,
                                 camera_spread=(1.0, 1.0, 1.0), betas_spread=0.5, betas_share=1.0),
    )  # fmt: skip


def only(part: Part, base: NetConfig) -> NetConfig:
    """One part of a preset alone; for `expose()` these are the reference's three single-part configs."""
    base.part(part)
    body, hand, head = (getattr(base, p) if p == part else None for p in PARAMS)
    return NetConfig(f"{base.name}-{part}", body, hand, head, base.zoom, None)


PRESETS = {
    "expose": expose,
    "expose-body": lambda: only("body", expose()),
    "expose-hand": lambda: only("hand", expose()),
    "expose-head": lambda: only("head", expose()),
    "lite": lite,
    "lite-body": lambda: only("body", lite()),
    "lite-hand": lambda: only("hand", lite()),
    "lite-head": lambda: only("head", lite()),
}
"""Name -> function that makes the config; names are written into weight files."""
