"""What the SVM's score of a tile means: its probability (Platt), and the labels that it is compatible with (conformal).

Both rest on scores of tiles, or simulated bags, that the SVM had not seen.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss

from app.pipeline.types import Float64Array, Int64Array
from training.cells.tile_labels import count_labels
from training.label.models import Folds

MIN_TILES = 20
"""Number of tiles of each label that a probability needs."""
BINS = 5
COVERAGE = 0.9


def fit_calibration(scores: Float64Array, abnormal: Int64Array) -> dict[str, Any] | None:
    """Fit Platt's sigmoid (1999), with his targets that keep it finite when the scores separate the labels.

    Args:
        scores: (T,) of tiles, each by an SVM that had not seen it.
        abnormal: (T,) 1 = abnormal.

    Returns:
        `app.pipeline.manifest.Calibration`, or None if a label has fewer than 20 tiles.
    """
    counts = count_labels(abnormal)
    if min(counts.values()) < MIN_TILES:
        return None
    slope, intercept = _sigmoid(scores, abnormal)
    return {"slope": slope, "intercept": intercept, "tiles": counts}


def reliability(scores: Float64Array, abnormal: Int64Array, folds: Folds) -> dict[str, Any]:
    """Compare the probabilities of each fold's tiles, calibrated on the other folds, with the true labels.

    Args:
        scores: (T,) of tiles, each by an SVM that had not seen it.
        abnormal: (T,) 1 = abnormal.
        folds: indices of the tiles to calibrate on, and of the tiles to compare; each tile is compared once.

    Returns:
        brier: mean squared difference of probability and truth. brier_by_share: the same, if every probability were the
        share of abnormal tiles. table: one row for each fifth of 0–1 that holds tiles, with its bounds `low` and
        `high`, its number of `tiles`, their mean `probability` and their share of `abnormal` ones.
    """
    probability = np.zeros(len(scores))
    for rest, fold in folds:
        slope, intercept = _sigmoid(scores[rest], abnormal[rest])
        probability[fold] = 1 / (1 + np.exp(-(slope * scores[fold] + intercept)))
    bins = np.minimum((probability * BINS).astype(int), BINS - 1)
    table = [
        {
            "low": i / BINS,
            "high": (i + 1) / BINS,
            "tiles": int((bins == i).sum()),
            "probability": float(probability[bins == i].mean()),
            "abnormal": float(abnormal[bins == i].mean()),
        }
        for i in np.unique(bins).tolist()
    ]
    share = np.full(len(abnormal), abnormal.mean())
    return {
        "brier": float(brier_score_loss(abnormal, probability)),
        "brier_by_share": float(brier_score_loss(abnormal, share)),
        "table": table,
    }


def _sigmoid(scores: Float64Array, abnormal: Int64Array) -> tuple[float, float]:
    """Return the slope and the intercept of the sigmoid."""
    n_normal, n_abnormal = np.bincount(abnormal, minlength=2)
    target = np.where(abnormal == 1, (n_abnormal + 1) / (n_abnormal + 2), 1 / (n_normal + 2))
    # A target between 0 and 1 is an example of each label, weighted by it.
    logistic = LogisticRegression(C=np.inf).fit(
        np.concatenate([scores, scores])[:, None],
        np.repeat([1, 0], len(scores)),
        sample_weight=np.concatenate([target, 1 - target]),
    )
    return float(logistic.coef_[0, 0]), float(logistic.intercept_[0])


def fit_conformal(scores: Float64Array, abnormal: Int64Array) -> dict[str, Any]:
    """Fit limits that hold a new example of each label with probability 0.9, if it is exchangeable with the given ones.

    The scores are of models fitted without the example's fold (cross-conformal, Vovk 2015): like a split-conformal
    predictor, but every example counts. Each label has its own limit (Mondrian), and therefore its own coverage.

    Args:
        scores: (B,) positive = abnormal.
        abnormal: (B,) 1 = abnormal.

    Returns:
        `app.pipeline.manifest.Conformal`; a label with fewer than nine examples has no limit.
    """
    lowest = _limit(-scores[abnormal == 1])
    return {
        "coverage": COVERAGE,
        "max_normal": _limit(scores[abnormal == 0]),
        "min_abnormal": None if lowest is None else -lowest,
        "examples": count_labels(abnormal),
    }


def _limit(nonconformity: Float64Array) -> float | None:
    """Return the ⌈(n + 1) · 0.9⌉-th smallest of n values, None if there are too few."""
    rank = math.ceil((len(nonconformity) + 1) * COVERAGE)
    return None if rank > len(nonconformity) else float(np.sort(nonconformity)[rank - 1])
