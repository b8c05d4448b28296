"""`openexpose eval 3dpw|stirling|freihand|ehf|all|diff`: the published tables, and whether two results differ."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console
from rich.markup import escape

from openexpose.assets.find import data_root
from openexpose.cli.evaluate_screen import progress, show
from openexpose.errors import AssetError, ConfigError, DataError, OpenExposeError, WeightsError
from openexpose.evaluate import compare
from openexpose.evaluate.cast import TrainedOn, Transfer
from openexpose.evaluate.gallery import CASES
from openexpose.evaluate.pw3d import Truth
from openexpose.evaluate.ranks import Accelerator, Ranks, launch
from openexpose.evaluate.report import table
from openexpose.evaluate.results import write_results
from openexpose.evaluate.run import BENCHES, Name, Result, Setup, predict, prepare, score
from openexpose.evaluate.score import Protocol
from openexpose.evaluate.sitters import BOX_SCALE
from openexpose.evaluate.truths import Quality
from openexpose.nets.params import Part


@dataclass(frozen=True)
class Common:
    """Options that all benchmarks share."""

    weights: Path | None = None
    """Weight file, as `openexpose weights import` or `openexpose train` writes it."""
    data: Path | None = None
    """Root of the data tree; default OPENEXPOSE_DATA, else ./data."""
    protocol: Literal["mmhuman3d", "paper", "both"] = "mmhuman3d"
    """mmhuman3d: the figures of its README. paper: those of the paper (TR-V2V, PA-V2V by part, P2S, F-scores...)."""
    out: Path | None = None
    """Folder for results.json, CSV, plots and pages; default runs/eval_NAME. A run that stopped goes on there."""
    trained_on: TrainedOn = "auto"
    """Body models the weights were trained for: free (FreeBody...), licensed (SMPL-X...), auto: as their file says."""
    transfer: Transfer = "none"
    """pose: score only the rotations of weights for FreeBody, on the benchmark's body model in its mean shape."""
    box_scale: float = BOX_SCALE
    """Side of the crop over the longer side of the stored box."""
    n: int | None = None
    """Only the first so many rows, for a quick look."""
    batch: int = 16
    """Rows that go through the network together."""
    fast: bool = True
    """Fold the networks for inference (the same parameters to 1e-4)."""
    gallery: int = CASES
    """How many of the worst and of the median samples are drawn; 0 for none."""
    accelerator: Accelerator = "auto"
    """Where the network runs."""
    devices: int = 1
    """Processes that share the rows; the figures are exactly those of one."""


@dataclass(frozen=True)
class OfStore(Common):
    """Options of one benchmark."""

    store: Path | None = None
    """Another HumanData file than that of the tree."""
    photos: Path | None = None
    """Another folder of photos than that of the tree."""


@dataclass(frozen=True)
class Pw3d(OfStore):
    """3DPW: MPJPE and PA-MPJPE of 14 joints, by the body network."""

    truth: Truth = "gendered"
    """SMPL of each person's gender, or the neutral one: a quirk of the reference."""


@dataclass(frozen=True)
class Stirling(OfStore):
    """Stirling/ESRC: distance of face scans from predicted heads ("3DRMSE", a mean), by the head network."""

    quality: Quality = "HQ"
    """Sharp or blurred photos."""


@dataclass(frozen=True)
class FreiHand(OfStore):
    """FreiHAND: PA-MPJPE and PA-PVE of right hands, by the hand network."""


@dataclass(frozen=True)
class Ehf(OfStore):
    """EHF: whole body, hands and face against SMPL-X meshes, by the whole model."""


@dataclass(frozen=True)
class All(Common):
    """All four benchmarks, one results page. What lacks its files is named, and the exit status is then 1."""

    body_weights: Path | None = None
    """Body network for 3DPW, where it is not that of --weights."""
    hand_weights: Path | None = None
    """Hand network for FreiHAND."""
    head_weights: Path | None = None
    """Head network for Stirling/ESRC."""
    truth: Truth = "gendered"
    """3DPW: SMPL of each person's gender, or the neutral one: a quirk of the reference."""
    qualities: tuple[Quality, ...] = ("HQ",)
    """Stirling/ESRC: sharp photos, blurred photos, or both."""


@dataclass(frozen=True)
class Diff:
    """Do two results differ by more than chance? Paired bootstrap over the samples both have."""

    a: tyro.conf.Positional[Path]
    """A results.json, or its folder, with its CSV files beside it."""
    b: tyro.conf.Positional[Path]
    """Another."""
    level: float = 0.95
    """Of the confidence interval."""
    resamples: Annotated[int, tyro.conf.arg(aliases=["-r"])] = 2000
    """How often the samples are drawn again."""
    seed: int = 0
    """Of the drawing."""


def run(config: Pw3d | Stirling | FreiHand | Ehf | All | Diff) -> int:
    """Evaluate or compare. 0 when every benchmark asked for was scored, whatever the figures are."""
    if isinstance(config, Diff):
        found = compare.compare(config.a, config.b, level=config.level, resamples=config.resamples, seed=config.seed)
        show(compare.table(found, level=config.level))
        return 0
    if config.gallery < 0:
        raise ConfigError(f"--gallery {config.gallery}: 0 or more")
    if isinstance(config, All):
        return _all(config)
    names: dict[type, Name] = {Pw3d: "3dpw", Stirling: "stirling", FreiHand: "freihand", Ehf: "ehf"}
    name = names[type(config)]
    out = config.out or Path("runs") / f"eval_{name}"
    here = launch(config.accelerator, config.devices)
    truth: Truth = config.truth if isinstance(config, Pw3d) else "gendered"
    quality: Quality = config.quality if isinstance(config, Stirling) else "HQ"
    setup = _setup(config, _given(config.weights), out, here, truth, quality, config.store, config.photos)
    result = _one(name, setup, here)
    return 0 if result is None else _finish(out, [result], {}, config.gallery)


def _all(config: All) -> int:
    out = config.out or Path("runs") / "eval_all"
    here = launch(config.accelerator, config.devices)
    own: dict[Part, Path | None] = {
        "body": config.body_weights,
        "hand": config.hand_weights,
        "head": config.head_weights,
    }
    results: list[Result] = []
    not_run: dict[str, str] = {}
    wanted: list[tuple[Name, Quality]] = [
        (name, q) for name in BENCHES for q in (config.qualities if name == "stirling" else ("HQ",))
    ]
    for name, quality in wanted:
        bench = BENCHES[name]
        weights = (None if bench.whole else own[bench.part]) or config.weights
        try:
            if weights is None:
                raise ConfigError("no weights were given for it")
            result = _one(name, _setup(config, weights, out, here, config.truth, quality), here)
        except (AssetError, ConfigError, DataError, WeightsError) as e:
            not_run[name if quality == "HQ" else f"{name} {quality}"] = str(e)
            continue
        results += [] if result is None else [result]
    if here.rank > 0:
        return 0
    if not results:
        raise DataError("no benchmark could be run:\n" + "\n".join(f"{k}: {v}" for k, v in not_run.items()))
    status = _finish(out, results, not_run, config.gallery)
    for which, why in not_run.items():
        _complain(f"{which} not run", why)
    return 1 if not_run else status


def _one(name: Name, setup: Setup, here: Ranks) -> Result | None:
    """The result, or None in processes other than the first."""
    prepared = prepare(name, setup)
    try:
        with progress(name, len(prepared.people) if here.ranks == 1 else None) as tell:
            predict(prepared, done=tell)
    except OpenExposeError as e:
        if here.rank > 0:
            _complain(f"{name}, process {here.rank}", str(e))
        here.wait()  # the others come here too, and would wait for ever
        raise
    here.wait()
    return score(prepared) if here.rank == 0 else None


def _setup(
    config: Common,
    weights: Path,
    out: Path,
    here: Ranks,
    truth: Truth = "gendered",
    quality: Quality = "HQ",
    store: Path | None = None,
    photos: Path | None = None,
) -> Setup:
    protocols: tuple[Protocol, ...] = ("mmhuman3d", "paper") if config.protocol == "both" else (config.protocol,)
    return Setup(
        weights=weights,
        tree=data_root() if config.data is None else config.data,
        out=out,
        protocols=protocols,
        store=store,
        photos=photos,
        trained_on=config.trained_on,
        transfer=config.transfer,
        truth=truth,
        quality=quality,
        box_scale=config.box_scale,
        first=config.n,
        batch=config.batch,
        fast=config.fast,
        device=here.device,
        rank=here.rank,
        ranks=here.ranks,
    )


def _complain(about: str, why: str) -> None:
    Console(stderr=True, soft_wrap=True, highlight=False).print(f"[bold red]{about}:[/] {escape(why)}")


def _given(weights: Path | None) -> Path:
    if weights is None:
        raise ConfigError(
            "--weights FILE is needed: `openexpose weights import` makes one of a released checkpoint; "
            "`openexpose eval synth` scores the weights that ship"
        )
    return weights


def _finish(out: Path, results: Sequence[Result], not_run: dict[str, str], cases: int) -> int:
    for result in results:
        for outcome in result.outcomes:
            show(table(outcome))
    path = write_results(out, results, command=["openexpose", *sys.argv[1:]], not_run=not_run, cases=cases)
    Console(soft_wrap=True, highlight=False).print(escape(f"wrote {path}, results.html, CSV files and plots beside it"))
    return 0
