"""`openexpose train-detector`: train the people detector that ships."""

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from rich.console import Console
from rich.progress import Progress

from openexpose.data.pack import PhotoPack
from openexpose.errors import ConfigError
from openexpose.synth.background import crops_without_people
from openexpose.synth.photo import Studio
from openexpose.synth.scene import SynthConfig
from openexpose.synth.sets import check_training_seed
from openexpose.train.detector import RESULT, Learner, PeopleSchedule, start_network, train_people
from openexpose.train.people_decks import PackDeck, SceneDeck, SingleDeck, render_scenes
from openexpose.train.people_pictures import Deck, PictureConfig, Pictures

KEPT_BODIES = 500
"""The last photos of the pack of bodies validate the detector, as they do the networks."""
SCENES_A_FILE = 100
SCENE_PX = 320


@dataclass(frozen=True)
class TrainDetector:
    """Train the people detector on packs of real photos and rendered scenes. A stopped run goes on."""

    out: Path
    """Folder of the run; people.safetensors in it is the detector."""
    bodies: Path
    """Pack of real people with marked joints; its last 500 photos are left for validation."""
    imagenet: Path
    """File of the published EfficientNet-Lite0 weights."""
    more_bodies: tuple[Path, ...] = ()
    """Further packs of bodies."""
    faces: tuple[Path, ...] = ()
    """Packs of faces: people who fill the photo."""
    singles: tuple[Path, ...] = ()
    """labels.npz of `openexpose synth make`: one labelled person a photo."""
    scenes: int = 100
    """Scenes to render in which everybody is labelled, in hundreds; kept in OUT/scenes."""
    scene_seed: int = 77
    backgrounds: int = 900
    """How many photos of the first pack lend their edges as photos without people."""
    first: Path | None = None
    """A trained detector to start from."""
    pictures: PictureConfig = field(default_factory=PictureConfig)
    schedule: PeopleSchedule = field(default_factory=PeopleSchedule)
    threads: int = 0
    """Threads of torch; 0 takes one for each core."""


def run(config: TrainDetector) -> int:
    """Render what is missing, train, and say where the detector is. Raises ConfigError for settings that cannot be."""
    torch.set_num_threads(config.threads or os.cpu_count() or 1)
    console = Console(stderr=True)
    with Progress(console=console, transient=True) as progress:
        learner = _learner(config, progress)
        task = progress.add_task("steps", total=config.schedule.steps)
        for done in train_people(learner, config.out):
            text = f"heat {done.heat:.2f} sides {done.sides:.2f}"
            progress.update(task, completed=done.step, description=text)
    Console(highlight=False).print(f"wrote {config.out / RESULT}", soft_wrap=True)
    return 0


def _learner(c: TrainDetector, progress: Progress) -> Learner:
    if c.scenes < 1:
        raise ConfigError(f"--scenes {c.scenes}: at least 1, the detector learns crowds from them")
    pack = PhotoPack.open(c.bodies, last=-KEPT_BODIES)
    empties = crops_without_people(PhotoPack.open(c.bodies, last=min(c.backgrounds, len(pack))))
    bodies, scenes = PackDeck(pack), SceneDeck(_scenes(c, empties, progress))
    decks: list[tuple[Deck, float]] = [(bodies, 0.52), (scenes, 0.2)]
    for packs, share in ((c.more_bodies, 0.06), (c.faces, 0.04)):
        decks += [(PackDeck(PhotoPack.open(p)), share / len(packs)) for p in packs]
    decks += [(SingleDeck(p), 0.18 / len(c.singles)) for p in c.singles]
    return Learner(start_network(c.imagenet, c.first), Pictures(decks, empties, c.pictures), c.schedule)


def _scenes(c: TrainDetector, empties: UInt8[np.ndarray, "C S S 3"], progress: Progress) -> list[Path]:
    check_training_seed(c.scene_seed)
    cfg = SynthConfig(
        size_px=SCENE_PX, whole=0.6, upper=0.25, head=0.15, hand=0, supersample=1, crowd=0.65, bank_share=0.7
    )
    files = [c.out / "scenes" / f"{first:06d}.npz" for first in range(0, c.scenes, SCENES_A_FILE)]
    task = progress.add_task("scenes", total=len(files))
    studio: Studio | None = None
    for k, file in enumerate(files):
        if not file.exists():
            studio = Studio(cfg, backgrounds=empties) if studio is None else studio
            first = k * SCENES_A_FILE
            render_scenes(studio, c.scene_seed, first, min(SCENES_A_FILE, c.scenes - first), file)
        progress.update(task, completed=k + 1)
    return files
