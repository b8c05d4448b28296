"""Training of the people detector that ships: `openexpose train-detector`; docs/detector.md reports a run.

First the trunk stays as ImageNet left it and only the head learns; then the later half of the trunk learns too. The
trunk's frozen part runs in bfloat16, and its features are used several times before they are forgotten: on a CPU they
cost more than the learning.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from openexpose.detect.builtin import load_people, save_people
from openexpose.detect.network import TRUNK, PeopleNet
from openexpose.errors import ConfigError, WeightsError
from openexpose.extras import load_timm
from openexpose.geometry.crop import MEAN_RGB, STD_RGB
from openexpose.readers import write_atomically
from openexpose.train.average import Average
from openexpose.train.people_loss import SIDES_SHARE, Targets, people_loss, stacked, targets_of
from openexpose.train.people_pictures import Picture, Pictures
from openexpose.weights.efficientnet_lite import load_efficientnet_lite

STATE, RESULT = "state.pt", "people.safetensors"


@dataclass(frozen=True)
class PeopleSchedule:
    """How long and how fast."""

    head_steps: int = 600
    """Steps in which only the head learns."""
    whole_steps: int = 300
    """Steps after that in which the later half of the trunk learns too."""
    batch: int = 12
    replay: int = 2
    """How often features of earlier pictures are used again for each batch of new ones."""
    kept: int = 48
    """How many batches of features are kept for that."""
    sizes_px: tuple[int, ...] = (256, 256, 320)
    """Sides of the pictures; each batch draws one."""
    lr: float = 2e-3
    trunk_lr: float = 3e-4
    weight_decay: float = 0.02
    average: float = 0.99
    """Share of the old average that each step keeps."""
    save_every: int = 50
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises ConfigError for a run without steps or a size that does not fit the maps."""
        if self.head_steps < 0 or self.whole_steps < 0 or self.steps < 1 or self.batch < 2 or self.replay < 0:
            raise ConfigError(f"train-detector needs steps and a batch of 2 or more, got {self}")
        if not self.sizes_px or any(s < 64 or s % 32 for s in self.sizes_px) or self.kept < 1:
            raise ConfigError(f"sizes_px={self.sizes_px}: multiples of 32 from 64 up; kept={self.kept}: 1 or more")

    @property
    def steps(self) -> int:
        """Batches of new pictures in the whole run."""
        return self.head_steps + self.whole_steps

    def pace(self, step: int) -> float:
        """Share of the learning rate at a step: up over the first 20, then a cosine to 1 %."""
        return min((step + 1) / 20, 0.505 + 0.495 * math.cos(math.pi * step / self.steps))


@dataclass(frozen=True)
class Progress:
    """What a run tells after each step."""

    step: int
    heat: float
    """Loss of the heatmap, a person."""
    sides: float
    """Loss of the boxes, 0 to 2."""
    seconds: float
    """Since this process began."""


class Learner:
    """The network with all that changes while it learns."""

    def __init__(self, network: PeopleNet, pictures: Pictures, schedule: PeopleSchedule) -> None:
        """network: its trunk holds the ImageNet weights."""
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network, self.pictures, self.schedule = network, pictures, schedule
        for p in [*network.trunk.conv_stem.parameters(), *network.trunk.bn1.parameters()]:
            p.requires_grad_(False)
        for block in network.trunk.blocks[:3]:
            block.requires_grad_(False)
        late = [p for p in network.trunk.parameters() if p.requires_grad]
        head = [p for n, p in network.named_parameters() if not n.startswith("trunk.")]
        rates = [{"params": head, "lr": schedule.lr}, {"params": late, "lr": schedule.trunk_lr}]
        self.optimiser = torch.optim.AdamW(rates, weight_decay=schedule.weight_decay)
        self.average = Average(network, schedule.average)
        self.step = 0
        self._kept: list[tuple[tuple[Tensor, ...], Targets]] = []
        self._mean = torch.tensor(MEAN_RGB)[:, None, None]
        self._std = torch.tensor(STD_RGB)[:, None, None]

    def advance(self) -> tuple[float, float]:
        """One step: a batch of new pictures, then batches of kept features; returns both losses of the new ones."""
        c, whole = self.schedule, self.step >= self.schedule.head_steps
        if self.step == c.head_steps:
            self._kept.clear()  # the maps that are kept now end earlier
        rng = np.random.default_rng((c.seed, self.step, 1))
        self.network.train()
        self.network.trunk.eval()  # its batch norms keep ImageNet's statistics
        size = int(rng.choice(c.sizes_px))
        drawn = [self.pictures.draw(c.seed, self.step * c.batch + k, size_px=size) for k in range(c.batch)]
        batch = (
            self._features([self._pixels(p) for p in drawn], whole),
            stacked([targets_of(p.boxes_px, p.weight) for p in drawn]),
        )
        losses = self._learn(*batch)
        for _ in range(c.replay if self._kept else 0):
            self._learn(*self._kept[int(rng.integers(len(self._kept)))])
        self._kept = [*self._kept, batch][-c.kept :]
        self.step += 1
        return losses

    def _pixels(self, picture: Picture) -> Tensor:
        h, w = picture.filled_px
        x = (torch.from_numpy(picture.rgb).permute(2, 0, 1).float() - self._mean) / self._std
        x[:, h:], x[:, :, w:] = 0, 0
        return x

    def _features(self, pixels: list[Tensor], whole: bool) -> tuple[Tensor, ...]:
        x = torch.stack(pixels).contiguous(memory_format=torch.channels_last)
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
            early = self.network.trunk.early(x)
            return (early,) if whole else (early, *self.network.trunk.late(early))

    def _learn(self, maps: tuple[Tensor, ...], targets: Targets) -> tuple[float, float]:
        full = tuple(m.float() for m in maps)
        full = full if len(full) > 1 else (*full, *self.network.trunk.late(full[0]))
        logits, sides_px = self.network.head(*full)
        heat, sides = people_loss(logits, sides_px, targets)
        for group, rate in zip(self.optimiser.param_groups, (self.schedule.lr, self.schedule.trunk_lr), strict=True):
            group["lr"] = rate * self.schedule.pace(self.step)
        self.optimiser.zero_grad(set_to_none=True)
        (heat + SIDES_SHARE * sides).backward()
        torch.nn.utils.clip_grad_norm_([p for g in self.optimiser.param_groups for p in g["params"]], 10.0)
        self.optimiser.step()
        self.average.update(self.network)
        return float(heat.detach()), float(sides.detach())

    def save(self, folder: Path) -> None:
        """Write what is needed to go on, and the averaged network."""
        with write_atomically(folder / STATE) as temporary:
            torch.save(
                {
                    "step": self.step,
                    "network": self.network.state_dict(),
                    "optimiser": self.optimiser.state_dict(),
                    "average": self.average.state_dict(),
                },
                temporary,
            )
        self.average.swap(self.network)
        try:
            save_people(self.network, folder / RESULT)
        finally:
            self.average.swap(self.network)

    def resume(self, folder: Path) -> None:
        """Go on from what `save` wrote, if there is something; kept features are drawn anew.

        Raises WeightsError if it is damaged or of another version.
        """
        path = folder / STATE
        if not path.exists():
            return
        try:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
            self.network.load_state_dict(state["network"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.average.load_state_dict(state["average"])
            self.step = int(state["step"])
        except Exception as e:  # torch raises whatever its unpickler meets
            raise WeightsError(f"{path} cannot be gone on from ({type(e).__name__}: {e}); use another folder") from e


def start_network(imagenet: Path, first: Path | None = None) -> PeopleNet:
    """A new detector: trunk from the published EfficientNet-Lite0 file, or all of it from a trained detector.

    Raises WeightsError or AssetError naming the file that does not fit.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        network = PeopleNet()
    whole: Any = load_timm().create_model(TRUNK, pretrained=False)
    load_efficientnet_lite(network.trunk, imagenet, like=whole.state_dict())
    if first is not None:
        load_people(network, first)
    return network


def train_people(learner: Learner, folder: Path, *, clock: Callable[[], float] = time.monotonic) -> Iterator[Progress]:
    """Learn to the end of the schedule, saving into the folder; a run that stopped there goes on."""
    folder.mkdir(parents=True, exist_ok=True)
    learner.resume(folder)
    began = clock()
    while learner.step < learner.schedule.steps:
        heat, sides = learner.advance()
        if learner.step % learner.schedule.save_every == 0 or learner.step == learner.schedule.steps:
            learner.save(folder)
        yield Progress(learner.step, heat, sides, clock() - began)
