"""Keypoint R-CNN around a stand-in network: boxes move to our pixels, files fit exactly, refusals say what to do."""

import numpy as np
import pytest
import torch

from openexpose.detect import torchvision_rcnn as module
from openexpose.detect.torchvision_rcnn import KeypointRcnn, load_state
from openexpose.errors import ConfigError, WeightsError


def answers(pictures: list[torch.Tensor]) -> list[dict[str, torch.Tensor]]:
    """A dog, a sure person, an unsure one, and one in between."""
    (picture,) = pictures
    assert picture.shape[0] == 3 and float(picture.max()) <= 1
    boxes = torch.tensor([[0, 0, 9, 9], [2, 3, 12, 33], [0, 0, 5, 5], [4, 4, 8, 8.0]])
    return [
        {
            "labels": torch.tensor([18, 1, 1, 1]),
            "scores": torch.tensor([0.99, 0.7, 0.2, 0.9]),
            "boxes": boxes,
            "keypoints": torch.ones(4, 17, 3),
        }
    ]


def test_people_are_filtered_sorted_and_in_our_pixels():
    found = KeypointRcnn(answers, min_score=0.5)(np.full((40, 50, 3), 255, np.uint8))
    assert [d.box_px for d in found] == [(3.5, 3.5, 7.5, 7.5), (1.5, 2.5, 11.5, 32.5)]
    assert found[0].score == pytest.approx(0.9)
    np.testing.assert_allclose(found[0].keypoints[0], [0.5, 0.5, 1])


def test_without_weights_or_permission_nothing_is_fetched(monkeypatch):
    monkeypatch.setattr(module, "_torchvision_models", lambda: None)
    with pytest.raises(ConfigError, match="--download"):
        KeypointRcnn.load(None)


def test_missing_operators_are_explained(monkeypatch):
    def broken(name: str):
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(module.importlib, "import_module", broken)
    with pytest.raises(ConfigError, match=r"compiled operators .* same build"):
        KeypointRcnn.load(None, download=True)


def test_weights_fit_exactly_or_not_at_all(tmp_path):
    network = torch.nn.Linear(2, 3)
    state = {k: v + 1 for k, v in network.state_dict().items()}
    load_state(network, state, tmp_path / "w.pth")
    assert torch.equal(network.weight.detach(), state["weight"])
    with pytest.raises(WeightsError, match="1 tensors differ, first 'bias'"):
        load_state(network, {"weight": state["weight"]}, tmp_path / "w.pth")
    path = tmp_path / "w.pth"
    torch.save({"weight": state["weight"]}, path)
    assert set(module._read(path)) == {"weight"}
    path.write_bytes(b"no weights")
    with pytest.raises(WeightsError, match="cannot be read"):
        module._read(path)
    with pytest.raises(WeightsError, match="no file"):
        module._read(tmp_path / "none.pth")
