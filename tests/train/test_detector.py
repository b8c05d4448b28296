"""Training of the people detector: pictures by chance that repeat, targets by hand, a run that learns and goes on."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from openexpose.detect.builtin import BuiltinDetector
from openexpose.detect.network import PeopleNet
from openexpose.errors import ConfigError, DataError, WeightsError
from openexpose.train.detector import RESULT, STATE, Learner, PeopleSchedule, train_people
from openexpose.train.people_decks import SceneDeck, everybody
from openexpose.train.people_loss import generalised_iou, people_loss, stacked, targets_of
from openexpose.train.people_pictures import Card, Deck, PictureConfig, Pictures, cells, mirrored, put_weight, window_of

EMPTIES = np.full((2, 40, 40, 3), 90, np.uint8)


class Bars(Deck):
    """Bright upright bars on dark ground are people."""

    def __len__(self) -> int:
        return 5

    def card(self, index: int) -> Card:
        """A bar whose place depends on the number."""
        rgb = np.full((120, 100, 3), 40, np.uint8)
        x, y = 20 + 6 * index, 25
        rgb[y : y + 60, x : x + 24] = (230, 200, 60)
        return Card(rgb, np.array([[x - 0.5, y - 0.5, x + 23.5, y + 59.5]]), np.ones(1, bool))


@pytest.fixture
def pictures() -> Pictures:
    return Pictures([(Bars(), 1.0)], EMPTIES, PictureConfig())


def test_pictures_repeat_and_boxes_hold_the_people(pictures):
    seen = 0
    for index in range(12):
        one, two = (pictures.draw(3, index, size_px=128) for _ in range(2))
        assert (one.rgb == two.rgb).all() and (one.weight == two.weight).all()
        h, w = one.filled_px
        assert one.rgb.shape == (128, 128, 3) and (one.rgb[h:] == 0).all() and (one.rgb[:, w:] == 0).all()
        for box in one.boxes_px:
            assert -0.5 <= box[0] < box[2] <= w - 0.5 and -0.5 <= box[1] < box[3] <= h - 0.5
            seen += 1
    assert seen >= 10
    single = Pictures([(Bars(), 1.0)], EMPTIES, PictureConfig(single=1.0, mosaic=0.0, paste=0.0))
    whole = [p for p in (single.draw(0, i, size_px=256) for i in range(8)) if p.boxes_px]
    for picture in whole:
        x0, y0, x1, y1 = np.round(picture.boxes_px[0] + 0.5).astype(int)
        inside = picture.rgb[y0 + 6 : y1 - 6, x0 + 6 : x1 - 6].astype(float).mean()
        assert inside > 1.5 * picture.rgb[: picture.filled_px[0], : max(x0 - 8, 1)].astype(float).mean()
    assert len(whole) >= 5
    with pytest.raises(ConfigError, match="cards"):
        Pictures([], EMPTIES, PictureConfig())
    with pytest.raises(ConfigError, match="shares"):
        PictureConfig(single=0.0, mosaic=0.0, paste=0.0)


def test_cards_are_cut_and_mirrored():
    rng = np.random.default_rng(0)
    card = Bars().card(0)
    assert mirrored(card).boxes_px.tolist() == [[55.5, 24.5, 79.5, 84.5]]
    for _ in range(20):
        left, top, right, bottom = window_of(card, 1.0, rng, tight=0.4)
        assert 0 <= left < right <= 100 and 0 <= top < bottom <= 120
        grid = cells(rng, 200, 100)
        assert sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in grid) == 200 * 100
    weight = np.ones((4, 4), np.float32)
    put_weight(weight, np.array([3.0, 10.0, 12.0, 20.0]), 0.0)  # points at 3.5, 11.5, 19.5, 27.5
    assert (weight == 0).sum() == 4 and (weight[1:3, 0:2] == 0).all()


def test_targets_by_hand():
    t = targets_of([np.array([3.5, 3.5, 35.5, 67.5])], np.ones((10, 10), np.float32))  # 4 by 8 points, middle (2, 4)
    assert t.heat[0, 4, 2] == 1 and (t.heat == 1).sum() == 1
    assert float(t.heat[0, 5, 2]) == pytest.approx(np.exp(-0.5 / 0.72**2), abs=1e-6) and t.heat[0, 8, 2] == 0
    assert float(t.matters.sum()) == pytest.approx(np.log1p(32), rel=1e-5)
    assert t.boxes_px[0, :, 4, 2].tolist() == [3.5, 3.5, 35.5, 67.5]
    two = stacked([t, t])
    perfect = torch.where(two.heat == 1, 12.0, -12.0)
    at = torch.stack(torch.meshgrid(torch.arange(10.0), torch.arange(10.0), indexing="xy")) * 8 + 3.5
    sides = torch.cat([at - two.boxes_px[:, :2], two.boxes_px[:, 2:] - at], 1)
    heat, box = people_loss(perfect, sides, two)
    assert heat < 1e-3 and box < 1e-5
    assert people_loss(-perfect, sides, two)[0] > 10
    a, b = (torch.tensor(v).view(1, 4, 1, 1) for v in ([0.0, 0.0, 2.0, 2.0], [2.0, 0.0, 4.0, 4.0]))
    assert float(generalised_iou(a, b)) == pytest.approx(0 - 4 / 16)


def test_scenes_tell_who_counts(tmp_path):
    boxes = np.array([[0, 0, 50, 90], [10, 10, 30, 40], [1, 1, 9, 9], [np.nan] * 4])
    known, counts = everybody(boxes, np.array([0.4, 0.05, 0.0, 0.0]))
    assert known.tolist() == boxes[:2].tolist() and counts.tolist() == [True, False]
    with pytest.raises(DataError, match="render"):
        SceneDeck([])


def test_a_run_learns_goes_on_and_ships(pictures, tmp_path):
    schedule = PeopleSchedule(head_steps=3, whole_steps=2, batch=2, replay=1, sizes_px=(64,), save_every=2)
    torch.manual_seed(0)
    network = PeopleNet()
    early = network.trunk.blocks[0][0].conv_dw.weight.clone()
    late, head = network.trunk.blocks[4][0].conv_dw.weight.clone(), network.heat_tower[-1].weight.clone()
    run = train_people(Learner(network, pictures, schedule), tmp_path)
    steps = [next(run), next(run), next(run)]
    assert [s.step for s in steps] == [1, 2, 3] and all(np.isfinite([s.heat, s.sides]).all() for s in steps)
    assert (network.trunk.blocks[4][0].conv_dw.weight == late).all() and (network.heat_tower[-1].weight != head).any()
    other = Learner(PeopleNet(), pictures, schedule)
    rest = list(train_people(other, tmp_path))
    assert [s.step for s in rest] == [3, 4, 5]
    assert (other.network.trunk.blocks[0][0].conv_dw.weight == early).all()
    assert (other.network.trunk.blocks[4][0].conv_dw.weight != late).any()
    detector = BuiltinDetector.load(tmp_path / RESULT, looks_px=(64,))
    detector(np.zeros((50, 40, 3), np.uint8))
    (tmp_path / STATE).write_bytes(b"nothing")
    with pytest.raises(WeightsError, match="another folder"):
        next(train_people(Learner(PeopleNet(), pictures, schedule), tmp_path))
    with pytest.raises(ConfigError, match="multiples of 32"):
        replace(schedule, sizes_px=(100,))
