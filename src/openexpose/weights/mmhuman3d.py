"""Key tables of mmhuman3d's checkpoints and of bare ImageNet backbones -> our networks (spec 2.4, 2.5).

Backbones keep their names: ours were named after them. The regressor's were registered twice there
(`blocks.N` and `layer_00N` are one tensor) and are `hidden.N` here.
"""

import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from openexpose.errors import WeightsError
from openexpose.nets.params import Part
from openexpose.weights.native import CodecTable
from openexpose.weights.tables import Drop, Rename, Table

Parts = Mapping[Part, tuple[str, str, str]]
"""Part of our network -> (its backbone's prefix there, its head's prefix there, its prefix here)."""

WHOLE: Parts = {
    "body": ("backbone.", "head.", "body."),
    "hand": ("hand_backbone.", "hand_head.", "hand."),
    "head": ("face_backbone.", "face_head.", "head."),
}
LEAF = r"(weight|bias|running_mean|running_var|num_batches_tracked)"
DEAD_STAGE4 = rf"stage4\.\d\.(branches\.[0-3]\.[0-3]\.(conv|bn)[12]|fuse_layers\.[0-3]\.[0-3](\.\d){{1,2}})\.{LEAF}"
NEVER_RUN = "of layers that never run"
IN_MODEL_FILE = "of the licensed body model"
INDEX = "index buffers equal to our codec"
CLASSIFIER = "of the classifier"
BLOCKS = r"(?P<block>global_orient|body_pose|left_hand_pose|right_hand_pose|jaw_pose|shape|expression|camera)"
"""Blocks of parameter vectors, as the reference names its index buffers."""


def single(part: Part) -> Parts:
    """Prefixes of a checkpoint of one part alone."""
    return {part: ("backbone.", "head.", f"{part}.")}


def table(parts: Parts, layout: str) -> Table:
    """The key table of one checkpoint whose parts stand under the given prefixes."""
    renames, drops = list[Rename](), list[Drop]()
    for backbone, head, ours in parts.values():
        b, h = re.escape(backbone), re.escape(head) + r"regressor\."
        renames += [Rename(rf"{b}(?P<rest>.+)", rf"{ours}backbone.\g<rest>"), *regressor_renames(h, ours)]
        drops += [Drop(b + d.pattern, d.reason) for d in dead_backbone()]
        drops.append(Drop(rf"{re.escape(head)}{BLOCKS}_idxs", INDEX))
    drops.append(Drop(r"body_model_(train|test)\.[A-Za-z_.]+", IN_MODEL_FILE))
    networks = tuple(p for prefixes in parts.values() for p in prefixes[:2])
    return Table(layout, tuple(renames), tuple(drops), networks)


def regressor_renames(prefix: str, ours: str) -> list[Rename]:
    """Renames of an iterative regressor; `prefix` is a regular expression that ends in its last dot."""
    hidden = rf"{ours}regressor.hidden.\g<n>.\g<leaf>"
    return [
        Rename(rf"{prefix}module\.blocks\.(?P<n>\d)\.0\.(?P<leaf>weight|bias)", hidden),
        Rename(rf"{prefix}module\.layer_00(?P<n>\d)\.0\.(?P<leaf>weight|bias)", hidden),
        Rename(rf"{prefix}module\.output_layer\.(?P<leaf>weight|bias)", rf"{ours}regressor.output.\g<leaf>"),
        Rename(rf"{prefix}mean_param", rf"{ours}regressor.mean_param"),
    ]


def dead_backbone() -> list[Drop]:
    """What HRNet checkpoints hold and ExPose never runs; patterns relative to the backbone."""
    return [
        Drop(DEAD_STAGE4, NEVER_RUN),
        Drop(rf"stage3\.3\.fuse_layers\.0\.[12](\.\d){{1,2}}\.{LEAF}", NEVER_RUN),
        Drop(rf"final_layer\.((?:\d\.)?{LEAF})", NEVER_RUN),
        Drop(rf"downsample_stage_[123]\.[013467]\.{LEAF}", NEVER_RUN),
    ]


def bare_backbone(prefix: str, fresh: Sequence[str], ours: str = "") -> Table:
    """Key table of an ImageNet or pose-estimation backbone (HRNet-W48 or ResNet-18 under their usual names).

    prefix: what stands before the backbone's keys ("" or "backbone."). fresh: our keys that such files never hold.
    """
    p = re.escape(prefix)
    extra = [
        Drop(rf"(incre_modules|downsamp_modules)\.[\w.]+\.{LEAF}", CLASSIFIER),
        Drop(r"(classifier|fc)\.(weight|bias)", CLASSIFIER),
        Drop(rf"final_layer\.(\d\.)?{LEAF}", CLASSIFIER),
        Drop(r"(head|keypoint_head|neck)\.[\w.]+", CLASSIFIER),
    ]
    drops = tuple(Drop(p + d.pattern, d.reason) for d in (*dead_backbone(), *extra)) + tuple(extra if prefix else ())
    return Table("bare backbone", (Rename(rf"{p}(?P<rest>.+)", rf"{ours}\g<rest>"),), drops, (prefix,), tuple(fresh))


def check_index_buffers(tensors: Mapping[str, Tensor], head: str, codec: CodecTable, source: str) -> None:
    """Compares a head's `*_idxs` buffers with our codec; WeightsError where the file means other numbers.

    head: the prefix of the buffers, e.g. "hand_head.". Buffers that the file lacks are not asked for.
    """
    ranges = {{"betas": "shape"}.get(name, name): (first, end) for name, first, end in codec}
    for key, value in tensors.items():
        found = re.fullmatch(rf"{re.escape(head)}{BLOCKS}_idxs", key)
        if found is None:
            continue
        first, end = ranges.get(found["block"], (0, 0))
        if value.numel() != end - first or value.flatten().tolist() != list(range(first, end)):
            raise WeightsError(
                f"{source}: {key} does not select the numbers [{first}, {end}) of the parameter vector, as our "
                "networks do. The file is of a changed model; it would give plausible but wrong bodies."
            )


def output_size(tensors: Mapping[str, Tensor], head: str) -> int:
    """Length of the parameter vector of the head under this prefix; 0 if the file has no such head."""
    mean = tensors.get(f"{head}regressor.mean_param", torch.empty(0))
    return int(mean.shape[-1]) if mean.dim() == 2 else 0
