"""How right probabilities are, and the temperature that corrects them."""

import numpy as np
import pytest
from scipy.special import softmax

from app.pipeline.fit.calibration import TEMPERATURES, calibration_error, fit_temperature


def drawn(n=5000):
    """Logits, and clusters that are drawn by their softmax."""
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (n, 5))
    return logits, (softmax(logits, axis=1).cumsum(axis=1) < random.random((n, 1))).sum(axis=1).clip(max=4)


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.0])
def test_temperature_undoes_what_the_logits_were_multiplied_by(factor):
    logits, clusters = drawn()
    assert fit_temperature(factor * logits, clusters) == pytest.approx(factor, rel=0.06)
    assert calibration_error(logits, clusters) < 0.02
    assert (calibration_error(factor * logits, clusters) > 0.05) == (factor != 1)


def test_error_is_the_difference_of_confidence_and_share_of_right_cells():
    """Of ten cells that are .8 sure, six are right; of ten that are .9 sure, all are."""
    logits = np.log([[0.8, 0.2]] * 10 + [[0.9, 0.1]] * 10)
    clusters = np.repeat([0, 1, 0], [6, 4, 10])
    assert calibration_error(logits, clusters) == pytest.approx((0.2 + 0.1) / 2)


def test_smoothing_keeps_a_few_right_cells_from_certainty():
    logits, clusters = np.array([[1.0, -1.0]] * 10), np.zeros(10, np.int64)
    assert fit_temperature(logits, clusters) == pytest.approx(TEMPERATURES[0], rel=0.01)
    smoothed = softmax(logits[0] / fit_temperature(logits, clusters, smoothing=0.1))
    assert smoothed[0] == pytest.approx(0.95, abs=0.001), "half of the share that counts for both goes to the other"
