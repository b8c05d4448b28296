"""Where the data tree is, and where in it a file lies."""

import os
from pathlib import Path

from openexpose.assets.tree import TREE, Entry
from openexpose.errors import AssetError


def data_root() -> Path:
    """The folder of the data tree: what OPENEXPOSE_DATA names, else `data` in the current folder (it may not exist)."""
    return Path(os.environ.get("OPENEXPOSE_DATA") or "data")


def entry_of(name: str) -> Entry:
    """The entry of the tree that `name` means: its path, one of its other paths, or the last parts of one of them.

    Raises AssetError if nothing, or more than one thing, is called that.
    """
    exact = [e for e in TREE if name in (e.path, *e.also)]
    tails = exact or [e for e in TREE if any(f"/{p}".endswith(f"/{name}") for p in (e.path, *e.also))]
    if len(tails) == 1:
        return tails[0]
    if tails:
        raise AssetError(f"{name!r} means several files ({', '.join(e.path for e in tails)}): give more of the path")
    raise AssetError(f"{name!r} is no file of the data tree. `openexpose doctor` lists the names.")


def locate(entry: Entry, root: Path, *, first: str = "") -> Path | None:
    """Where under `root` the entry lies, or None; of several names those ending in `first` win."""
    wanted = Path.is_dir if entry.kind == "folder" else Path.is_file
    names = sorted((entry.path, *entry.also), key=lambda p: not f"/{p}".endswith(f"/{first}"))
    return next((p for p in (root / name for name in names) if wanted(p)), None)


def find(name: str, root: Path | None = None) -> Path:
    """The path of a file or folder of the data tree, e.g. find("mano/MANO_RIGHT.pkl") or find("SMPLX_NEUTRAL.npz").

    root: the tree, default `data_root()`. Any name under which the file is really found will do; any is found,
    the one asked for first.
    Raises AssetError saying where it was looked for, where to get it, and how to point to another folder.
    """
    entry = entry_of(name)
    root = data_root() if root is None else root
    found = locate(entry, root, first=name)
    if found is not None:
        return found
    looked = "\n".join(f"  {root / p}" for p in (entry.path, *entry.also))
    raise AssetError(
        f"{entry.path} not found ({entry.what}). Looked in:\n{looked}\n"
        f"We cannot ship it: get it from {entry.source.title}, {entry.source.url} ({entry.source.licence}),\n"
        "put it in one of these places, or set OPENEXPOSE_DATA. `openexpose doctor` shows what is missing."
    )
