"""`openexpose train-lifter`: from 2D points to bodies, hands or heads, without a photo."""

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from openexpose.train.lift import LiftConfig, LiftRun


@dataclass(frozen=True)
class TrainLifter(LiftConfig):
    """Train the network that corrects a part's first guess by its 2D points. Goes on where it stopped."""

    out: Path = Path("runs/lifter")
    """Folder of the run; `openexpose train lite_body --lifter` (`lite_hand`, `lite_head`) takes its state.pt."""


def run(config: TrainLifter) -> int:
    """Train to the end and say how it went."""
    console = Console(highlight=False, soft_wrap=True)
    fields = {name: getattr(config, name) for name in LiftConfig.__dataclass_fields__}
    job, note = LiftRun(LiftConfig(**fields), config.out), ""
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("lifter", total=config.steps, completed=job.step)
        for numbers in job:
            note = ", ".join(f"{k} {v:.3g}" for k, v in numbers.items())
            progress.update(task, completed=job.step, description=f"lifter: {note}")
    console.print(f"step {job.step} of {config.steps}: {note}")
    console.print(f"wrote {config.out / 'state.pt'}")
    return 0
