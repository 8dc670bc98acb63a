"""Scores, as pure functions."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist


def matched_pairs(found: np.ndarray, truth: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """One-to-one matches within a radius, as many as possible.

    Args:
        found: (N, 2) float.
        truth: (M, 2) float.
        radius: largest distance of a match, in the same unit.

    Returns:
        Two (P,) int64: the indices in `found` and in `truth` of each match.
    """
    if len(found) == 0 or len(truth) == 0:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    near = cdist(found, truth) <= radius
    rows, columns = linear_sum_assignment(near, maximize=True)
    matched = near[rows, columns]
    return rows[matched], columns[matched]


def match_points(found: np.ndarray, truth: np.ndarray, radius: float) -> int:
    """Number of `matched_pairs`."""
    return len(matched_pairs(found, truth, radius)[0])


def precision_recall_f1(matched: int, found: int, truth: int) -> tuple[float, float, float]:
    """Eq. 13 from counts; 0 where a denominator is 0."""
    precision = matched / found if found else 0.0
    recall = matched / truth if truth else 0.0
    f1 = 2 * precision * recall / (precision + recall) if matched else 0.0
    return precision, recall, f1
