"""`openexpose predict`: photos in, people out."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import tyro
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from openexpose.detect import Detection, Detector
from openexpose.detect.given import BoxFormat, GivenPeople, read_boxes, read_keypoints
from openexpose.detect.torchvision_rcnn import KeypointRcnn
from openexpose.detect.whole import WholePhoto
from openexpose.errors import ConfigError
from openexpose.export.people import MeshFormat, Outputs, PeopleWriter
from openexpose.export.photo_index import write_index
from openexpose.export.rigs import Rig
from openexpose.predict.job import JobConfig, Report
from openexpose.predict.job import run as run_job
from openexpose.predict.listing import Listed, list_all
from openexpose.predict.predictor import Predictor, load_detector

SHOWN_SKIPPED = 20
"""Skipped photos that the summary lists one by one."""


@dataclass(frozen=True)
class Predict:
    """Fit a body with hands and face to every person in photos; a folder of results for each photo."""

    photos: tyro.conf.Positional[tuple[str, ...]]
    """Photos, folders, globs, image lists (.txt, one path a line), or - for a list on standard input."""
    out: Path = Path("openexpose_out")
    """Folder to write into: a folder for each photo with result.json and result.npz (docs/result.md)."""
    weights: Path | None = None
    """Weight file, of `openexpose train` or `openexpose weights import`; default: those that ship."""
    body_model: str = "free"
    """Body model of the weights: "free" or a SMPL-X file."""
    detector: Literal["builtin", "torchvision", "whole"] = "builtin"
    """Who finds people: the network that ships, torchvision's Keypoint R-CNN, or nobody: the whole photo is one."""
    detector_weights: Path | None = None
    """Weight file of torchvision's Keypoint R-CNN."""
    download: bool = False
    """Allow Keypoint R-CNN's weights to be fetched from PyTorch's server (237 MB)."""
    min_score: float | None = None
    """People whom the detector is less sure of are left out, 0 to 1; default: the detector's own."""
    boxes: Path | None = None
    """People from a file instead (JSON or CSV)."""
    box_format: BoxFormat = "xyxy"
    """What the four numbers of a box are: two corners, or a corner and width and height."""
    keypoints: Path | None = None
    """People from keypoints instead: COCO or COCO-WholeBody JSON, or OpenPose's folder."""
    mesh: tuple[MeshFormat, ...] = ("glb",)
    """Meshes, one a person: obj, ply, glb (skinned, with expressions); none with an empty --mesh."""
    rig: Rig = "smplx"
    """Names of the bones in .glb files."""
    amass: bool = True
    """Write an .npz a person for tools that read AMASS sequences."""
    pictures: bool = True
    """Draw overlay, side and top view, and what each network saw; without them there is no page."""
    page: bool = True
    """Write index.html for each photo (overlay, 3D view, table, files), and one over all of them."""
    focal: float | None = None
    """Focal length of all photos in pixels; default: EXIF's, else the photo's diagonal."""
    batch: int = 16
    """Persons that go through the networks together."""
    resume: bool = False
    """Skip photos that are complete already, with the same settings."""
    recursive: bool = False
    """Look into the subfolders of folders too."""
    max_megapixels: float = 100.0
    """Larger photos are skipped: a small file may be a bomb. Raise it if you trust them."""

    def __post_init__(self) -> None:
        """Raises ConfigError for settings out of range or against each other."""
        if not self.photos:
            raise ConfigError("no photos given: openexpose predict photo.jpg --out folder")
        if self.boxes is not None and self.keypoints is not None:
            raise ConfigError("--boxes and --keypoints both say who is there: give one of them")
        if self.focal is not None and not 0 < self.focal < float("inf"):
            raise ConfigError(f"--focal {self.focal}: a positive number of pixels")
        if self.batch < 1 or not self.max_megapixels > 0:
            raise ConfigError("--batch is at least 1, --max-megapixels positive")
        if self.min_score is not None and not (0 < self.min_score < 1 and self.detector != "whole"):
            raise ConfigError(f"--min-score {self.min_score}: between 0 and 1, and not with --detector whole")


def run(config: Predict) -> int:
    """Predict; the exit status is 1 if a photo was skipped. Raises the package's errors for anything else."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    photos = list_all(config.photos, stdin=sys.stdin, recursive=config.recursive, skip=config.out)
    given = _given(config)
    people = None if given is None else given.names_of([p.path for p in photos])
    predictor = Predictor.load(config.weights, config.body_model, detector=_detector(config, given))
    writer = PeopleWriter(predictor.body_model, _outputs(config))
    report = _with_progress(console, predictor, photos, _job(config, predictor, given), people, writer)
    if config.page and config.pictures:
        write_index(config.out, [p.name for p in photos], skipped=[(str(p), why) for p, why in report.skipped])
    _summary(console, config.out, report, len(photos))
    return 1 if report.skipped else 0


def _given(config: Predict) -> GivenPeople | None:
    if config.boxes is not None:
        return read_boxes(config.boxes, box_format=config.box_format)
    return None if config.keypoints is None else read_keypoints(config.keypoints)


def _detector(config: Predict, given: GivenPeople | None) -> Detector:
    if given is not None:
        return WholePhoto()  # never asked
    if config.detector == "torchvision":
        least = 0.5 if config.min_score is None else config.min_score
        return KeypointRcnn.load(config.detector_weights, download=config.download, min_score=least)
    return load_detector(config.detector, min_score=config.min_score)


def _outputs(config: Predict) -> Outputs:
    return Outputs(config.mesh, config.rig, config.amass, config.pictures, config.page and config.pictures)


def _job(config: Predict, predictor: Predictor, given: GivenPeople | None) -> JobConfig:
    settings: dict[str, Any] = {
        "weights_sha256": predictor.info.weights_sha256,
        "body_sha256": predictor.info.body_sha256,
        "people": predictor.detector.label if given is None else given.sha256,
        "min_score": config.min_score,
        "focal_px": config.focal,
        "outputs": asdict(_outputs(config)),
    }
    return JobConfig(
        out=config.out,
        batch=config.batch,
        focal_px=config.focal,
        max_pixels=int(config.max_megapixels * 1e6),
        resume=config.resume,
        settings=settings,
    )


def _with_progress(
    console: Console,
    predictor: Predictor,
    photos: Sequence[Listed],
    job: JobConfig,
    people: Mapping[Path, Sequence[Detection] | None] | None,
    extras: PeopleWriter,
) -> Report:
    columns = (TextColumn("photos"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"))
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress:
        task = progress.add_task("", total=len(photos), rate="")

        def step(report: Report) -> None:
            _advance(progress, task, report)

        return run_job(predictor, photos, job, people=people, extras=extras, step=step)


def _advance(progress: Progress, task: TaskID, report: Report) -> None:
    seconds = progress.tasks[task].elapsed or 0.0
    rate = f"{report.done / seconds:.1f} photos/s" if seconds > 0 and report.done else ""
    if report.skipped:
        rate += f" · {len(report.skipped)} skipped"
    progress.update(task, completed=report.done + report.resumed + len(report.skipped), rate=rate)


def _summary(console: Console, out: Path, report: Report, total: int) -> None:
    console.print(f"{report.done} of {total} photos done, {report.people} people -> [bold]{escape(str(out))}[/]")
    if report.resumed:
        console.print(f"{report.resumed} were complete already")
    if report.empty:
        console.print(f"in {report.empty} nobody was found")
    if report.skipped:
        console.print(f"[bold red]{len(report.skipped)} skipped:[/]")
        for _, why in report.skipped[:SHOWN_SKIPPED]:
            console.print(f"  {escape(why)}")
        if len(report.skipped) > SHOWN_SKIPPED:
            console.print(f"  and {len(report.skipped) - SHOWN_SKIPPED} more")
