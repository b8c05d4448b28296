"""One training run, from settings to a folder with weights."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from openexpose.data.sample import skip_report
from openexpose.train.average import Average
from openexpose.train.batches import Turns, endless
from openexpose.train.build import Sources, build_learner, build_sources, header_of, network_config
from openexpose.train.chance import set_torch_generators
from openexpose.train.checkpoint import complete
from openexpose.train.config import DataConfig, LossWeights, OptimiserConfig, Plan, TrainConfig, lr_at
from openexpose.train.fabric import Fabric, make_fabric
from openexpose.train.folder import RunFolder
from openexpose.train.graft import graft_onto
from openexpose.train.job import Job
from openexpose.train.learner import Learner, shorten_backbones
from openexpose.train.loop import fit
from openexpose.train.state import restore
from openexpose.train.watch import Watch


def train(config: TrainConfig, out: Path, *, console: Console | None = None) -> RunFolder:
    """Train to the end, or go on where a run in this folder stopped; the folder has all results.

    console: where to show progress; None for silence.
    Raises ConfigError, AssetError or DataError before the first step, TrainingStopped later.
    """
    fabric = make_fabric(config)
    fabric.launch()
    folder = RunFolder(out, tensorboard=config.tensorboard)
    job = prepare(config, folder, fabric)
    first = job.is_first
    if first:
        folder.begin(settings(config), step=job.step, defaults=default_settings(config))
    fabric.barrier()
    with _progress(console if first else None) as progress:
        bar = progress.add_task("", total=job.plan.steps, completed=job.step, note="")
        for numbers in fit(job):
            note = f"loss {numbers['loss']:.4g}   {numbers['samples_per_s']:.0f} samples/s"
            progress.update(bar, completed=job.step, note=note)
            if first and (job.step % config.log_every == 0 or job.step == job.plan.steps):
                folder.log("train", job.step, numbers)
    fabric.barrier()
    if first and console is not None and folder.skipped():
        console.print(skip_report(folder.skipped()), highlight=False, markup=False)
    folder.close()
    return folder


def prepare(config: TrainConfig, folder: RunFolder, fabric: Fabric) -> Job:
    """The job at its first step, or at the newest checkpoint of the folder."""
    set_torch_generators(config.seed)
    learner = build_learner(config)
    sources = build_sources(config, learner)
    plan = Plan.of(config, sources.train.samples_per_epoch, fabric.world_size)
    if config.graft is not None and not complete(folder.checkpoints):
        graft_onto(learner, config.graft, sources.train, config.batch_size)
    if config.precision == "bf16":
        shorten_backbones(learner, fabric.autocast)
    wrapped = fabric.setup_module(learner)
    optimiser = fabric.setup_optimizers(make_optimiser(config.optimiser, learner))
    assert not isinstance(optimiser, tuple)
    average = None if config.optimiser.average is None else Average(learner, config.optimiser.average)
    job = Job(
        config=config,
        plan=plan,
        fabric=fabric,
        learner=learner,
        wrapped=wrapped,
        optimiser=optimiser,
        batches=iter(()),
        exam=sources.evaluate,
        header=header_of(config, network_config(config)),
        folder=folder,
        watch=Watch(limit=config.diverge_limit),
        average=average,
    )
    restore(job)
    turns = Turns(config.batch_size, fabric.global_rank, fabric.world_size, job.step * config.accumulate)
    job.batches = endless(sources.train, turns, config.workers)
    return job


def make_optimiser(config: OptimiserConfig, learner: Learner) -> torch.optim.Optimizer:
    """Adam (or AdamW) over what learns; one for all networks is the same as one for each."""
    learning = [p for p in learner.parameters() if p.requires_grad]
    spared = [] if config.decay_biases else [p for p in learning if p.ndim < 2]
    groups: list[dict[str, Any]] = [{"params": [p for p in learning if config.decay_biases or p.ndim >= 2]}]
    if spared:
        groups.append({"params": spared, "weight_decay": 0.0})
    kind = torch.optim.AdamW if config.decoupled else torch.optim.Adam
    return kind(groups, lr=config.lr, weight_decay=config.weight_decay)


def settings(config: TrainConfig) -> dict[str, Any]:
    """All settings as plain values, the networks' sizes among them."""
    return asdict(config) | {"networks": asdict(network_config(config))}


def default_settings(config: TrainConfig) -> dict[str, Any]:
    """What every setting without a value would be."""
    data, losses = DataConfig(kind="toy"), LossWeights()
    return asdict(TrainConfig(config.preset, config.network, config.stage, data, losses))


@dataclass(frozen=True)
class Outlook:
    """What a run would do."""

    plan: Plan
    parameters: dict[str, int]
    """How many numbers each network has."""
    learning: int
    """How many of them learn."""
    lr_changes: tuple[tuple[int, float], ...]
    """(step, step size): the start and every tenth of the run."""
    checkpoints: int
    """Checkpoints already in the folder."""
    sources: Sources


def look_ahead(config: TrainConfig, out: Path) -> Outlook:
    """Everything short of training: networks built, data found, schedule counted. Raises as `train` does."""
    learner = build_learner(config)
    sources = build_sources(config, learner)
    plan = Plan.of(config, sources.train.samples_per_epoch, config.devices * config.nodes)
    count = {name: sum(p.numel() for p in part.parameters()) for name, part in learner.network.named_children()}
    tenths = sorted({round(plan.steps * i / 10) for i in range(10)})
    return Outlook(
        plan=plan,
        parameters=count,
        learning=sum(p.numel() for p in learner.parameters() if p.requires_grad),
        lr_changes=tuple((step, lr_at(step, config.optimiser, plan)) for step in tenths),
        checkpoints=len(complete(RunFolder(out, tensorboard=False).checkpoints)),
        sources=sources,
    )


def _progress(console: Console | None) -> Progress:
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console or Console(quiet=True), disable=console is None, transient=False)
