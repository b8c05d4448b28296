"""Recall and precision of boxes, by cases computed by hand."""

import numpy as np
import pytest

from openexpose.errors import DataError
from openexpose.evaluate.people import compare_people, score_people

NOBODY = np.zeros((0, 4))
TWO = np.array([[0, 0, 10, 10], [20, 0, 30, 10]], float)


def test_boxes_match_once_and_ignored_people_do_not_count():
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [50, 50, 60, 60], [20, 0, 30, 20], [90, 90, 99, 99]], float)
    scores = np.array([0.6, 0.9, 0.8, 0.7, 0.3])
    found = compare_people(boxes, scores, TWO, np.array([[45, 45, 70, 70]], float))
    assert found.scores.tolist() == [0.9, 0.7, 0.6, 0.3]
    assert found.right.tolist() == [True, True, False, False]  # the double of the first and nobody at all
    assert np.allclose(found.best_iou, [9 / 11, 0.5]) and found.score_of.tolist() == [0.9, 0.7]
    with pytest.raises(DataError, match="overlap"):
        compare_people(boxes, scores, TWO, NOBODY, iou=0.0)


def test_scores_of_many_photos():
    right = compare_people(TWO, np.array([0.9, 0.4]), TWO, NOBODY)
    wrong = compare_people(TWO + 100, np.array([0.8, 0.7]), TWO[:1], NOBODY)
    total = score_people([right, wrong], min_score=0.5)
    assert total.people == 3 and total.recall == pytest.approx(1 / 3) and total.precision == pytest.approx(1 / 3)
    assert total.average_precision == pytest.approx((1 + 0.5) / 3) and total.iou == 1
    assert score_people([compare_people(NOBODY, np.zeros(0), TWO, NOBODY)]).precision == 1
    with pytest.raises(DataError, match="nobody"):
        score_people([compare_people(TWO, np.ones(2), NOBODY, NOBODY)])
