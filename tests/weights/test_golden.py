"""The reference's own weights recipe, saved under the reference's names, imported, run: equal to its stored numbers."""

import numpy as np
import pytest
import torch

from nets import golden
from openexpose.nets.params import Part
from openexpose.weights.importer import convert
from openexpose.weights.models import load_part
from weights import grammar, states

GROUPS: dict[str, Part] = {"hand": "hand", "face": "head", "body": "body"}
DEAD = ("backbone.stage4.", "backbone.final_layer.", "backbone.downsample_stage_", "backbone.stage3.3.fuse_layers.0.")


def checkpoint(group: str) -> dict[str, torch.Tensor]:
    """What the reference saved for this set, apart from the values of tensors that never run."""
    recipes, seed = golden.recipes(), golden.seed()
    shapes = grammar.mmhuman3d(group)
    state = states.constants(shapes, group)
    for key, shape in shapes.items():
        found = recipes.canonical(group, key)
        if found is not None and not key.startswith(DEAD) and ".layer_00" not in key:
            state[key] = torch.from_numpy(np.asarray(recipes.init_array(seed, group, found[1], shape)))
    state["head.regressor.mean_param"] = torch.from_numpy(golden.load("heads")[f"{group}.mean_param"])
    return {k: state.get(states.canonical(k), v) for k, v in state.items()}


@pytest.mark.golden
@pytest.mark.parametrize("group", GROUPS)
def test_imported_weights_give_the_reference_s_numbers(tmp_path, group):
    part, stored, out = GROUPS[group], golden.load(f"forward_{group}"), tmp_path / "w.safetensors"
    convert(states.save(checkpoint(group), tmp_path / "w.pth"), out)
    network = load_part(out, part)
    crops = np.stack([golden.recipes().normalize(crop) for crop in stored["in.crop_u8_bgr"]])
    with torch.inference_mode():
        stages = network.regressor.stages(network.backbone(torch.from_numpy(crops)))
        estimate = network.codec.split(stages[-1])
    assert np.abs(stages.numpy() - stored["stages"]).max() <= 1e-4  # numbers of the parameter vector
    assert np.abs(estimate.camera.numpy() - stored["out.camera"]).max() <= 1e-4  # scale and shift of the crop
    assert np.abs(estimate.params.betas.numpy() - stored["out.param.betas"]).max() <= 1e-4  # betas


@pytest.mark.golden
def test_half_storage_moves_parameters_little(tmp_path):
    """Measured on recipe weights: hand 9e-4, head 1.1e-3, body 6e-3 at most, for parameters up to 1.8, 8 and 1.6."""
    stored, out = golden.load("forward_hand"), tmp_path / "w.safetensors"
    convert(states.save(checkpoint("hand"), tmp_path / "w.pth"), out, storage="float16")
    network = load_part(out, "hand")
    crops = np.stack([golden.recipes().normalize(crop) for crop in stored["in.crop_u8_bgr"]])
    with torch.inference_mode():
        vector = network(torch.from_numpy(crops)).vector.numpy()
    assert 0 < np.abs(vector - stored["stages"][-1]).max() <= 5e-3  # numbers of the parameter vector
