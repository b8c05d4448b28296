"""The people detector: maps and boxes by hand, the same people at any size of photo, files that fit or are refused."""

import numpy as np
import pytest
import torch

from openexpose.detect import Detector
from openexpose.detect.builtin import SHIPPED, BuiltinDetector, distinct, load_people, peaks, reduce, save_people
from openexpose.detect.network import STRIDE, PeopleNet, boxes_of, fold_norms, middles
from openexpose.errors import AssetError, ConfigError, WeightsError
from openexpose.readers import write_safetensors


@pytest.fixture(scope="module")
def network() -> PeopleNet:
    torch.manual_seed(0)
    return PeopleNet().eval().requires_grad_(False)


def test_maps_have_a_point_every_eight_pixels(network):
    heat, sides = network(torch.randn(2, 3, 64, 96))
    assert heat.shape == (2, 8, 12) and sides.shape == (2, 4, 8, 12) and (sides > 0).all()
    alone, _ = network(torch.zeros(1, 3, 64, 96))
    both, _ = network(torch.stack([torch.zeros(3, 64, 96), torch.ones(3, 64, 96)]))
    assert (alone[0] - both[0]).abs().max() < 1e-4  # logits
    with pytest.raises(ConfigError, match="multiples of 32"):
        network(torch.zeros(1, 3, 64, 100))


def test_sides_become_boxes():
    assert middles(2, 3)[:, 1, 2].tolist() == [2 * STRIDE + 3.5, STRIDE + 3.5]
    box = boxes_of(torch.tensor([1.0, 2.0, 3.0, 4.0]).view(4, 1, 1).expand(4, 2, 3))[:, 1, 2]
    assert box.tolist() == [18.5, 9.5, 22.5, 15.5]


def test_peaks_are_where_the_heat_is():
    heat = torch.full((6, 8), -9.0)
    heat[2, 3], heat[2, 4], heat[5, 7], heat[0, 0] = 2.0, 1.0, 3.0, -0.5
    boxes, scores = peaks(heat, torch.full((4, 6, 8), 10.0), 0.4)
    assert np.allclose(scores, torch.tensor([3.0, 2.0]).sigmoid())  # 0.38 is too little, (2, 4) no peak
    assert boxes.tolist() == [[49.5, 33.5, 69.5, 53.5], [17.5, 9.5, 37.5, 29.5]]


def test_doubles_go_and_children_stay():
    big = [0, 0, 100, 200]
    boxes = np.array([big, [5, 5, 104, 205], [10, 60, 90, 195], [30, 20, 60, 80], [300, 0, 350, 90]], float)
    assert distinct(boxes, np.array([0.9, 0.8, 0.7, 0.6, 0.95])) == [4, 0, 3]
    assert distinct(np.zeros((0, 4)), np.zeros(0)) == []


@pytest.mark.parametrize("shape", [(50, 70), (640, 480), (1000, 90), (1, 1)])
def test_photos_are_reduced_and_filled_up(shape):
    photo = np.full((*shape, 3), 124, np.uint8)
    reduced = reduce(photo, 64)
    h, w = reduced.pixels.shape[2:]
    assert h % 32 == 0 and w % 32 == 0 and max(h, w) == 64
    kept = round(shape[0] * reduced.scale), round(shape[1] * reduced.scale)
    assert reduced.pixels[0, 0, : max(kept[0], 1), : max(kept[1], 1)].abs().max() < 0.01
    assert (reduced.pixels[..., max(kept[0], 1) :, :] == 0).all() and (
        reduced.pixels[..., max(kept[1], 1) :] == 0
    ).all()


class Painted(PeopleNet):
    """Stands for a network: people are where the picture is bright."""

    def __init__(self) -> None:
        """Without any layer."""
        torch.nn.Module.__init__(self)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Heat from brightness; boxes of 20 by 40 pixels."""
        bright = torch.nn.functional.avg_pool2d(x.mean(1), 8)
        sides = torch.tensor([10.0, 20.0, 10.0, 20.0]).view(1, 4, 1, 1)
        return 4 * bright - 2, sides.expand(1, 4, *bright.shape[1:])


def test_boxes_come_back_in_photo_pixels():
    photo = np.zeros((480, 640, 3), np.uint8)
    photo[160:176, 320:336] = 255  # the point (20, 10) of the maps of a photo reduced by two
    detector = BuiltinDetector(Painted().eval(), min_score=0.5, looks_px=(320,))
    assert isinstance(detector, Detector) and detector.label == "builtin"
    (found,) = detector(photo)
    assert np.allclose(found.box_px, [307.5, 127.5, 347.5, 207.5], atol=1e-6)  # pixels
    low = BuiltinDetector(Painted().eval(), min_score=0.01, looks_px=(320,))
    odd = low(np.pad(photo, ((0, 13), (0, 31), (0, 0))))  # a scale of no round number
    assert odd and all((side + 0.5).is_integer() for one in odd for side in one.box_px)  # between pixels
    photo[:16, :16] = 255
    assert min(d.box_px[0] for d in detector(photo)) == -0.5  # ends at the border
    assert detector(np.zeros((40, 30, 3), np.uint8)) == []


def test_settings_are_checked(network):
    for settings in ({"min_score": 0.0}, {"looks_px": (100,)}, {"looks_px": ()}):
        with pytest.raises(ConfigError, match="multiple of 32"):
            BuiltinDetector(network, **settings)
    with pytest.raises(ConfigError, match=r"\.eval\(\)"):
        BuiltinDetector(PeopleNet())


def test_files_hold_the_network(network, tmp_path):
    path = tmp_path / "people.safetensors"
    save_people(network, path)
    assert path.stat().st_size < 3_000_000
    other = PeopleNet().eval()
    load_people(other, path)
    x = torch.randn(1, 3, 64, 64)
    for a, b in zip(network(x), other(x), strict=True):
        assert (a - b).abs().max() < 0.05 * a.abs().max()  # half precision
    again = tmp_path / "again.safetensors"
    save_people(other, again)
    assert again.read_bytes() == path.read_bytes()
    with pytest.raises(AssetError, match="nobody.safetensors"):
        BuiltinDetector.load(tmp_path / "nobody.safetensors")
    write_safetensors(path, {"a": np.zeros(3, np.float32)}, {"openexpose": "people detector 1"})
    with pytest.raises(WeightsError, match="no people detector"):
        load_people(other, path)


def test_folded_norms_answer_the_same():
    net = PeopleNet()
    net(torch.randn(2, 3, 64, 64))  # its norms get statistics
    net.eval().requires_grad_(False)
    x = torch.randn(1, 3, 64, 96)
    before = net(x)
    fold_norms(net)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in net.modules())
    for a, b in zip(before, net(x), strict=True):
        assert (a - b).abs().max() < 1e-3 * a.abs().max()
    with pytest.raises(ConfigError, match=r"\.eval\(\)"):
        fold_norms(PeopleNet())


@pytest.mark.skipif(not SHIPPED.is_file(), reason="no detector ships in this copy")
def test_the_shipped_one_is_small_and_finds_nobody_in_nothing():
    assert SHIPPED.stat().st_size <= 3_000_000
    assert BuiltinDetector.load()(np.full((200, 300, 3), 128, np.uint8)) == []
