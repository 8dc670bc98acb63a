"""Scores of predicted types, those of Table I, as pure functions."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import precision_recall_fscore_support

from app.pipeline.types import Int64Array


def score_types(types: Int64Array, found: Int64Array) -> dict[str, float]:
    """Return the scores of the types that were found for cells.

    Args:
        types: (N,) int64, type of each cell, N ≥ 1.
        found: (N,) int64, the type that was found for each.

    Returns:
        precision, recall and f1 (eq. 13), means over the types weighted by their cells; macro_f1, the plain mean of F
        over the types that occur among the cells, so that a rare type counts as much as a common one.
    """
    present = np.unique(types)
    precision, recall, f1, cells = precision_recall_fscore_support(types, found, labels=present, zero_division=0)
    weights = cells / cells.sum()
    return {
        "precision": float(weights @ precision),
        "recall": float(weights @ recall),
        "f1": float(weights @ f1),
        "macro_f1": float(f1.mean()),
    }
