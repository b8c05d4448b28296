"""Foreign weight files (`torch.save`, both of its formats) opened without trusting them.

What is checked before torch sees the file: that it is one (a web page or a Git LFS pointer in its place is the most
frequent accident), that its zip directory claims no more than the file holds, that nothing is compressed, that the
stored checksums are right, and that its pickle is of a sane size. Then `torch.load(weights_only=True)` reads it,
memory-mapped, so tensors that the importer drops are never copied.
"""

import io
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from openexpose.errors import WeightsError

MAX_PICKLE_BYTES = 32 << 20  # a training checkpoint of 6,000 tensors with its optimiser needs about 2 MB
MAX_RECORDS = 200_000
MAX_READS = 4_000_000  # opcodes of the older format, about five seconds
POINTER_NAME = "latest_checkpoint"


@dataclass(frozen=True)
class TorchFile:
    """Tensors of one foreign file, as they stand in it."""

    path: Path
    """The file that was read: where a folder or a pointer led in the end."""
    tensors: Mapping[str, Tensor]
    """Name -> tensor on the CPU; memory-mapped, so reading one touches only its bytes."""
    wrapper: str
    """Key of the outer dict that held the tensors: "state_dict", "model", or "" for a bare file."""
    meta: Mapping[str, str]
    """Short texts and numbers of the outer dict's `meta` (mmcv version, epoch...), for the record."""


def open_torch_file(path: Path) -> TorchFile:
    """The tensors of a `torch.save` file, or of the one that a release folder's `latest_checkpoint` names.

    Raises WeightsError for anything that is not a flat dict of plain tensors, wrapped ({"state_dict": ...} as mmcv,
    {"model": ...} as the original release) or bare.
    """
    path = resolve(path)
    try:
        with path.open("rb") as f:
            loaded = _load_zip(path) if _is_torch_zip(path, f) else _load_legacy(path, f)
    except OSError as e:
        raise WeightsError(f"{path} cannot be read: {e.strerror or e}") from e
    return _unwrap(path, loaded)


def resolve(path: Path) -> Path:
    """The checkpoint file meant by `path`: itself, or what the release's text file `latest_checkpoint` names.

    The text holds a path of the machine that trained; it is looked for by name beside the text file, then below the
    folders around it (original_expose.md A4), never elsewhere.
    """
    if path.is_dir():
        places = [path / below / POINTER_NAME for below in ("", "checkpoints", "data/checkpoints")]
        pointers = [p for p in places if p.is_file()]
        if not pointers:
            raise WeightsError(
                f"{path} is a folder without {POINTER_NAME} (also looked in checkpoints/ and data/checkpoints/). "
                "Give the weight file itself."
            )
        path = pointers[0]
    if not path.is_file():
        raise WeightsError(f"{path} does not exist. `openexpose doctor` shows where weights are obtained.")
    return _follow(path) if path.name == POINTER_NAME else path


def _follow(pointer: Path) -> Path:
    """What `latest_checkpoint` names; it is a text file of one line."""
    raw = pointer.read_bytes()[:4097]
    text = raw.decode("utf-8", errors="replace").strip()
    if not text or len(raw) > 4096 or not text.isprintable():
        raise WeightsError(f"{pointer} does not hold one path; give the checkpoint (model.ckpt) itself.")
    named = Path(text.replace("\\", "/"))
    tried = [pointer.parent / named.name]
    if not named.is_absolute() and ".." not in named.parts:
        tried += [folder / named for folder in list(pointer.resolve().parents)[:3]]
    for candidate in tried:
        if candidate.is_file() and candidate.name != POINTER_NAME:
            return candidate
    looked = "\n".join(f"  {p}" for p in tried)
    raise WeightsError(f"{pointer} names {text!r}, which is not there. Looked for:\n{looked}")


def _is_torch_zip(path: Path, f: BinaryIO) -> bool:
    """Whether the file is of torch's zip format; refuses files that are plainly something else."""
    head = f.read(512)
    if not head:
        raise WeightsError(f"{path} is empty; fetch it again.")
    if head.lstrip()[:1] == b"<":
        raise WeightsError(f"{path} is a web page, not weights: the download asked for a login. Fetch it in a browser.")
    if head.startswith(b"version https://git-lfs"):
        raise WeightsError(f"{path} is a Git LFS pointer, not the weights: run `git lfs pull` where it came from.")
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 100 << 20:
        raise WeightsError(f"{path} is a safetensors file: nothing to import. See `openexpose weights show {path}`.")
    return head.startswith(b"PK")


def _load_zip(path: Path) -> Any:
    _check_zip(path)
    return _torch_load(path, path, mmap=True)


def _check_zip(path: Path) -> None:
    """Raises WeightsError unless the zip directory is truthful, uncompressed and undamaged."""
    size = path.stat().st_size
    try:
        with zipfile.ZipFile(path) as z:
            records = z.infolist()
            if not any(r.filename.endswith("/data.pkl") for r in records):
                raise WeightsError(f"{path} is an archive, but not one that torch.save wrote: unpack it first.")
            if len(records) > MAX_RECORDS or sum(r.file_size for r in records) > size:
                raise WeightsError(f"{path} claims more data than its {size:,} bytes hold; refused.")
            for r in records:
                if r.compress_type != zipfile.ZIP_STORED or r.compress_size != r.file_size:
                    raise WeightsError(f"{path}: record {r.filename} is compressed, which torch.save never does.")
                if r.filename.endswith(".pkl") and r.file_size > MAX_PICKLE_BYTES:
                    raise WeightsError(f"{path}: record {r.filename} has {r.file_size:,} bytes; refused.")
                if r.CRC != 0:  # torch.serialization.set_crc32_options(False) leaves 0
                    _read_through(z, r)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, EOFError, NotImplementedError, ValueError, RuntimeError) as e:
        raise WeightsError(f"{path} is damaged or cut short ({e}); fetch it again.") from e


def _read_through(z: zipfile.ZipFile, record: zipfile.ZipInfo) -> None:
    """Reads one record so that zipfile compares its checksum."""
    with z.open(record) as f:
        while f.read(1 << 20):
            pass


class _Budgeted(io.RawIOBase):
    """A file that torch's Python unpickler may read a bounded number of times, and never beyond its end."""

    def __init__(self, f: BinaryIO, size: int) -> None:
        self._f, self._size, self._reads = f, size, 0

    def _spend(self) -> None:
        self._reads += 1
        if self._reads > MAX_READS:
            raise ValueError(f"more than {MAX_READS:,} pickle instructions")

    def read(self, size: int = -1, /) -> bytes:
        self._spend()
        left = self._size - self._f.tell()
        return self._f.read(left if size < 0 else min(size, left))

    def readline(self, size: int | None = -1, /) -> bytes:
        self._spend()
        return self._f.readline(1 << 16)

    def readinto(self, buffer: Any, /) -> int:
        self._spend()
        return self._f.readinto(buffer)  # type: ignore[attr-defined]

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._f.seek(offset, whence)

    def tell(self) -> int:
        return self._f.tell()

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True


def _load_legacy(path: Path, f: BinaryIO) -> Any:
    """torch's format before 1.6, which the original release and torchvision's first ResNets are in."""
    f.seek(0)
    return _torch_load(path, _Budgeted(f, path.stat().st_size), mmap=None)


class _NotKept:
    """Stands in for numpy numbers and arrays in a checkpoint's `meta`; keeps nothing, runs nothing."""

    def __init__(self, *args: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


# mmcv stores the best score as a numpy number: torch.load would refuse the whole file for it.
_INERT = [
    (_NotKept, name)
    for name in (
        *(f"numpy.{core}.multiarray.{made}" for core in ("core", "_core") for made in ("scalar", "_reconstruct")),
        "numpy.dtype",
        "numpy.ndarray",
        "argparse.Namespace",
    )
]


def _torch_load(path: Path, source: Any, *, mmap: bool | None) -> Any:
    """`torch.load(weights_only=True)`; whatever it raises becomes a WeightsError, since it parses hostile bytes."""
    try:
        with torch.serialization.safe_globals(_INERT), warnings.catch_warnings():  # type: ignore[arg-type]
            warnings.simplefilter("ignore")  # torch's advice on old pickles is not the reader's business
            return torch.load(source, map_location="cpu", weights_only=True, mmap=mmap)
    except Exception as e:
        first = str(e).strip().partition("\n")[0][:200] or type(e).__name__
        first = "unreadable instructions" if first.startswith("Weights only load failed") else first
        for line in str(e).splitlines():
            if "GLOBAL" in line:
                found = line.strip().partition("GLOBAL ")[2].split(" ")[0].rstrip(".,`")
                raise WeightsError(
                    f"{path} holds the Python object {found}, which is not weights; it was not run. Save the state "
                    "dict alone (torch.save(model.state_dict(), ...)) where the file came from."
                ) from e
        raise WeightsError(f"{path} is damaged, cut short, or not a torch.save file ({first}).") from e


def _unwrap(path: Path, loaded: Any) -> TorchFile:
    """The flat dict of tensors inside, whatever it was wrapped in."""
    if not isinstance(loaded, Mapping):
        raise WeightsError(f"{path} holds a {type(loaded).__name__}, not a dict of tensors.")
    wrapper = next((k for k in ("state_dict", "model") if isinstance(loaded.get(k), Mapping)), "")
    tensors: Mapping[Any, Any] = loaded[wrapper] if wrapper else loaded
    if not tensors:
        raise WeightsError(f"{path} holds no tensors.")
    for name, value in tensors.items():
        if not isinstance(name, str):
            raise WeightsError(f"{path}: an entry is named {name!r:.60}, not by a text; not a state dict.")
        if not isinstance(value, Tensor) or value.layout != torch.strided or value.is_quantized:
            kind = str(value.layout) if isinstance(value, Tensor) else type(value).__name__
            raise WeightsError(f"{path}: {name!r:.80} is a {kind}, not a dense tensor; not a state dict.")
    meta = loaded.get("meta") if wrapper else None
    plain = {
        str(k): str(v)
        for k, v in (meta.items() if isinstance(meta, Mapping) else ())
        if isinstance(k, str) and isinstance(v, str | int | float) and len(str(v)) <= 60
    }
    return TorchFile(path=path, tensors=_without_module(tensors), wrapper=wrapper, meta=plain)


def _without_module(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names without the `module.` that DataParallel puts before every one of them."""
    cut = len("module.") if all(k.startswith("module.") for k in tensors) else 0
    return {k[cut:]: v.detach() for k, v in tensors.items()}
