"""Scores of examples that the SVM had not seen → the scores that each label can have."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from app.pipeline.types import Float64Array, Int64Array
from training.cells.tile_labels import count_labels

COVERAGE = 0.9


def fit_conformal(scores: Float64Array, abnormal: Int64Array) -> dict[str, Any]:
    """Limits that hold a new example of each label with probability 0.9, if it is exchangeable with those given.

    The scores are of models fitted without the example's fold (cross-conformal, Vovk 2015): as a split-conformal
    predictor, but every example counts. Each label has its own limit (Mondrian), so its coverage is its own.

    Args:
        scores: (B,) positive = abnormal.
        abnormal: (B,) 1 = abnormal.

    Returns:
        `app.pipeline.manifest.Conformal`; a label of fewer than nine examples has no limit.
    """
    lowest = _limit(-scores[abnormal == 1])
    return {
        "coverage": COVERAGE,
        "max_normal": _limit(scores[abnormal == 0]),
        "min_abnormal": None if lowest is None else -lowest,
        "examples": count_labels(abnormal),
    }


def _limit(strangeness: Float64Array) -> float | None:
    """The ⌈(n + 1) · 0.9⌉-th smallest of n values."""
    rank = math.ceil((len(strangeness) + 1) * COVERAGE)
    return None if rank > len(strangeness) else float(np.sort(strangeness)[rank - 1])
