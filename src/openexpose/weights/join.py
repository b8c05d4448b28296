"""Networks that were trained apart, as the one file of the whole model that ships; and the mean of several."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from openexpose import __version__
from openexpose.errors import WeightsError
from openexpose.nets.config import PRESETS, NetConfig
from openexpose.weights.importer import header_of, wanted_tensors
from openexpose.weights.native import Provenance, Storage, load_checkpointed, read_header, save_weights


def join(files: Sequence[Path], out: Path, *, preset: str = "lite", storage: Storage = "float16") -> NetConfig:
    """Write one file with the networks of several; each part comes from the first file that has it.

    A part may have been trained on crops of another size (small inputs first), or without looking in the mirror or
    closer; the preset's settings are what is written.

    Raises WeightsError if a part is missing, or its sizes are not the preset's.
    """
    if preset not in PRESETS:
        raise WeightsError(f"no preset {preset!r}; there are {', '.join(PRESETS)}")
    config = PRESETS[preset]()
    state: dict[str, Tensor] = {}
    notes: list[str] = []
    for part in config.parts:
        path = next((f for f in files if part in load_checkpointed(f)[0].parts), None)
        if path is None:
            raise WeightsError(f"no file of {', '.join(map(str, files))} holds the {part} network of {preset!r}")
        held, tensors = load_checkpointed(path)
        want = config.part(part)
        looks = {name: getattr(want, name) for name in ("crop_px", "mirror", "closer")}  # convolutional: any crop
        if replace(held.part(part), **looks) != want:
            raise WeightsError(f"{path}: its {part} network has other sizes than preset {preset!r} of this version")
        state |= {k: v for k, v in tensors.items() if k.startswith(f"{part}.")}
        notes.append(f"{part}: {read_header(path).header.provenance.note}")
    shapes = {k: v.shape for k, v in wanted_tensors(config).items()}
    if {k: v.shape for k, v in state.items()} != shapes:
        raise WeightsError(f"the files' tensors are not those of preset {preset!r} of this version")
    made = Provenance("trained with openexpose", maker=f"openexpose {__version__}", note="; ".join(notes))
    save_weights(state, out, replace(header_of(config, made, storage), body_family="smplx"))
    return config


def average(files: Sequence[Path], out: Path) -> NetConfig:
    """Write the mean of the weights of several files of one kind, in float32, with the first file's header.

    For stages of one training: the mean of a network before and after it was trained on is often better than either
    (Wortsman et al. 2022, model soups). Networks that started apart have no useful mean.

    Raises WeightsError for fewer than two files, or files whose tensors differ in name or shape.
    """
    if len(files) < 2:
        raise WeightsError("a mean needs at least two weight files")
    config, total = load_checkpointed(files[0])
    for path in files[1:]:
        _, other = load_checkpointed(path)
        if {k: v.shape for k, v in other.items()} != {k: v.shape for k, v in total.items()}:
            raise WeightsError(f"{path} holds other tensors than {files[0]}: only networks of one kind have a mean")
        total = {k: v.double() + other[k] if v.is_floating_point() else v for k, v in total.items()}
    state = {k: (v / len(files)).float() if v.is_floating_point() else v for k, v in total.items()}
    header = read_header(files[0]).header
    notes = "; ".join(read_header(path).header.provenance.note for path in files)
    made = replace(header.provenance, note=f"mean of {len(files)} files: {notes}")
    save_weights(state, out, replace(header, storage="float32", provenance=made))
    return config
