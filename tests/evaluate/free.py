"""What the tests of our own benchmarks share: tiny weights in a file, tiny rendered sets, packs of blank photos."""

import io
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from openexpose.body import load_model
from openexpose.nets import build, config
from openexpose.nets.means import Means
from openexpose.synth.scene import SynthConfig
from openexpose.synth.sets import TestSet
from openexpose.weights.native import Header, Provenance, save_weights


def weights(path: Path, *parts: str) -> Path:
    """Random weights of very small networks: the whole model, or one part."""
    small = {
        p: replace(config.expose().part(p), backbone="test_efficientnet_gn", crop_px=64, width=16, fixed_norm=False)
        for p in parts or ("body", "hand", "head")
    }
    cfg = replace(config.expose(), name="lite", **({"body": None, "hand": None, "head": None} | small))
    with torch.random.fork_rng():
        torch.random.default_generator.manual_seed(0)
        if parts:
            net = build.build_one(parts[0], cfg, means=Means())
        else:
            net = build.build_expose(cfg, load_model("free"), means=Means())
    save_weights(net.state_dict(), path, Header("lite", asdict(cfg), {}, "smplx", Provenance("test")))
    return path


def tiny_set(part: str = "body") -> TestSet:
    """Two small photos."""
    share = {"whole": 0.0, "upper": 0.0, "head": 0.0, "hand": 0.0} | {"whole" if part == "body" else part: 1.0}
    cfg = SynthConfig(size_px=48, supersample=1, clean=1.0, crowd=0.0, held_out=True, **share)
    return TestSet(f"synth-{part}", part, 900_000_077, 2, cfg)


def pack(path: Path, points: np.ndarray, **more: np.ndarray) -> Path:
    """A pack of grey photos of 32 px with these points (N, K, 3)."""
    out = io.BytesIO()
    Image.new("RGB", (32, 32), (90, 90, 90)).save(out, "WEBP", lossless=True)
    webp = out.getvalue()
    offsets = np.arange(len(points) + 1) * len(webp)
    np.savez(
        path,
        webp=np.frombuffer(webp * len(points), np.uint8),
        offsets=offsets,
        keypoints2d=points.astype(np.float32),
        image_size=32,
        **more,
    )
    return path
