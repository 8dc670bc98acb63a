"""Confusion, scores, and the threshold below which a cell gets no type."""

import numpy as np
import pytest

from app.pipeline.cell_types import NO_TYPE
from app.review.scores import choose_threshold, confusion_of, macro_f, score_types


def test_scores_of_a_confusion_that_was_counted_by_hand():
    named = np.array([0, 0, 0, 0, 1, 1, 1, 2])
    given = np.array([0, 0, 1, NO_TYPE, 1, 1, 0, 2])
    confusion = confusion_of(named, given, 4)
    assert confusion.tolist() == [[2, 1, 0, 0, 1], [1, 2, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 0, 0]]
    first, second, third, nobody = score_types(confusion)
    assert (first.n, first.precision, first.recall, first.f) == pytest.approx((4, 2 / 3, 0.5, 4 / 7))
    assert (second.n, second.precision, second.recall, second.f) == pytest.approx((3, 2 / 3, 2 / 3, 2 / 3))
    assert (third.precision, third.recall, third.f) == (1, 1, 1)
    assert (nobody.n, nobody.precision, nobody.recall, nobody.f) == (0, None, None, None)
    assert macro_f(named, given, 4) == pytest.approx((4 / 7 + 2 / 3 + 1) / 3)


def test_a_type_that_is_never_given_has_no_precision_and_an_f_of_0():
    (_, never) = score_types(confusion_of(np.array([0, 1]), np.array([0, 0]), 2))
    assert (never.precision, never.recall, never.f) == (None, 0, 0)


def test_threshold_halves_the_share_of_wrong_cells():
    """Ten cells, two wrong: at most one in ten may stay wrong, which the nine most probable ones do not reach."""
    largest = np.arange(10, 0, -1) / 10
    right = np.array([1, 1, 1, 1, 1, 1, 1, 0, 1, 0], bool)
    assert choose_threshold(largest, right) == pytest.approx(0.35), "between the seventh cell and the wrong eighth"


def test_threshold_is_between_two_probabilities_and_equal_ones_stay_together():
    largest = np.array([0.9] * 6 + [0.6] * 4)
    right = np.array([1] * 6 + [1, 1, 0, 0], bool)
    assert choose_threshold(largest, right) == pytest.approx(0.75)


@pytest.mark.parametrize(
    "right",
    [
        pytest.param([1, 1, 1, 1], id="nothing is wrong"),
        pytest.param([0, 0, 0, 1], id="the most probable cells are the wrong ones"),
        pytest.param([1, 0, 1, 0], id="it would leave out more than half"),
    ],
)
def test_every_cell_gets_a_type_where_nothing_is_gained(right):
    assert choose_threshold(np.array([0.9, 0.8, 0.7, 0.6]), np.array(right, bool)) == 0
