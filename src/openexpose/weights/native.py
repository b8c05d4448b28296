"""Our own weight files: safetensors, with what is inside and where it came from in the header.

One metadata entry, `openexpose`, holds sorted JSON; there is no date and no path in it, so the same weights give the
same bytes on every machine.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from openexpose.errors import ConfigError, DataError, WeightsError
from openexpose.nets.config import GateConfig, NetConfig, PartConfig, RefineConfig, ZoomConfig
from openexpose.readers import write_atomically

METADATA_KEY = "openexpose"
FORMAT = 1
MAX_METADATA_CHARS = 1 << 20
HALF_FROM_ELEMENTS = 1024  # smaller tensors (biases, batch norms, means) stay float32: they cost nothing

Storage = Literal["float32", "float16"]
CodecTable = tuple[tuple[str, int, int], ...]
"""(block, first, end) of every block in a parameter vector, in order."""


@dataclass(frozen=True)
class Provenance:
    """Where weights came from."""

    layout: str
    """Layout of the source ("mmhuman3d whole model", "original release") or "trained with openexpose"."""
    source: str = ""
    """File name of the source, without its folder."""
    source_sha256: str = ""
    """Of the source file's bytes."""
    maker: str = ""
    """Program and version that wrote this file."""
    note: str = ""
    """One line for people: the import's summary, or the training run."""


@dataclass(frozen=True)
class Header:
    """What a weight file says about itself."""

    preset: str
    """Name of the network preset these weights fit."""
    config: Mapping[str, Any]
    """The resolved network configuration as plain values; loading needs no other file."""
    codecs: Mapping[str, CodecTable]
    """Part -> its codec's table: what the numbers of that regressor's vector mean."""
    body_family: str
    """Body-model family whose parameters the networks predict ("smplx", "mano", "flame")."""
    provenance: Provenance
    storage: Storage = "float32"
    """How large tensors are stored; loading always gives float32."""


@dataclass(frozen=True)
class WeightFile:
    """Header and sizes of a weight file, known without reading a tensor."""

    path: Path
    header: Header
    shapes: Mapping[str, tuple[int, ...]] = field(repr=False)
    """Tensor name -> shape."""
    n_bytes: int
    """Size of the file."""


def save_weights(state: Mapping[str, Tensor], path: Path, header: Header) -> None:
    """Writes a state dict as safetensors, all or nothing, in the storage that the header names.

    The same state and header give the same bytes. Raises WeightsError for values that are not finite or do not fit
    float16, DataError when the disk refuses.
    """
    packed = {name: _pack(name, value, header.storage) for name, value in sorted(state.items())}
    if not packed:
        raise WeightsError("no tensors to save")
    text = json.dumps({"format": FORMAT, **asdict(header)}, sort_keys=True, separators=(",", ":"))
    with write_atomically(path) as temporary:
        try:
            save_file(packed, str(temporary), metadata={METADATA_KEY: text})
        except SafetensorError as e:
            raise DataError(f"cannot write {path}: {e}; free some space or check the folder, then run again") from e


def _pack(name: str, value: Tensor, storage: Storage) -> Tensor:
    value = value.detach().to("cpu").contiguous().clone()  # safetensors refuses tensors that share memory
    if not value.is_floating_point():
        return value
    if storage == "float16" and value.dim() > 1 and value.numel() >= HALF_FROM_ELEMENTS:
        value = value.to(torch.float16)
    if not bool(torch.isfinite(value).all()):
        raise WeightsError(f"{name} holds NaN or infinity (or exceeds float16): not saved.")
    return value


def read_header(path: Path) -> WeightFile:
    """Header and tensor shapes of one of our weight files; reads no tensor.

    Raises WeightsError when the file is missing, damaged, or not ours.
    """
    if not path.is_file():
        raise WeightsError(f"{path} does not exist. `openexpose weights import FILE --out {path}` makes one.")
    try:
        with safe_open(str(path), framework="pt") as f:
            shapes = {name: tuple(f.get_slice(name).get_shape()) for name in f.keys()}  # noqa: SIM118
            metadata = f.metadata() or {}
    except (SafetensorError, OSError, ValueError, TypeError, KeyError) as e:
        raise _damaged(path, e) from e
    return WeightFile(path, _parse(path, metadata.get(METADATA_KEY)), shapes, path.stat().st_size)


def load_weights(path: Path) -> tuple[Header, dict[str, Tensor]]:
    """Header and state dict of one of our weight files; floating tensors come as float32 on the CPU."""
    header = read_header(path).header
    try:
        with safe_open(str(path), framework="pt") as f:
            state = {name: f.get_tensor(name) for name in f.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, TypeError, KeyError) as e:
        raise _damaged(path, e) from e
    return header, {k: v.float() if v.is_floating_point() else v for k, v in state.items()}


def load_checkpointed(path: Path, preset: str | None = None) -> tuple[NetConfig, dict[str, Tensor]]:
    """Network configuration and state dict of a weight file; no other file is needed.

    `preset` is what the caller is about to build: WeightsError if the file is for another one.
    """
    header, state = load_weights(path)
    if preset is not None and header.preset != preset:
        raise WeightsError(
            f"{path} holds weights of preset {header.preset!r}, not {preset!r}. Choose that preset, or give a file "
            f"made for {preset!r} (`openexpose weights show FILE` names it)."
        )
    return config_of(header, path), state


def config_of(header: Header, path: Path) -> NetConfig:
    """The network configuration in a header; `path` names the file in messages.

    Raises WeightsError if its fields are not those of this program's version or make no network.
    """
    before_refinement: dict[str, Any] = {"refine": None, "refine_hand": None, "refine_head": None}
    raw = before_refinement | dict(header.config)
    try:
        for name, kind in (
            ("body", PartConfig),
            ("hand", PartConfig),
            ("head", PartConfig),
            ("gate", GateConfig),
            ("refine", RefineConfig),
            ("refine_hand", RefineConfig),
            ("refine_head", RefineConfig),
        ):
            raw[name] = None if raw[name] is None else kind(**{k: _tupled(v) for k, v in raw[name].items()})
        return NetConfig(**raw | {"zoom": ZoomConfig(**raw["zoom"])})
    except (ConfigError, AttributeError, TypeError, KeyError, ValueError) as e:
        raise WeightsError(f"{path}: its network configuration is not of this version of openexpose ({e}).") from e


def _tupled(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value  # JSON knows no tuples


def load_exactly(module: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Puts the state into the module; names and shapes must agree exactly, both ways.

    `path` names the source in the WeightsError.
    """
    want = module.state_dict()
    missing, extra = sorted(set(want) - set(state)), sorted(set(state) - set(want))
    if missing or extra:
        raise WeightsError(
            f"{path} does not fit: {len(missing)} missing {missing[:3]}, {len(extra)} unexpected {extra[:3]}.\n"
            f"From MPI or mmhuman3d? Convert it once: openexpose weights import {path} --out NEW.safetensors"
        )
    wrong = [
        f"{name} {tuple(state[name].shape)}, expected {tuple(like.shape)}"
        for name, like in want.items()
        if state[name].shape != like.shape
    ]
    if wrong:
        raise WeightsError(f"{path} does not fit: {len(wrong)} tensors of another shape: {'; '.join(wrong[:3])}.")
    module.load_state_dict(dict(state))


def _damaged(path: Path, e: Exception) -> WeightsError:
    hint = f"If it comes from MPI or mmhuman3d: openexpose weights import {path} --out NEW.safetensors"
    return WeightsError(f"{path} is damaged, cut short, or not a safetensors file ({e}).\n{hint}")


def _parse(path: Path, text: str | None) -> Header:
    """The header out of its JSON; every field is checked, since anybody may have written it."""
    if text is None:
        raise WeightsError(f"{path} is a safetensors file, but not of ours: it has no {METADATA_KEY!r} metadata.")
    try:
        if len(text) > MAX_METADATA_CHARS:
            raise ValueError(f"{len(text):,} characters of metadata")
        raw = json.loads(text)
        if raw["format"] != FORMAT:
            raise WeightsError(f"{path} has file format {raw['format']!r:.20}; this program reads {FORMAT}: upgrade.")
        if raw["storage"] not in get_args(Storage) or not isinstance(raw["config"], dict):
            raise ValueError("storage or config")
        return Header(
            preset=_text(raw["preset"]),
            config=raw["config"],
            codecs={_text(part): _table(rows) for part, rows in raw["codecs"].items()},
            body_family=_text(raw["body_family"]),
            provenance=Provenance(**{_text(k): _text(v) for k, v in raw["provenance"].items()}),
            storage=raw["storage"],
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as e:
        raise WeightsError(f"{path}: its {METADATA_KEY!r} metadata is damaged ({e!r:.80}); make the file again.") from e


def _table(rows: list[list[Any]]) -> CodecTable:
    return tuple((_text(name), int(first), int(end)) for name, first, end in rows)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.40} is not a text")
    return value
