"""Scores, as pure functions."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist


def match_points(found: np.ndarray, truth: np.ndarray, radius: float) -> int:
    """One-to-one matches within a radius, as many as possible.

    Args:
        found: (N, 2) float.
        truth: (M, 2) float.
        radius: largest distance of a match, in the same unit.

    Returns:
        Number of matches.
    """
    if len(found) == 0 or len(truth) == 0:
        return 0
    near = cdist(truth, found) <= radius
    rows, columns = linear_sum_assignment(near, maximize=True)
    return int(near[rows, columns].sum())


def precision_recall_f1(matched: int, found: int, truth: int) -> tuple[float, float, float]:
    """Eq. 13 from counts; 0 where a denominator is 0."""
    precision = matched / found if found else 0.0
    recall = matched / truth if truth else 0.0
    f1 = 2 * precision * recall / (precision + recall) if matched else 0.0
    return precision, recall, f1
