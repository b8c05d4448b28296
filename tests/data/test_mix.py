import pickle
from collections import Counter

import numpy as np
import pytest

from openexpose.data import augment
from openexpose.data.dataset import Samples
from openexpose.data.mix import MixConfig, Mixture, Order
from openexpose.data.sample import body_layout
from openexpose.errors import ConfigError
from tests.data.toys import ToyStore

SIZES, REFERENCE = (3_000, 1_000, 9_000), (0.08, 0.12, 0.8)


def test_probabilities_are_the_references():
    order = Order(SIZES, MixConfig(REFERENCE, seed=1))
    assert order.length == 9_000
    drawn = [order.at(p) for p in range(20_000)]
    share = Counter(w.dataset for w in drawn)
    for i, p in enumerate(REFERENCE):
        assert share[i] / 20_000 == pytest.approx(p, abs=5 * np.sqrt(p * (1 - p) / 20_000))  # 5 standard errors
    rows = np.array([w.row for w in drawn if w.dataset == 2])
    assert rows.min() < 20 and rows.max() > 8_980
    assert np.histogram(rows, 10, (0, 9_000))[0] == pytest.approx(len(rows) / 10, rel=0.15)


@pytest.mark.parametrize("sizes", [SIZES, (50,)])
def test_positions_mean_the_same_to_everyone(sizes):
    """Ranks, workers and resumed runs look at positions in any order, in other processes, and agree."""
    cfg = MixConfig(REFERENCE if len(sizes) > 1 else (1.0,), seed=3)
    straight = [Order(sizes, cfg).at(p) for p in range(500)]
    other = pickle.loads(pickle.dumps(Order(sizes, cfg)))
    jumping = {p: other.at(p) for p in np.random.default_rng(0).permutation(500).tolist()}
    assert [jumping[p] for p in range(500)] == straight
    assert [Order(sizes, MixConfig(cfg.probabilities, seed=4)).at(p) for p in range(500)] != straight


def test_one_data_set_is_seen_once_an_epoch_in_new_order():
    order = Order((50,), MixConfig((1.0,), seed=0))
    epochs = [[order.at(50 * e + i).row for i in range(50)] for e in range(3)]
    assert all(sorted(rows) == list(range(50)) for rows in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert (order.at(120).epoch, order.at(120).index) == (2, 20)


def test_epoch_lengths():
    assert Order(SIZES, MixConfig(REFERENCE, seed=0, epoch="sum")).length == 13_000
    assert Order(SIZES, MixConfig(REFERENCE, seed=0, epoch=77)).length == 77


@pytest.mark.parametrize(
    ("sizes", "probabilities"), [((5, 5), (0.5, 0.6)), ((5, 5), (1.0,)), ((5, 0), (0.5, 0.5)), ((5,), (-1.0,))]
)
def test_what_is_no_mixture_is_refused(sizes, probabilities):
    with pytest.raises(ConfigError):
        Order(sizes, MixConfig(probabilities, seed=0))


def test_mixtures_make_batches():
    parts = [
        Samples(ToyStore(n, name=f"toy{n}"), body_layout(), augment.body(), seed=1, box_scale=1.0, on_error="raise")
        for n in (4, 6)
    ]
    mixture = Mixture(parts, MixConfig((0.5, 0.5), seed=2))
    assert mixture.samples_per_epoch == 6
    batch = mixture.batch(range(5))
    again = mixture.batch([3, 4])
    assert len(batch) == 5 and (batch.crops[3:] == again.crops).all() and batch.rows[3:] == again.rows
