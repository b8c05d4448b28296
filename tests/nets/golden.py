"""Access to the golden set: stored numbers of the reference, its recipes for weights and photos."""

import functools
import importlib.util
import json
import os
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import nn

from openexpose.geometry.crop import normalise
from openexpose.nets.attention import Look

REPO = Path(__file__).parents[2]
DEAD = "stage3.3.fuse_layers.0."
GROUP = {"body": "body", "hand": "hand", "head": "face"}
"""Our part -> the recipe's group."""


def folder() -> Path:
    """The golden set's folder; skips the test where there is none."""
    path = Path(os.environ.get("OPENEXPOSE_GOLDEN", REPO / "../shared/golden/set_public")).resolve()
    if not (path / "meta.json").exists():
        pytest.skip("no golden set; set OPENEXPOSE_GOLDEN")
    return path


@functools.cache
def load(name: str) -> dict[str, np.ndarray]:
    """All arrays of one file of the set."""
    with np.load(folder() / f"{name}.npz", allow_pickle=False) as z:
        return {k: z[k] for k in z.files}


def seed() -> int:
    """Seed of assets and weights of this set."""
    return int(json.loads((folder() / "meta.json").read_text())["weight_seed"])


@functools.cache
def recipes() -> ModuleType:
    """The published recipes, beside the set or in the default place."""
    places = [folder().parent / "recipes.py", (REPO / "../shared/golden/recipes.py").resolve()]
    path = next((p for p in places if p.exists()), None)
    if path is None:
        pytest.skip("no recipes.py beside the golden set")
    spec = importlib.util.spec_from_file_location("golden_recipes", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def canonical(key: str) -> str:
    """Our key of a part network -> the recipe's."""
    for ours, theirs in (
        ("regressor.hidden.0.", "head.regressor.module.blocks.0.0."),
        ("regressor.hidden.1.", "head.regressor.module.blocks.1.0."),
        ("regressor.output.", "head.regressor.module.output_layer."),
    ):
        if key.startswith(ours):
            return theirs + key[len(ours) :]
    return key


def fill(network: nn.Module, part: str, mean_param: np.ndarray | None = None) -> None:
    """Put recipe weights into one of our part networks, and the stored mean."""
    state = {}
    for key, value in network.state_dict().items():
        if key.endswith("mean_param"):
            state[key] = value if mean_param is None else torch.from_numpy(mean_param)
        else:
            array = recipes().init_array(seed(), GROUP[part], canonical(key), tuple(value.shape))
            state[key] = torch.from_numpy(np.asarray(array))
    network.load_state_dict(state)


def photo_rgb(image_seed: int, hw: tuple[int, int], cells: int) -> np.ndarray:
    """A recipe photo, RGB uint8."""
    return np.ascontiguousarray(recipes().smooth_image(int(image_seed), int(hw[0]), int(hw[1]), cells)[..., ::-1])


def photos(name: str) -> list[torch.Tensor]:
    """The photos of one forward case, RGB uint8."""
    z = load(name)
    return [torch.from_numpy(photo_rgb(s, hw, 14)) for s, hw in zip(z["in.image_seed"], z["in.image_hw"], strict=True)]


def look(name: str) -> Look:
    """The batch of one forward case, from the stored body crops."""
    z = load(name)
    crops = torch.from_numpy(z["in.crop_u8_bgr"][..., ::-1].copy())
    A, side = torch.from_numpy(z["in.crop_transform"]).float(), torch.from_numpy(z["in.scale"]).float()
    return Look(normalise(crops), photos(name), A, side)


def worst(got: torch.Tensor, want: np.ndarray) -> float:
    """Largest absolute difference; shapes must agree but for the lone joint axis of single rotations."""
    if got.ndim + 1 == want.ndim and want.shape[1] == 1:
        want = want[:, 0]
    assert tuple(got.shape) == want.shape, (got.shape, want.shape)
    return float(np.abs(got.detach().double().numpy() - want.astype(np.float64)).max())
