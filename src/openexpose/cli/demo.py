"""`openexpose demo`: the first page a stranger sees."""

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from openexpose.body import load_model
from openexpose.body.free import load_facial_actions
from openexpose.errors import ConfigError
from openexpose.export.showcase import steps, write_showcase


@dataclass(frozen=True)
class Demo:
    """Make a first page: people of the free body model in pictures, GLB and HTML."""

    out: Path = Path("openexpose_demo")
    """Folder for index.html, the pictures and one GLB a person; made if it is not there."""
    size: int = 720
    """Height of the pictures of people, in pixels."""

    def __post_init__(self) -> None:
        if not 64 <= self.size <= 4096:
            raise ConfigError(f"size={self.size}: between 64 and 4096 pixels")


def run(config: Demo) -> int:
    """Write the page and say where it is."""
    console = Console()
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("starting", total=steps())

        def step(what: str) -> None:
            progress.update(task, advance=1, description=what)

        body, head = load_model("free"), load_model("free-head")
        page = write_showcase(body, head, load_facial_actions(), config.out, size_px=config.size, step=step)
    console.print(f"Open [bold]{page}[/] in a browser. Beside it: people.png, hands.png, faces.png and the GLB files.")
    return 0
