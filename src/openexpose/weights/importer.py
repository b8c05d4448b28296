"""Foreign checkpoints -> our weight files: recognise the layout, apply its key table, write with provenance."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from openexpose import __version__
from openexpose.errors import WeightsError
from openexpose.nets.build import FAMILY, build_codec, build_one
from openexpose.nets.config import PRESETS, NetConfig
from openexpose.nets.means import Means
from openexpose.readers import sha256_of
from openexpose.weights import mmhuman3d, official
from openexpose.weights.mmhuman3d import Parts
from openexpose.weights.native import CodecTable, Header, Provenance, Storage, save_weights
from openexpose.weights.starts import is_bare
from openexpose.weights.tables import Match, Table, match_keys, take
from openexpose.weights.torchfile import open_torch_file


@dataclass(frozen=True)
class Layout:
    """What a foreign file turned out to be."""

    preset: str
    """Preset of ours that its networks are."""
    parts: Parts
    table: Table


@dataclass(frozen=True)
class Imported:
    """A foreign checkpoint in our names."""

    path: Path
    """The file that was read in the end."""
    header: Header
    state: Mapping[str, Tensor]
    match: Match
    """Where every key went."""


def recognise(tensors: Mapping[str, Tensor], source: str) -> Layout:
    """The layout of a state dict, by its names and the length of its parameter vectors.

    Raises WeightsError if it is none that we know; `source` names the file.
    """
    if any(key.startswith("smplx.") for key in tensors):
        return Layout("expose", official.PARTS, official.table())
    if any(key.startswith(("hand_backbone.", "face_backbone.")) for key in tensors):
        return Layout("expose", mmhuman3d.WHOLE, mmhuman3d.table(mmhuman3d.WHOLE, "mmhuman3d whole model"))
    size = mmhuman3d.output_size(tensors, "head.")
    sizes = {build_codec(part, PRESETS["expose"]().part(part)).size: part for part in mmhuman3d.WHOLE}
    if part := sizes.get(size):
        parts = mmhuman3d.single(part)
        return Layout(f"expose-{part}", parts, mmhuman3d.table(parts, f"mmhuman3d {part} model"))
    if is_bare(tensors):
        raise WeightsError(
            f"{source} is a backbone without a regressor (an ImageNet start): training reads it as it is, "
            "there is nothing to import."
        )
    raise WeightsError(
        f"{source} is of no known layout: its first keys are {', '.join(sorted(tensors)[:3])}. Known are mmhuman3d's "
        "ExPose checkpoints (body, face, hand, whole) and the original release's model.ckpt."
    )


def import_file(path: Path, *, storage: Storage = "float32") -> Imported:
    """A released checkpoint as our weights; nothing is written.

    path: a file of mmhuman3d or of the original release, or the release's folder. Raises WeightsError when it is
    damaged, of no known layout, or does not fit the networks exactly.
    """
    file = open_torch_file(path)
    layout = recognise(file.tensors, str(file.path))
    config = PRESETS[layout.preset]()
    wanted = wanted_tensors(config)
    match = match_keys(file.tensors, wanted, layout.table)
    state = take(match, file.tensors, wanted, str(file.path))
    codecs = codec_tables(config)
    for part, (_, head, _) in layout.parts.items():
        mmhuman3d.check_index_buffers(file.tensors, head, codecs[part], str(file.path))
    provenance = Provenance(
        layout=match.layout,
        source=file.path.name,
        source_sha256=sha256_of(file.path),
        maker=f"openexpose {__version__}",
        note=match.summary(),
    )
    return Imported(file.path, header_of(config, provenance, storage), state, match)


def convert(path: Path, out: Path, *, storage: Storage = "float32") -> Imported:
    """Imports a released checkpoint and writes it as our safetensors.

    Raises WeightsError as `import_file`, and when `out` would overwrite what was read; DataError if the disk refuses.
    """
    imported = import_file(path, storage=storage)
    if out.exists() and out.samefile(imported.path):
        raise WeightsError(f"--out {out} is the file that is imported; choose another name.")
    save_weights(imported.state, out, imported.header)
    return imported


def header_of(config: NetConfig, provenance: Provenance, storage: Storage = "float32") -> Header:
    """The header of a file that holds weights of these networks."""
    families = [FAMILY[part] for part in config.parts]
    return Header(
        preset=config.name,
        config=asdict(config),
        codecs=codec_tables(config),
        body_family=families[0],
        provenance=provenance,
        storage=storage,
    )


def codec_tables(config: NetConfig) -> dict[str, CodecTable]:
    """Part -> its codec's table, for every network of the config."""
    return {part: build_codec(part, config.part(part)).table() for part in config.parts}


def wanted_tensors(config: NetConfig) -> dict[str, Tensor]:
    """Names, shapes and types of every tensor of these networks, without memory for them."""
    with torch.device("meta"):
        every = [build_one(part, config, means=Means()).state_dict() for part in config.parts]
    return {name: value for state in every for name, value in state.items()}
