import numpy as np
import pytest

from training.study.metrics.points import match_points, matched_pairs, precision_recall_f1


@pytest.mark.parametrize(
    ("found", "truth", "radius", "matches"),
    [
        pytest.param([[0, 0]], [[6, 8]], 10, 1, id="at the radius"),
        pytest.param([[0, 0]], [[6, 8.001]], 10, 0, id="just outside"),
        pytest.param([[5, 0], [14, 0]], [[0, 0], [9, 0]], 6, 2, id="nearest first would lose one"),
        pytest.param([[0, 0], [1, 0], [2, 0]], [[1, 0]], 5, 1, id="one dot is found once"),
        pytest.param([[1, 0]], [[0, 0], [1, 0], [2, 0]], 5, 1, id="one find takes one dot"),
        pytest.param([[0, 0], [10, 0]], [[10, 0], [0, 0]], 1, 2, id="in another order"),
        pytest.param([[0, 0], [100, 100]], [[50, 50]], 10, 0, id="far away"),
        pytest.param(np.zeros((0, 2)), [[0, 0]], 10, 0, id="nothing found"),
        pytest.param([[0, 0]], np.zeros((0, 2)), 10, 0, id="nothing there"),
        pytest.param(np.zeros((0, 2)), np.zeros((0, 2)), 10, 0, id="nothing at all"),
    ],
)
def test_matches_within_a_radius(found, truth, radius, matches):
    found, truth = np.asarray(found, float), np.asarray(truth, float)
    assert match_points(found, truth, radius) == matches
    assert match_points(truth, found, radius) == matches


@pytest.mark.parametrize(
    ("counts", "scores"),
    [
        ((6, 8, 12), (0.75, 0.5, 0.6)),
        ((5, 5, 5), (1, 1, 1)),
        ((0, 4, 4), (0, 0, 0)),
        ((0, 0, 4), (0, 0, 0)),
        ((0, 4, 0), (0, 0, 0)),
        ((0, 0, 0), (0, 0, 0)),
    ],
)
def test_precision_recall_and_f1_of_counts(counts, scores):
    assert precision_recall_f1(*counts) == pytest.approx(scores)


def test_pairs_name_what_was_matched():
    found, truth = matched_pairs(np.array([[50.0, 50.0], [1.0, 0.0]]), np.array([[0.0, 0.0], [200.0, 0.0]]), 5)
    assert (found.tolist(), truth.tolist()) == ([1], [0])
