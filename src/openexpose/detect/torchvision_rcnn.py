"""People by torchvision's Keypoint R-CNN (ResNet-50 FPN, trained on COCO), as ExPose's own demo found them."""

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8

from openexpose.detect import Detection
from openexpose.errors import ConfigError, WeightsError

PERSON = 1
"""Its class number."""
FILE_NAME = "keypointrcnn_resnet50_fpn_coco-fc266e95.pth"
"""What torchvision's download is called."""
MAX_BYTES = 1 << 30


class KeypointRcnn:
    """Finds people in photos of any size; several seconds a photo on a CPU."""

    label = "torchvision Keypoint R-CNN"

    def __init__(self, network: Any, *, min_score: float) -> None:
        """Use `load`. network: torchvision's, in evaluation mode."""
        self.network, self.min_score = network, min_score

    @classmethod
    def load(cls, weights: Path | None, *, download: bool = False, min_score: float = 0.5) -> "KeypointRcnn":
        """From a weight file, or, only if `download` says so, from PyTorch's server (237 MB, kept in torch's cache).

        Raises ConfigError where torchvision's compiled operators are missing or neither file nor download is given,
        WeightsError if the file is not this network's.
        """
        models = _torchvision_models()
        if weights is None and not download:
            raise ConfigError(
                f"Keypoint R-CNN needs its weights: --detector-weights {FILE_NAME}, or --download to fetch them"
            )
        network = models.keypointrcnn_resnet50_fpn(weights=None, weights_backbone=None)
        if weights is None:
            state = models.KeypointRCNN_ResNet50_FPN_Weights.COCO_V1.get_state_dict(check_hash=True, weights_only=True)
        else:
            state = _read(weights)
        load_state(network, state, weights or Path(FILE_NAME))
        return cls(network.eval().requires_grad_(False), min_score=min_score)

    def __call__(self, photo: UInt8[np.ndarray, "H W 3"]) -> list[Detection]:
        """People whose score is at least `min_score`, surest first; keypoints are COCO's 17."""
        picture = torch.from_numpy(photo.copy()).permute(2, 0, 1).float() / 255
        with torch.inference_mode():
            answer = self.network([picture])[0]
        found = []
        rows = zip(answer["labels"], answer["scores"], answer["boxes"], answer["keypoints"], strict=True)
        for label, score, box, points in rows:
            x0, y0, x1, y1 = (float(v) for v in box - 0.5)  # its pixels begin at 0, ours have their centres there
            if int(label) == PERSON and float(score) >= self.min_score and x1 > x0 and y1 > y0:
                moved = points.numpy() - np.array([0.5, 0.5, 0], np.float32)
                found.append(Detection((x0, y0, x1, y1), float(score), moved))
        return sorted(found, key=lambda d: -d.score)


def load_state(network: torch.nn.Module, state: dict[str, Any], path: Path) -> None:
    """Fill a network exactly; WeightsError names the file if names or shapes differ."""
    want = network.state_dict()
    state = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked") or k in want}
    odd = sorted(set(want) ^ set(state)) or [k for k, v in want.items() if v.shape != state[k].shape]
    if odd:
        raise WeightsError(f"{path} is not torchvision's {FILE_NAME}: {len(odd)} tensors differ, first {odd[0]!r}")
    network.load_state_dict(state)


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file() or path.stat().st_size > MAX_BYTES:
        raise WeightsError(f"{path} is no file of a plausible size; give torchvision's {FILE_NAME}")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as e:  # torch raises whatever its unpickler meets
        raise WeightsError(f"{path} cannot be read as weights ({type(e).__name__}); get {FILE_NAME} again") from e
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise WeightsError(f"{path} holds no plain state dict; give torchvision's {FILE_NAME}")
    return state


def _torchvision_models() -> Any:
    """torchvision's detection models, if its compiled operators work here."""
    try:
        importlib.import_module("torchvision")
        if not importlib.import_module("torchvision.extension")._has_ops():
            raise RuntimeError("torchvision was imported without its operators")
        return importlib.import_module("torchvision.models.detection")
    except (RuntimeError, OSError) as e:
        raise ConfigError(
            f"Keypoint R-CNN needs torchvision's compiled operators (nms, roi_align), which do not load here ({e}). "
            "Install torch and torchvision of the same build (both for the CPU or both for the same CUDA); "
            "or use --detector builtin, --boxes or --keypoints"
        ) from e
