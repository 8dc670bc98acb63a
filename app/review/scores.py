"""How right given types are: confusion, and precision, recall and F of each type; when a cell gets no type."""

from __future__ import annotations

import numpy as np

from app.pipeline.cell_classifier import TypeValidation
from app.pipeline.cell_types import NO_TYPE
from app.pipeline.types import BoolArray, Float64Array, Int64Array

LEAST_KEPT = 0.5
"""No threshold leaves more than the rest of the cells without a type."""


def confusion_of(named: Int64Array, given: Int64Array, n_types: int) -> Int64Array:
    """Count cells by the type that people gave and the type that a classifier gave.

    Args:
        named: (N,) int64, 0 … T − 1.
        given: (N,) int64; NO_TYPE where there is none.
        n_types: T.

    Returns:
        (T, T + 1) int64, a row for each named type, a column for each given one, and a last one for no type.
    """
    counts = np.zeros((n_types, n_types + 1), np.int64)
    np.add.at(counts, (named, np.where(given == NO_TYPE, n_types, given)), 1)
    return counts


def score_types(confusion: Int64Array) -> tuple[TypeValidation, ...]:
    """Return how well each type was recognised; a cell without a type counts as not found.

    Args:
        confusion: (T, T + 1) int64, see `confusion_of`.
    """
    right, named, given = confusion.diagonal(), confusion.sum(axis=1), confusion[:, :-1].sum(axis=0)
    return tuple(
        TypeValidation(
            n=int(n),
            precision=float(hits / n_given) if n_given else None,
            recall=float(hits / n) if n else None,
            f=float(2 * hits / (n + n_given)) if n else None,
        )
        for hits, n, n_given in zip(right, named, given, strict=True)
    )


def macro_f(named: Int64Array, given: Int64Array, n_types: int) -> float:
    """Return the mean F of the types that people gave to any cell.

    Args:
        named: (N,) int64, 0 … T − 1, N > 0.
        given: (N,) int64.
        n_types: T.
    """
    return float(np.mean([one.f for one in score_types(confusion_of(named, given, n_types)) if one.f is not None]))


def choose_threshold(largest: Float64Array, right: BoolArray) -> float:
    """Return the largest probability below which a cell gets no type.

    It is the lowest with which the share of wrong cells, among those that get a type, is at most half of what it is
    among all. Where that would leave more than half of the cells without a type, it is 0, and every cell gets a type.

    Args:
        largest: (N,) float64, the largest probability of each cell, N > 0.
        right: (N,) bool, whether the most probable type is the right one.
    """
    wanted = 1 - (1 - right.mean()) / 2
    values, first = np.unique(-largest, return_index=False, return_inverse=True)
    n_at = np.bincount(first, minlength=len(values))
    n_right_at = np.bincount(first, right, minlength=len(values))
    kept, n_right = np.cumsum(n_at), np.cumsum(n_right_at)
    good = np.flatnonzero((n_right >= wanted * kept - 1e-9) & (kept >= LEAST_KEPT * len(largest)))
    if not good.size or good[-1] == len(values) - 1:
        return 0.0
    # Between two probabilities, so that the last digit of one decides nothing.
    return float(-(values[good[-1]] + values[good[-1] + 1]) / 2)
