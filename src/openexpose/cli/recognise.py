"""What a file of the data tree really holds, against what its place asks for. Used by `doctor`."""

import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal

from numpy.typing import NDArray
from rich.console import Console

from openexpose.assets import Entry, locate
from openexpose.body.arrays import ModelArrays
from openexpose.body.distributed import LAYOUTS
from openexpose.body.files import read_model
from openexpose.body.side_files import read_embedding, read_means, read_regressor, read_shape_mean, read_vertex_ids
from openexpose.errors import AssetError
from openexpose.readers import Npz

State = Literal["found", "wrong", "missing"]
_PICKLE_BYTES = 1 << 26
_RAW_KEYS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType({
    "curated_fits": ("img_fns", "betas", "expression", "pose"),
    "ffhq": ("global_pose", "jaw_pose", "betas", "expression", "keypoints2d", "img_fnames"),
    "spin": ("pose", "betas", "part", "imgname", "center", "scale"),
})  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """One entry of the tree as it is on this disk."""

    entry: Entry
    state: State
    text: str
    """What was recognised; for a wrong file also what was expected."""
    path: Path | None = None


class _WrongError(Exception):
    """The file can be read but is not what its place asks for."""


def examine(entry: Entry, root: Path) -> Finding:
    """Look an entry up under `root` and tell what is in it; a damaged or mistaken file is a finding, not an error."""
    path = locate(entry, root)
    if path is None:
        source = entry.source
        return Finding(entry, "missing", f"get it from {source.title}: {source.url} ({source.licence})")
    kind, *details = entry.kind.split()
    try:
        return Finding(entry, "found", _KINDS[kind](path, details), path)
    except _WrongError as e:
        return Finding(entry, "wrong", str(e), path)
    except AssetError as e:
        return Finding(entry, "wrong", _shorter(str(e), path), path)


def _shorter(message: str, path: Path) -> str:
    """The first line of an error without the path, which the reader sees beside it."""
    line = message.splitlines()[0].replace(f"cannot read {path}: ", "").replace(f"{path}: ", "")
    return line.split(" `openexpose doctor`")[0].rstrip(". ")


def describe_model(arrays: ModelArrays) -> str:
    """One line: label and the counts of vertices, joints, faces, betas, expressions."""
    parts = [
        f"{len(arrays.v_template)} vertices", f"{len(arrays.parents)} joints", f"{len(arrays.faces)} faces",
        f"{arrays.shapedirs.shape[2]} betas",
    ]  # fmt: skip
    if arrays.exprdirs.shape[2]:
        parts.append(f"{arrays.exprdirs.shape[2]} expressions")
    return f"{arrays.label}: {', '.join(parts)}"


def _body(path: Path, details: list[str]) -> str:
    family, variant = details
    arrays = read_model(path)
    wanted = next(x.title for f, x in LAYOUTS.items() if f == family)
    got = arrays.label.split()[-1] if arrays.family == "mano" else arrays.gender
    if arrays.family != family or got not in (variant, "unknown"):
        raise _WrongError(f"{describe_model(arrays)}; expected {wanted} {variant}")
    return describe_model(arrays)


def _regressor(path: Path, details: list[str]) -> str:
    joints, vertices = (int(n) for n in details[0].split("x"))
    got = read_regressor(path).shape
    if got != (joints, vertices):
        raise _WrongError(f"a regressor of {got[0]} joints from {got[1]} vertices; expected {joints} from {vertices}")
    return f"{joints} joints from {vertices} vertices"


def _means(path: Path, details: list[str]) -> str:
    return ", ".join(f"{part} {forms['aa'].shape[0]} joints" for part, forms in read_means(path).items())


def _shape(path: Path, details: list[str]) -> str:
    return f"{len(read_shape_mean(path))} mean betas"


def _ids(path: Path, details: list[str]) -> str:
    *regions, count = details
    got = read_vertex_ids(path)
    if list(got) != regions or any(len(ids) != int(count) for ids in got.values()):
        sizes = ", ".join(f"{len(ids)} {name}" for name, ids in got.items())
        raise _WrongError(f"vertex ids of {sizes}; expected {count} each for {', '.join(regions)}")
    return ", ".join(f"{len(ids)} vertices of {name.replace('_', ' ')}" for name, ids in got.items())


def _embedding(path: Path, details: list[str]) -> str:
    lead = tuple(int(n) for n in details[0].split("x"))
    read_embedding(path, lead, LAYOUTS["flame"].faces)
    return f"landmarks {' x '.join(details[0].split('x'))} on FLAME's faces"


def _store(path: Path, details: list[str]) -> str:
    with Npz(path) as z:
        counted = ("bbox_xywh", "image_path", "keypoints2d", "keypoints3d")
        rows = {key: z.header(key).shape for key in counted if key in z}
        if "image_path" not in rows or not rows["image_path"]:
            raise _WrongError(f"arrays {', '.join(z.keys()[:6])}; expected a HumanData store with image_path")
        n = rows["image_path"][0]
        odd = [key for key, shape in rows.items() if not shape or shape[0] != n]
        if odd:
            raise _WrongError(f"{n:,} image paths, but {odd[0]} has shape {rows[odd[0]]}; expected as many rows")
        names = [key for key in z.keys() if not key.startswith("__")]  # noqa: SIM118
    return f"{n:,} rows: {', '.join(names[:8])}{' ...' if len(names) > 8 else ''}"


def _raw(path: Path, details: list[str]) -> str:
    wanted = _RAW_KEYS[details[0]]
    with Npz(path) as z:
        lacking = [key for key in wanted if key not in z]
        if lacking:
            raise _WrongError(f"it lacks {', '.join(lacking)}; expected the released {details[0]} annotations")
        shape = z.header(wanted[0]).shape
    return f"{shape[0] if shape else 0:,} rows"


def _folder(path: Path, details: list[str]) -> str:
    count = sum(1 for _, _ in zip(path.iterdir(), range(1000), strict=False))
    if count == 0:
        raise _WrongError("an empty folder; expected the unpacked data set")
    return "1 entry" if count == 1 else f"{'1000 or more' if count == 1000 else count} entries"


def _checkpoint(path: Path, details: list[str]) -> str:
    names, text = _names_in_checkpoint(path)
    got = _network_of(names)
    if got not in (details[0], "unlabelled"):
        raise _WrongError(f"{text} of {_NETWORKS.get(got, 'something else')}; expected {_NETWORKS[details[0]]}")
    return f"{text} of {_NETWORKS[got if got in _NETWORKS else details[0]]}"


_NETWORKS: Final[Mapping[str, str]] = MappingProxyType({
    "hrnet": "an HRNet backbone", "resnet18": "a ResNet-18 backbone", "body": "the ExPose body network",
    "face": "the ExPose face network", "hand": "the ExPose hand network", "whole": "the whole ExPose network",
})  # fmt: skip


def _names_in_checkpoint(path: Path) -> tuple[bytes, str]:
    """The part of a torch file that names its tensors, and a phrase about its size. Nothing is unpickled."""
    size = f"{path.stat().st_size / 2**20:.0f} MiB"
    if not zipfile.is_zipfile(path):
        with path.open("rb") as f:
            start = f.read(_PICKLE_BYTES // 8)
        if not start.startswith(b"\x80\x02"):
            raise _WrongError("no torch checkpoint; expected a .pth file")
        return start, f"a checkpoint of {size} (old torch format)"
    try:
        with zipfile.ZipFile(path) as z:
            members = [i for i in z.infolist() if re.search(r"(^|/)data/\d+$", i.filename)]
            listing = [i for i in z.infolist() if i.filename.endswith("data.pkl")]
            if len(listing) != 1 or listing[0].file_size > _PICKLE_BYTES:
                raise _WrongError("a zip archive without torch's data.pkl; expected a .pth file")
            with z.open(listing[0]) as f:
                return f.read(_PICKLE_BYTES), f"a checkpoint of {len(members):,} tensors, {size}"
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError, EOFError) as e:
        raise _WrongError(f"a damaged checkpoint ({e}); get it again") from e


def _network_of(names: bytes) -> str:
    """Which network the tensor names belong to; "unlabelled" for a regressor that states no part, "" for others."""
    if b"hand_backbone." in names and b"face_backbone." in names:
        return "whole"
    if b"head.regressor." in names:
        if b"head.body_pose_idxs" in names or b"stage3.0.branches" in names:
            return "body"
        if b"head.expression_idxs" in names:
            return "face"
        return "hand" if b"head.right_hand_pose_idxs" in names else "unlabelled"
    if b"stage3.0.branches" in names:
        return "hrnet"
    if b"layer4.1.bn2" in names and b"layer3.2." not in names:
        return "resnet18"
    return ""


_KINDS: Final[Mapping[str, Callable[[Path, list[str]], str]]] = MappingProxyType({
    "body": _body, "regressor": _regressor, "means": _means, "shape": _shape, "ids": _ids, "embedding": _embedding,
    "store": _store, "raw": _raw, "folder": _folder, "checkpoint": _checkpoint,
})  # fmt: skip


def value_range(values: NDArray[Any]) -> str:
    """Smallest and largest entry, for people."""
    return f"{values.min():.4g} .. {values.max():.4g}" if values.size else "empty"


def wide_console() -> Console:
    """A console as wide as the terminal, or 160 columns where there is none, so that paths stay in one piece."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=160)
