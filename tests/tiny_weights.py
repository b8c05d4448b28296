"""A weight file of tiny random networks for FreeBody: what the tests of prediction run on."""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch

from openexpose.body import load_model
from openexpose.nets import config
from openexpose.nets.build import build_codec, build_expose
from openexpose.nets.means import Means
from openexpose.weights.native import Header, Provenance, save_weights


def save_tiny(path: Path, *, seed: int = 0) -> Path:
    """Write the file; the answers depend on the picture and all parts move."""
    base = config.expose()
    small = {
        p: replace(base.part(p), backbone="resnet10t", crop_px=64, width=32, activation="relu", fixed_norm=False)
        for p in base.parts
    }
    net = replace(base, name="tiny", **small)
    body = net.part("body")
    model = load_model("free", num_betas=body.num_betas, num_expression=body.num_expression)
    with torch.random.fork_rng():
        torch.random.default_generator.manual_seed(seed)
        network = build_expose(net, model, means=Means()).eval()
        for part in (network.body, network.hand, network.head):
            torch.nn.init.normal_(part.regressor.output.weight, std=0.02)
    header = Header(
        preset="tiny",
        config=asdict(net),
        codecs={p: build_codec(p, net.part(p)).table() for p in net.parts},
        body_family="smplx",
        provenance=Provenance("test"),
    )
    save_weights(network.state_dict(), path, header)
    return path


def blobs(seed: int, width: int = 160, height: int = 120) -> np.ndarray:
    """A smooth coloured picture, uint8 RGB."""
    rng = np.random.default_rng(seed)
    small = torch.from_numpy(rng.uniform(0, 255, (1, 3, 5, 6)))
    large = torch.nn.functional.interpolate(small, (height, width), mode="bicubic", align_corners=True)
    return large[0].permute(1, 2, 0).clamp(0, 255).byte().numpy()
