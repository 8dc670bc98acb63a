"""What the SVM's score of a tile means: its probability (Platt), and the labels that it is compatible with (conformal).

Both rest on scores of tiles, or simulated bags, that an SVM had not seen, nor any other tile of the same patient.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss

from app.pipeline.types import Float64Array, Int64Array
from training.cells.tile_labels import LABELS, count_labels
from training.config import FitConfig
from training.errors import DataError
from training.label.models import Examples, Folds, fit_svm, svm_scores

MIN_TILES = 20
"""Number of tiles of each label that a probability needs."""
BINS = 5
COVERAGE = 0.9
ROUNDING = 1e-9


def fit_calibration(scores: Float64Array, abnormal: Int64Array) -> dict[str, Any] | None:
    """Fit Platt's sigmoid (1999), with his targets that keep it finite when the scores separate the labels.

    Args:
        scores: (T,) of tiles, each by an SVM that had not seen it.
        abnormal: (T,) 1 = abnormal.

    Returns:
        `app.pipeline.manifest.Calibration`, or None if a label has fewer than 20 tiles.

    Raises:
        DataError: abnormal tiles do not score higher than normal ones, so that the sigmoid would turn the score round.
    """
    counts = count_labels(abnormal)
    if min(counts.values()) < MIN_TILES:
        return None
    slope, intercept = _sigmoid(scores, abnormal)
    if slope <= 0:
        raise DataError(
            f"On tiles left out of the fit, abnormal ones do not score higher than normal ones (slope {slope:.3g}), "
            "so the proportions of the clusters do not tell the labels apart. Check the labels; if they are right, "
            "more tiles or other clusters are needed."
        )
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


def fit_conformal(examples: Examples, units: Int64Array, named: str, config: FitConfig) -> dict[str, Any]:
    """Fit limits that hold a tile of a new unit of each label with probability 0.9, if it is like the given ones.

    Jackknife-minmax (Barber et al. 2021): each unit is left out of an SVM of its own, which scores the unit's tiles.
    The limit is a quantile of these scores, and the service holds the most suitable of the scores of all these SVMs
    against it. A unit counts once, however many tiles it has, because they share its weight. Each label has its own
    limit (Mondrian), and therefore its own coverage.

    Args:
        examples: B tiles or bags.
        units: (B,) int64, what belongs together and is left out together.
        named: what a unit is, "patients" or "tiles".
        config: C and seed.

    Returns:
        `app.pipeline.manifest.Conformal`; a label with fewer than nine units has no limit.
    """
    normal, without_a_normal = _limit(examples, units, 0, config)
    abnormal, without_an_abnormal = _limit(examples, units, 1, config)
    n_units = {name: len(np.unique(units[examples.abnormal == i])) for i, name in enumerate(LABELS)}
    return {
        "coverage": COVERAGE,
        "max_normal": normal,
        "min_abnormal": None if abnormal is None else -abnormal,
        "examples": count_labels(examples.abnormal),
        "units": named,
        "n_units": n_units,
        "without_a_normal": without_a_normal,
        "without_an_abnormal": without_an_abnormal,
    }


def _limit(
    examples: Examples, units: Int64Array, label: int, config: FitConfig
) -> tuple[float | None, list[dict[str, Any]]]:
    """Return the limit below which a label's scores lie (abnormal ones negated), and the SVMs that gave these scores.

    With fewer than nine units of the label, there is no limit and no SVM.
    """
    own = np.flatnonzero(examples.abnormal == label)
    scores, svms = np.zeros(len(own)), []
    names = np.unique(units[own])
    if quantile(scores, units[own]) is None:
        return None, []
    for name in names:
        svm = fit_svm(examples[np.flatnonzero(units != name)], config)
        mine = units[own] == name
        scores[mine] = svm_scores(svm, examples.descriptors[own[mine]]) * (-1 if label else 1)
        svms.append(svm)
    return quantile(scores, units[own]), svms


def quantile(scores: Float64Array, units: Int64Array) -> float | None:
    """Return the smallest score that reaches 0.9 of the weight of n + 1 units; None if n units cannot reach it.

    Each unit has a weight of 1, shared evenly among its scores. The weight of the new unit lies above all scores.

    Args:
        scores: (B,).
        units: (B,) int64, the unit of each.
    """
    names, unit, sizes = np.unique(units, return_inverse=True, return_counts=True)
    order = np.argsort(scores, kind="stable")
    reached = np.cumsum(1 / sizes[unit[order]]) / (len(names) + 1) >= COVERAGE - ROUNDING
    return float(scores[order[reached.argmax()]]) if reached.any() else None
