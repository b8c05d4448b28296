"""`openexpose train PRESET`: train networks."""

from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.table import Table

from openexpose.train.config import TrainConfig
from openexpose.train.presets import PRESETS
from openexpose.train.run import Outlook, look_ahead, train

Preset = tyro.extras.subcommand_type_from_defaults(
    {name: preset() for name, preset in PRESETS.items()},
    {name: str(preset.__doc__) for name, preset in PRESETS.items()},
    prefix_names=False,
)


@dataclass(frozen=True)
class Settings:
    """Train a preset. A run that stopped goes on when the same command is given again."""

    # mypy cannot follow a type that is made from the presets above
    config: Annotated[Preset, tyro.conf.arg(name="")]  # type: ignore[valid-type]
    """Preset, whose settings can all be changed: `openexpose train toy --help` lists them."""
    out: Path | None = None
    """Folder of the run; default runs/PRESET."""
    dry_run: bool = False
    """Show settings, data found and schedule, and stop."""


Train = tyro.conf.configure(tyro.conf.CascadeSubcommandArgs, tyro.conf.OmitSubcommandPrefixes)(Settings)


def run(settings: Settings) -> int:
    """Train, or with `--dry-run` say what would be done; 0 when it went well."""
    config: TrainConfig = settings.config
    out = settings.out or Path("runs") / config.preset
    console = Console()
    if settings.dry_run:
        _show(config, look_ahead(config, out), out, console)
        return 0
    folder = train(config, out, console=console)
    console.print(f"done: {folder.path} (report.html, best.safetensors)", highlight=False)
    return 0


def _show(config: TrainConfig, outlook: Outlook, out: Path, console: Console) -> None:
    table = Table(title=f"openexpose train {config.preset}", show_header=False, box=None, padding=(0, 2))
    for name, value in _flat(config):
        table.add_row(name, str(value))
    console.print(table)
    sizes = ", ".join(f"{name} {count / 1e6:.1f} M" for name, count in outlook.parameters.items())
    steps = " -> ".join(f"{lr:.3g} at {step}" for step, lr in outlook.lr_changes)
    held = outlook.sources.evaluate
    plan = outlook.plan
    for line in (
        f"networks   {sizes} parameters; {outlook.learning / 1e6:.1f} M of them learn",
        f"data       {outlook.sources.train.samples_per_epoch:,} samples an epoch; "
        + ("no evaluation" if held is None else f"evaluation on {held.samples_per_epoch:,}"),
        f"schedule   {plan.steps:,} steps of {plan.samples_per_step} samples, {plan.steps_per_epoch:,} an epoch",
        f"step size  {steps}",
        f"folder     {out}" + (f" (goes on from {outlook.checkpoints} checkpoints)" if outlook.checkpoints else ""),
    ):
        console.print(line, highlight=False, soft_wrap=True)


def _flat(config: Any, prefix: str = "") -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for field in fields(config):
        value = getattr(config, field.name)
        name = prefix + field.name
        rows += _flat(value, f"{name}.") if is_dataclass(value) else [(name, value)]
    return rows
