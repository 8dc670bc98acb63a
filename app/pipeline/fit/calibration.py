"""How right probabilities are: the calibration error, and the temperature that corrects logits."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from app.pipeline.types import Float64Array, Int64Array

BINS = 15
"""Number of equal ranges of the largest probability that the calibration error is summed over."""
TEMPERATURES = (0.1, 100.0)
"""Lowest and highest temperature that is tried."""


def fit_temperature(logits: Float64Array, known: Int64Array, smoothing: float = 0.0) -> float:
    """Return the temperature T for which softmax(logits / T) makes what is known most likely (Guo et al. 2017).

    Args:
        logits: (N, K), of cells that were not learned from.
        known: (N,) the column that is right for each cell.
        smoothing: this share of each cell counts for all columns alike. Without it, a few cells that are all right
            would ask for probabilities of 1.
    """

    def loss(log_temperature: float) -> float:
        log_probabilities = log_softmax(logits / np.exp(log_temperature), axis=1)
        right = log_probabilities[np.arange(len(known)), known].mean()
        return float(-(1 - smoothing) * right - smoothing * log_probabilities.mean())

    found = minimize_scalar(loss, bounds=np.log(TEMPERATURES), method="bounded")
    return float(np.exp(found.x))


def calibration_error(logits: Float64Array, known: Int64Array) -> float:
    """Return by how much the largest probability of a cell differs from the share of right cells, on average.

    This is the expected calibration error: cells are put into bins by their largest probability.

    Args:
        logits: (N, K).
        known: (N,) the column that is right for each cell.
    """
    probabilities = np.exp(log_softmax(logits, axis=1))
    largest, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == known
    bins = np.minimum((largest * BINS).astype(int), BINS - 1)
    gaps = np.abs(np.bincount(bins, largest - right, minlength=BINS))
    return float(gaps.sum() / len(known))
