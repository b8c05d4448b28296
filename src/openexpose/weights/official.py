"""Key table of the original ExPose release's `model.ckpt` -> our networks (original_expose.md A4).

Everything there stands under `smplx.`. The release embeds the SMPL-X, MANO and FLAME tensors: those never enter our
files. Its body batch norms were frozen before saving and have no counters.
"""

import re

from openexpose.weights.mmhuman3d import BLOCKS, INDEX, Parts, dead_backbone, regressor_renames
from openexpose.weights.tables import Drop, Rename, Table

PARTS: Parts = {
    "body": ("smplx.backbone.", "smplx.", "body."),
    "hand": ("smplx.hand_predictor.backbone.", "smplx.hand_predictor.", "hand."),
    "head": ("smplx.head_predictor.backbone.", "smplx.head_predictor.", "head."),
}
LAYOUT = "original release"
EMBEDDED = "of the licensed body models"


def table() -> Table:
    """The key table of the release."""
    renames, drops = list[Rename](), list[Drop]()
    for backbone, predictor, ours in PARTS.values():
        renames.append(Rename(rf"{re.escape(backbone)}(?P<rest>.+)", rf"{ours}backbone.\g<rest>"))
        renames += regressor_renames(re.escape(predictor) + r"regressor\.", ours)
        drops += [Drop(re.escape(backbone) + d.pattern, d.reason) for d in dead_backbone()]
    drops += [
        Drop(r"smplx\.body_model\..+", EMBEDDED),
        Drop(r"smplx\.(hand_predictor\.hand_model|head_predictor\.head_model)\..+", EMBEDDED),
        Drop(rf"smplx\.((hand|head)_predictor\.)?{BLOCKS}_idxs", INDEX),
        Drop(r"smplx\.((hand|head)_predictor\.)?\w+_decoder\.\w+", "decoder means, which mean_param holds too"),
    ]
    networks = tuple(p for backbone, predictor, _ in PARTS.values() for p in (backbone, f"{predictor}regressor."))
    return Table(LAYOUT, tuple(renames), tuple(drops), networks)
