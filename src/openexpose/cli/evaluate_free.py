"""`openexpose eval synth`, `eval lsp`, `eval faces`: the benchmarks that need no licensed file."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from rich.console import Console

from openexpose.cli.evaluate_screen import progress, show
from openexpose.errors import ConfigError
from openexpose.evaluate import faces, lsp, synth
from openexpose.evaluate.gallery import Draw, gallery_page
from openexpose.evaluate.networks import CROP_SCALE, Networks
from openexpose.evaluate.report import Provenance, write_report
from openexpose.evaluate.score import Outcome
from openexpose.evaluate.synth_cache import RenderedSet, recipe_of, render
from openexpose.evaluate.variants import variants_table
from openexpose.predict.predictor import shipped_weights
from openexpose.synth.sets import TEST_SETS

SetName = Literal["synth-body", "synth-hand", "synth-head"]
_LEGEND = "green: truth, red: prediction"


@dataclass(frozen=True)
class Synth:
    """Score weights on the fixed synthetic test sets: bodies, right hands, heads; with and without attention."""

    data: Path = Path("runs/synth_sets")
    """Folder that the pictures are rendered into, once (0.5 to 1.3 s of processor time each); resumable."""
    weights: Path | None = None
    """Weight file; default: the one that ships. A file of one network is scored on that part alone."""
    n: int | None = None
    """Only the first so many people of each set."""
    sets: tuple[SetName, ...] = ()
    """Only these sets; default: all that the weights can be scored on."""
    out: Path = Path("runs/eval_synth")
    """Folder for results.json, CSV files, plots and galleries."""
    box_scale: float = CROP_SCALE
    """Side of a body crop over the longer side of the true box."""
    gallery: int = 12
    """How many of the worst and of the median people are drawn; 0 for none."""
    workers: int = 0
    """Rendering processes; 0 takes one for each core."""
    render_only: bool = False
    """Render what is missing, and stop."""


@dataclass(frozen=True)
class Lsp:
    """Score weights on real sports photos with 14 marked joints: PCK@0.2 of the torso."""

    data: Path
    """The pack (lspet_train.npz), of which the last 500 count, or a folder of LSP or LSPET: images/ and joints.mat."""
    weights: Path | None = None
    """Weight file; default: the one that ships."""
    n: int | None = None
    """Only the first so many people."""
    out: Path = Path("runs/eval_lsp")
    """Folder for results.json, CSV file, plots and galleries."""
    box_scale: float = CROP_SCALE
    """Side of the crop over the longer side of the person's box: the marked joints' times 1.2."""
    gallery: int = 12
    """How many of the worst and of the median people are drawn; 0 for none."""


@dataclass(frozen=True)
class Faces:
    """Score weights on 200 real faces with 68 marked points, of people whom training never sees."""

    data: Path
    """The pack: faces_train.npz."""
    weights: Path | None = None
    """Weight file; default: the one that ships."""
    out: Path = Path("runs/eval_faces")
    """Folder for results.json, CSV file, plots and galleries."""
    box_scale: float | None = None
    """Side of the crop over the longer side of the marked points' box; default: what attention would take."""
    gallery: int = 12
    """How many of the worst and of the median faces are drawn; 0 for none."""


def run(config: Synth | Lsp | Faces) -> int:
    """Evaluate; 0 when it went well, whatever the figures are."""
    if config.gallery < 0:
        raise ConfigError(f"--gallery {config.gallery}: 0 or more")
    if isinstance(config, Synth):
        return _synth(config)
    return _lsp(config) if isinstance(config, Lsp) else _faces(config)


@dataclass(frozen=True, eq=False)
class _Result:
    """One outcome with everything that is written about it."""

    outcome: Outcome
    names: Sequence[str]
    figure: str
    """By which the gallery is ordered; none without a name."""
    draw: Draw | None = None


def _synth(c: Synth) -> int:
    path = None if c.render_only else _weights(c.weights)
    nets = None if path is None else Networks.load(path)
    able = tuple(TEST_SETS) if nets is None else tuple(f"synth-{part}" for part in nets.parts)
    names = c.sets or able
    if set(names) - set(able):
        raise ConfigError(f"{path}: these weights can be scored on {', '.join(able)}, not on all of {', '.join(names)}")
    results: list[_Result] = []
    for name in names:
        test_set = TEST_SETS[name]
        people = RenderedSet(c.data, test_set, test_set.count if c.n is None else c.n)
        with progress(f"{name}: rendering", len(people)) as tell:
            for done in render(c.data, test_set, len(people), workers=c.workers or os.cpu_count() or 1):
                tell(done)
        if nets is not None:
            results += _synth_results(nets, people, c.box_scale)
    if path is None:
        Console(highlight=False).print(f"rendered {', '.join(names)} into {c.data}", soft_wrap=True)
        return 0
    recipes = {f"{name} (settings, seed, body, poses)": recipe_of(TEST_SETS[name]) for name in names}
    return _finish(c.out, results, [path], c.gallery, recipes=recipes)


def _synth_results(nets: Networks, people: RenderedSet, box_scale: float) -> list[_Result]:
    test_set = people.test_set
    with progress(test_set.name, len(people)) as tell:
        if test_set.part == "body":
            scored = synth.score_bodies(nets, people, scale=box_scale, done=tell)
        else:
            scored = synth.score_parts(nets, people, test_set.part, done=tell)
    figure = "PA-MPJPE" if test_set.part == "body" else "PA-PVE"
    out = []
    for outcome in scored.outcomes:
        is_main = outcome.benchmark == test_set.name
        show(variants_table(outcome, full=test_set.count if is_main else None))
        draw = partial(synth.picture, nets, people, scored) if is_main else None
        out.append(_Result(outcome, scored.names[outcome.benchmark], figure, draw))
    return out


def _lsp(c: Lsp) -> int:
    path = _weights(c.weights)
    nets, people = Networks.load(path), lsp.read(c.data)
    full = len(people)
    people = people if c.n is None else people.some(range(min(c.n, full)))
    with progress("lsp", len(people)) as tell:
        scored = lsp.score(nets, people, scale=c.box_scale, done=tell)
    show(variants_table(scored.outcome, full=full))
    result = _Result(scored.outcome, people.names, lsp.FIGURE, partial(lsp.picture, nets, people, scored))
    return _finish(c.out, [result], [path, c.data if c.data.is_file() else c.data / "joints.mat"], c.gallery)


def _faces(c: Faces) -> int:
    path = _weights(c.weights)
    nets, people = Networks.load(path), faces.read(c.data)
    with progress("faces", len(people)) as tell:
        scored = faces.score(nets, people, scale=c.box_scale, done=tell)
    show(variants_table(scored.outcome))
    result = _Result(scored.outcome, people.names, faces.FIGURE, partial(faces.picture, nets, people, scored))
    return _finish(c.out, [result], [path, c.data], c.gallery)


def _weights(path: Path | None) -> Path:
    return shipped_weights() if path is None else path


def _finish(
    out: Path,
    results: Sequence[_Result],
    files: Sequence[Path],
    gallery: int,
    *,
    recipes: Mapping[str, str] | None = None,
) -> int:
    """Write everything, and say where it lies."""
    provenance = Provenance.now(["openexpose", *sys.argv[1:]], files)
    provenance = replace(provenance, files={**provenance.files, **(recipes or {})})
    samples = {r.outcome.benchmark: r.names for r in results}
    written = [write_report(out, [r.outcome for r in results], samples=samples, provenance=provenance)]
    for r in results:
        if gallery and r.draw is not None:
            page = gallery_page(
                r.outcome, r.names, r.draw, figure=r.figure, cases=gallery, about=f"{provenance.command}; {_LEGEND}"
            )
            written.append(out / f"{r.outcome.benchmark}.html")
            page.write(written[-1])
    Console(highlight=False).print("wrote " + ", ".join(str(p) for p in written), soft_wrap=True)
    return 0
