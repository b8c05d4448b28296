"""`openexpose doctor`: the data tree, what was found in it, what is wrong or missing, and what each command needs."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.tree import Tree

from openexpose.assets import COMMANDS, TREE, Entry, data_root
from openexpose.cli.recognise import Finding, examine, wide_console
from openexpose.errors import ConfigError

_MARKS = {"found": "[green]found  [/]", "wrong": "[red]wrong  [/]", "missing": "[yellow]missing[/]"}


@dataclass(frozen=True)
class Doctor:
    """Show the data tree: what was found and recognised, what is wrong, what is missing and where to get it.

    The free body models need none of it. With --for the exit status is 0 only if that command can run.
    """

    root: Path | None = None
    """The data tree; default OPENEXPOSE_DATA, else ./data."""
    for_command: Annotated[str | None, tyro.conf.arg(name="for")] = None
    """Look only at what one command needs, e.g. --for "eval ehf"."""
    json: bool = False
    """Print one JSON object instead of the tree."""


def run(config: Doctor) -> int:
    """Examine the tree, print it, and return 0, or 1 if the command named with --for cannot run."""
    root = data_root() if config.root is None else config.root
    wanted = TREE if config.for_command is None else needs_of(config.for_command)
    quiet = config.json or not sys.stderr.isatty()
    steps = track(wanted, "reading", console=Console(stderr=True), transient=True, disable=quiet)
    findings = [examine(entry, root) for entry in steps]
    if config.json:
        sys.stdout.write(json.dumps(as_json(findings, root), indent=1) + "\n")
    else:
        _show(findings, root, config.for_command)
    return 0 if config.for_command is None or all(f.state == "found" for f in findings) else 1


def needs_of(command: str) -> tuple[Entry, ...]:
    """What a command needs of the tree; ConfigError, listing the commands, for an unknown one."""
    name = " ".join(command.split())
    if name not in COMMANDS:
        raise ConfigError(f"no command {name!r} in the tree. --for takes one of:\n  " + "\n  ".join(COMMANDS))
    return COMMANDS[name]


def as_json(findings: list[Finding], root: Path) -> dict[str, Any]:
    """The findings as plain data: root, entries, and for each command whether it can run and what it lacks."""
    state = {f.entry.path: f.state for f in findings}
    commands = {}
    for name, entries in COMMANDS.items():
        if all(e.path in state for e in entries):
            lacking = {s: [e.path for e in entries if state[e.path] == s] for s in ("missing", "wrong")}
            commands[name] = {"can_run": not any(lacking.values()), **lacking}
    entries_json = [
        {
            "path": f.entry.path,
            "found_at": None if f.path is None else str(f.path),
            "state": f.state,
            "text": f.text,
            "what": f.entry.what,
            "commands": list(f.entry.commands),
            "source": {"title": f.entry.source.title, "url": f.entry.source.url, "licence": f.entry.source.licence},
        }
        for f in findings
    ]
    return {"root": str(root), "entries": entries_json, "commands": commands}


def _show(findings: list[Finding], root: Path, command: str | None) -> None:
    console = wide_console()
    exists = "" if root.is_dir() else " [yellow](this folder does not exist)[/]"
    tree = Tree(f"[bold]{escape(str(root))}[/]{exists}")
    folders: dict[str, Tree] = {}
    for f in findings:
        top = f.entry.path.partition("/")[0]
        folders.setdefault(top, tree.add(f"[bold]{top}/[/]") if top not in folders else folders[top])
        line = f"{_MARKS[f.state]} {escape(f.entry.path.partition('/')[2])}  [dim]{escape(f.entry.what)}[/]"
        branch = folders[top].add(line)
        if f.path is not None and f.path != root / f.entry.path:
            branch.add(f"as {escape(str(f.path.relative_to(root)))}")
        branch.add(escape(f.text))
        if f.state != "found" and f.entry.commands:
            branch.add(f"needed by: {escape(', '.join(f.entry.commands))}")
    console.print(tree)
    counts = {s: sum(f.state == s for f in findings) for s in _MARKS}
    console.print(f"\n{counts['found']} found, {counts['wrong']} wrong, {counts['missing']} missing")
    for name, verdict in as_json(findings, root)["commands"].items():
        if command is not None and name != " ".join(command.split()):
            continue
        lacking = len(verdict["missing"]) + len(verdict["wrong"])
        text = "[green]can run[/]" if verdict["can_run"] else f"[yellow]lacks {lacking}[/]"
        console.print(f"  {escape(name):34} {text}")
