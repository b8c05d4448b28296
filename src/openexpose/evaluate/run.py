"""One benchmark from files to figures: find what it needs, ask the network about every row, score."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import UInt8

from openexpose.assets.find import entry_of, locate
from openexpose.errors import AssetError, ConfigError
from openexpose.evaluate import pw3d
from openexpose.evaluate.answers import FOLDER, Answers, answer, read_answers
from openexpose.evaluate.cast import Cast, TrainedOn, Transfer, load_cast
from openexpose.evaluate.drawing import two_panels
from openexpose.evaluate.score import Outcome, Protocol
from openexpose.evaluate.sitters import BOX_SCALE, Sitters
from openexpose.evaluate.truths import Ehf, FreiHand, Pw3d, Quality, Stirling, Truth
from openexpose.nets.params import Part
from openexpose.prediction import weak_to_photo_px
from openexpose.readers import sha256_of

Name = Literal["3dpw", "stirling", "freihand", "ehf"]


@dataclass(frozen=True)
class Bench:
    """Where a benchmark lies in the data tree, and who is tested."""

    name: Name
    part: Part
    whole: bool
    store: str
    photos: str
    body_model: str
    """What the answers of licensed weights drive."""
    figure: str
    """By which galleries are sorted, where the protocol has it; else by its first figure."""

    @property
    def command(self) -> str:
        """As `openexpose doctor --for` knows it."""
        return f"eval {self.name}"


BENCHES: dict[Name, Bench] = {
    b.name: b
    for b in (
        Bench("3dpw", "body", False, "pw3d_test.npz", "3DPW", "smplx/SMPLX_NEUTRAL.pkl", "PA-MPJPE"),
        Bench("stirling", "head", False, "stirling_ESRC3D_HQ.npz", "stirling", "flame/FLAME_NEUTRAL.pkl", "3DRMSE"),
        Bench("freihand", "hand", False, "freihand_test.npz", "FreiHand", "mano/MANO_RIGHT.pkl", "PA-MPJPE"),
        Bench("ehf", "body", True, "ehf_val.npz", "EHF", "smplx/SMPLX_NEUTRAL.pkl", "PA-PVE"),
    )
}


@dataclass(frozen=True)
class Setup:
    """Choices of one run. Those that move numbers are said in the outcome."""

    weights: Path
    tree: Path
    """Root of the data tree."""
    out: Path
    protocols: Sequence[Protocol] = ("mmhuman3d",)
    store: Path | None = None
    """Another HumanData file than the tree's."""
    photos: Path | None = None
    """Another folder of photos than the tree's."""
    trained_on: TrainedOn = "auto"
    transfer: Transfer = "none"
    truth: pw3d.Truth = "gendered"
    quality: Quality = "HQ"
    box_scale: float = BOX_SCALE
    first: int | None = None
    batch: int = 16
    fast: bool = True
    device: str = "cpu"
    rank: int = 0
    ranks: int = 1


@dataclass(frozen=True, eq=False)
class Result:
    """One benchmark, scored under each protocol."""

    outcomes: tuple[Outcome, ...]
    names: tuple[str, ...]
    """Of the samples."""
    files: tuple[Path, ...]
    """Everything that the numbers depend on: weights, HumanData file, body models."""
    draw: Callable[[int], UInt8[np.ndarray, "_ _ 3"]] = field(repr=False)
    """Row -> its photo with the prediction."""
    figure: str


@dataclass(frozen=True, eq=False)
class Prepared:
    """A benchmark with all its files found and read: only the network has to answer yet."""

    bench: Bench
    setup: Setup
    people: Sitters
    truth: Truth
    cast: Cast
    files: tuple[Path, ...]
    made_of: dict[str, object]

    @property
    def folder(self) -> Path:
        """Where the pieces of answers are."""
        return self.setup.out / FOLDER / self.people.data.path.stem


def prepare(name: Name, setup: Setup) -> Prepared:
    """Find and read everything. Raises AssetError naming all files that are missing, DataError, WeightsError,
    ConfigError if the weights predict another body model than the benchmark measures.
    """
    bench = BENCHES[name]
    if setup.batch < 1:
        raise ConfigError(f"batch={setup.batch} must be positive")
    store, photos, models = _locate(bench, setup)
    people = Sitters.open(store, photos, box_scale=setup.box_scale, first=setup.first, command=bench.command)
    cast = load_cast(
        setup.weights,
        name,
        bench.part,
        whole=bench.whole,
        body_model=models.get(bench.body_model),
        trained_on=setup.trained_on,
        transfer=setup.transfer,
        fast=setup.fast,
        device=torch.device(setup.device),
    )
    truth = _truth(bench, setup, people, models)
    unused = _answers_need_none(bench, setup) if cast.file is None else ()
    used = [p for n, p in models.items() if n not in unused]
    files = tuple(dict.fromkeys([setup.weights, store, *truth.files, *used]))
    hashes = {p: sha256_of(p) for p in (setup.weights, store)}
    made_of: dict[str, object] = {
        "weights": hashes[setup.weights],
        "store": hashes[store],
        "photos": str(photos.resolve()),
        "rows": len(people),
        "network": f"{bench.part} {'whole' if bench.whole else 'alone'}",
        "body model": cast.model.sha256 if bench.whole else "",
        "box_scale": setup.box_scale,
        "fast": setup.fast,
        "device": torch.device(setup.device).type,
    }
    return Prepared(bench, setup, people, truth, cast, files, made_of)


def predict(p: Prepared, *, done: Callable[[int], object] = int) -> None:
    """Let the network answer this rank's share of the rows; what an earlier run left is kept."""
    s = p.setup
    answer(
        p.people,
        p.cast.answerer,
        p.folder,
        made_of=p.made_of,
        batch=s.batch,
        rank=s.rank,
        ranks=s.ranks,
        done=done,
    )


def score(p: Prepared) -> Result:
    """The figures of all answers. Raises DataError if some are not there yet."""
    crop_px = p.cast.answerer.crop_px
    answers = read_answers(p.people, p.cast.part, p.folder, made_of=p.made_of, batch=p.setup.batch, crop_px=crop_px)
    said = (*p.people.said(), *p.cast.said)
    outcomes = []
    for protocol in p.setup.protocols:
        with torch.inference_mode():
            outcome = p.truth.outcome(partial(p.cast.posed, answers), protocol)
        outcomes.append(replace(outcome, said=(*outcome.said, *said)))
    return Result(tuple(outcomes), p.people.names, p.files, partial(_draw, p, answers), p.bench.figure)


def _truth(bench: Bench, setup: Setup, people: Sitters, models: dict[str, Path]) -> Truth:
    if bench.name == "3dpw":
        smpl = {g: models[_smpl(g)] for g in _genders(setup.truth)}
        return Pw3d.read(people, smpl, truth=setup.truth)
    if bench.name == "freihand":
        return FreiHand.read(people, models[bench.body_model])
    if bench.name == "ehf":
        return Ehf.read(people, models[bench.body_model])
    return Stirling(people, setup.quality)


def _genders(truth: pw3d.Truth) -> tuple[str, ...]:
    return ("male", "female") if truth == "gendered" else ("neutral",)


def _smpl(gender: str) -> str:
    return f"smpl/SMPL_{gender.upper()}.pkl"


def _locate(bench: Bench, setup: Setup) -> tuple[Path, Path, dict[str, Path]]:
    """HumanData file, folder of photos, and body models; all that is missing is said at once."""
    needs = [bench.body_model]
    if bench.name == "3dpw":
        needs += [*(_smpl(g) for g in _genders(setup.truth)), "J_regressor_h36m.npy", "SMPLX_to_J14.npy"]
    if bench.name == "ehf":
        needs += ["MANO_SMPLX_vertex_ids.pkl", "SMPL-X__FLAME_vertex_ids.npy"]
        needs += ["SMPLX_to_J14.npy"] if "paper" in setup.protocols else []
    if bench.name == "stirling":
        needs += ["flame_static_embedding.npy", "flame_dynamic_embedding.npy"]
    optional = _answers_need_none(bench, setup)
    found, missing = dict[str, Path](), list[str]()
    for name in needs:
        entry = entry_of(name)
        at = locate(entry, setup.tree, first=name)
        if at is not None:
            found[name] = at
        elif name not in optional:
            missing.append(f"body_models: {entry.path} ({entry.what}), from {entry.source.title}, {entry.source.url}")
    store = setup.store or setup.tree / "preprocessed_datasets" / _store(bench, setup)
    photos = setup.photos or setup.tree / "datasets" / bench.photos
    if not store.is_file():
        missing.append(f"{store}: `openexpose data convert {_converter(bench)}` makes it of the raw data set")
    if not photos.is_dir():
        missing.append(f"{photos}: the folder of the photos (--photos names another)")
    if missing:
        lines = "\n".join(f"  {m}" for m in missing)
        raise AssetError(
            f"openexpose {bench.command} lacks {len(missing)} of its files under {setup.tree}:\n{lines}\n"
            f'`openexpose doctor --for "{bench.command}"` shows what was found; --data names another tree'
        )
    return store, photos, found


def _answers_need_none(bench: Bench, setup: Setup) -> tuple[str, ...]:
    """Files that only answers of licensed weights need, where the weights may be others."""
    if setup.trained_on == "licensed":
        return ()
    if bench.name == "3dpw":
        return (bench.body_model, "SMPLX_to_J14.npy")
    if bench.name == "stirling":
        return (bench.body_model, "flame_static_embedding.npy", "flame_dynamic_embedding.npy")
    return ()


def _store(bench: Bench, setup: Setup) -> str:
    return bench.store.replace("_HQ", f"_{setup.quality}") if bench.name == "stirling" else bench.store


def _converter(bench: Bench) -> str:
    return {"3dpw": "pw3d"}.get(bench.name, bench.name)


def _draw(p: Prepared, answers: Answers, row: int) -> UInt8[np.ndarray, "_ _ 3"]:
    crop = p.people.crop(row, answers.crop_px)
    camera = answers.camera[row].double().numpy()
    with torch.inference_mode():
        posed = p.cast.posed(answers, slice(row, row + 1))
        points = p.truth.points_m(posed)[0].double().numpy()
        vertices = posed.skin().vertices_m[0].double().numpy()
    true_px, pred_px = p.truth.true_px(row), weak_to_photo_px(points, camera, crop)
    faces = p.cast.model.faces.numpy()
    return two_panels(p.people.photo(row), crop, vertices, faces, camera, true_px=true_px, pred_px=pred_px)
