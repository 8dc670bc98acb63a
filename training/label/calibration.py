"""Scores of tiles that the SVM had not seen → probabilities, and how far these can be relied on."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss

from app.pipeline.types import Float64Array, Int64Array
from training.cells.tile_labels import count_labels
from training.label.models import Folds

MIN_TILES = 20
"""Of each label, below which no probability is offered."""
BINS = 5


def fit_calibration(scores: Float64Array, abnormal: Int64Array) -> dict[str, Any] | None:
    """Platt's sigmoid (1999), with his targets that keep it finite where the scores part the labels.

    Args:
        scores: (T,) of tiles, each by an SVM that had not seen it.
        abnormal: (T,) 1 = abnormal.

    Returns:
        `app.pipeline.manifest.Calibration`, or None below 20 tiles of a label.
    """
    counts = count_labels(abnormal)
    if min(counts.values()) < MIN_TILES:
        return None
    slope, intercept = _sigmoid(scores, abnormal)
    return {"slope": slope, "intercept": intercept, "tiles": counts}


def reliability(scores: Float64Array, abnormal: Int64Array, folds: Folds) -> dict[str, Any]:
    """Hold the probabilities of each fold's tiles, calibrated on the others', against the truth.

    Returns:
        brier: mean squared difference of probability and truth; brier_by_share: that of always saying the share of
        abnormal tiles. table: for each fifth of 0–1 that holds tiles: low, high, tiles, probability (their mean) and
        abnormal (their share).
    """
    probability = np.zeros(len(scores))
    for rest, fold in folds:
        slope, intercept = _sigmoid(scores[rest], abnormal[rest])
        probability[fold] = 1 / (1 + np.exp(-(slope * scores[fold] + intercept)))
    place = np.minimum((probability * BINS).astype(int), BINS - 1)
    table = [
        {
            "low": i / BINS,
            "high": (i + 1) / BINS,
            "tiles": int((place == i).sum()),
            "probability": float(probability[place == i].mean()),
            "abnormal": float(abnormal[place == i].mean()),
        }
        for i in np.unique(place).tolist()
    ]
    share = np.full(len(abnormal), abnormal.mean())
    return {
        "brier": float(brier_score_loss(abnormal, probability)),
        "brier_by_share": float(brier_score_loss(abnormal, share)),
        "table": table,
    }


def _sigmoid(scores: Float64Array, abnormal: Int64Array) -> tuple[float, float]:
    n_normal, n_abnormal = np.bincount(abnormal, minlength=2)
    target = np.where(abnormal == 1, (n_abnormal + 1) / (n_abnormal + 2), 1 / (n_normal + 2))
    # Each tile counts for both labels, by its target.
    logistic = LogisticRegression(C=np.inf).fit(
        np.concatenate([scores, scores])[:, None],
        np.repeat([1, 0], len(scores)),
        sample_weight=np.concatenate([target, 1 - target]),
    )
    return float(logistic.coef_[0, 0]), float(logistic.intercept_[0])
