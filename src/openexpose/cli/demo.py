"""`openexpose demo`: the first page a stranger sees."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from openexpose.body import load_model
from openexpose.body.free import load_facial_actions
from openexpose.errors import ConfigError
from openexpose.export.links import Link, Links
from openexpose.export.page import BeforeAfter, Section
from openexpose.export.people import Outputs, PeopleWriter
from openexpose.export.people_pictures import Stage, overlay
from openexpose.export.picture import Picture
from openexpose.export.result import About, clear_old, write_result
from openexpose.export.showcase import steps, write_showcase
from openexpose.predict.predictor import SHIPPED_WEIGHTS, Predictor
from openexpose.predict.shot import Shot, read_shot
from openexpose.prediction import Prediction

PHOTOS = {"astronaut.jpg": "photo: NASA, public domain", "cameraman.png": "photo: CC0"}
"""In `openexpose/demo/`."""


@dataclass(frozen=True)
class Demo:
    """Make a first page: people in photos, and people of the free body model in pictures, GLB and HTML."""

    out: Path = Path("openexpose_demo")
    """Folder for index.html, the pictures and one GLB a person; made if it is not there."""
    size: int = 720
    """Height of the pictures of people, in pixels."""

    def __post_init__(self) -> None:
        if not 64 <= self.size <= 4096:
            raise ConfigError(f"size={self.size}: between 64 and 4096 pixels")


def run(config: Demo) -> int:
    """Write the page and say where it is."""
    console = Console(soft_wrap=True)
    predicts = SHIPPED_WEIGHTS.is_file()
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("starting", total=steps() + len(PHOTOS) * predicts)

        def step(what: str) -> None:
            progress.update(task, advance=1, description=what)

        sections = photo_sections(Predictor.load(), config.out / "photos", step) if predicts else []
        body, head = load_model("free"), load_model("free-head")
        page = write_showcase(
            body, head, load_facial_actions(), config.out, size_px=config.size, step=step, first=sections
        )
    console.print(f"Open [bold]{page}[/] in a browser. Beside it: people.png, hands.png, faces.png and the GLB files.")
    if predicts:
        console.print(f"The people in the {len(PHOTOS)} photos were found and fitted; see {config.out / 'photos'}.")
    else:
        console.print("This copy ships no weights, so no photos were fitted: `openexpose predict --weights FILE` does.")
    return 0


def photo_sections(predictor: Predictor, out: Path, step: Callable[[str], None]) -> list[Section]:
    """Predict the demo photos, write their results into folders below `out`, and show them: photo against overlay."""
    writer = PeopleWriter(predictor.body_model, Outputs(meshes=("glb",)))
    sections: list[Section] = []
    for name in PHOTOS:
        step(name)
        shot = read_shot(Path(__file__).parents[1] / "demo" / name)
        people = predictor.batch([shot])[0]
        folder = out / Path(name).stem
        clear_old(folder)
        detector = predictor.detector.label
        about = About(shot.name, shot.size_px, shot.camera, shot.focal_from, predictor.info, detector)
        files = [p.name for p in writer.write(folder, shot.rgb, people, about)]
        write_result(folder, people, about, files=files)
        sections.append(_section(shot, people))
    pages = [Link(f"{out.name}/{Path(name).stem}/index.html", "in 3D, with all files", name) for name in PHOTOS]
    return [*sections, Links("Pages of the photos", pages)]


def _section(shot: Shot, people: Sequence[Prediction]) -> Section:
    before = Picture.jpeg(shot.rgb, alt=f"The photo {shot.name}")
    count = {0: "nobody was found", 1: "1 person found"}.get(len(people), f"{len(people)} people found")
    drawn = overlay(Stage.of(people), shot.rgb) if people else shot.rgb
    after = Picture.jpeg(drawn, alt=f"The people found in {shot.name}", caption=f"{PHOTOS[shot.name]}; {count}")
    return BeforeAfter(Path(shot.name).stem.capitalize(), before, after)
