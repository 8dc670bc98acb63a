"""Named cells are dealt into folds: what is left out together stays together, so that no cell judges its own tile."""

from __future__ import annotations

import numpy as np

from app.pipeline.types import BoolArray, Int64Array

FOLDS = 5
"""Largest number of folds."""


def folds_of_groups(groups: Int64Array, types: Int64Array, n_types: int) -> Int64Array:
    """Deal groups into folds with similar numbers of cells of each type; the largest groups are dealt first.

    Args:
        groups: (N,) int64, the group of each cell.
        types: (N,) int64, 0 … T − 1.
        n_types: T.

    Returns:
        (N,) int64 the fold of each cell: at most FOLDS, and one for each group where there are fewer groups.
    """
    names, group = np.unique(groups, return_inverse=True)
    counts = np.zeros((len(names), n_types))
    np.add.at(counts, (group, types), 1)
    shares = counts / counts.sum(axis=0).clip(1)
    n_folds = min(FOLDS, len(names))
    held = np.zeros((n_folds, n_types))
    fold_of = np.zeros(len(names), np.int64)
    for dealt, one in enumerate(np.lexsort([np.arange(len(names)), -shares.sum(axis=1)])):
        if dealt < n_folds:
            fold = dealt  # no fold stays empty
        else:
            uneven = [_unevenness(held, shares[one], fold) for fold in range(n_folds)]
            fold = int(np.argmin(np.round(uneven, 9)))
        held[fold] += shares[one]
        fold_of[one] = fold
    return fold_of[group]


def _unevenness(held: np.ndarray, shares: np.ndarray, fold: int) -> float:
    """Return how uneven the folds are when one of them gets further shares of the types."""
    after = held.copy()
    after[fold] += shares
    return float(after.var(axis=0).sum())


def folds_of_cells(types: Int64Array, rng: np.random.Generator) -> Int64Array:
    """Deal single cells into FOLDS folds, (N,) int64, each with the same share of every type, (N,) int64."""
    order = rng.permutation(len(types))
    return _ranks(types, order) % FOLDS


def some_of(strata: Int64Array, share: float, rng: np.random.Generator) -> BoolArray:
    """Draw a share of the cells of each stratum, at least one of each.

    Args:
        strata: (N,) int64, the stratum of each cell, ≥ 0.
        share: 0 to 1. A smaller share of the same generator is a part of a larger one.
        rng: draws them.

    Returns:
        (N,) bool.
    """
    ranks = _ranks(strata, rng.permutation(len(strata)))
    return np.asarray(ranks < np.ceil(share * np.bincount(strata))[strata])


def _ranks(strata: Int64Array, order: Int64Array) -> Int64Array:
    """Return (N,) int64, the place of each cell among those of its stratum, in an order of all cells."""
    in_order = order[np.argsort(strata[order], kind="stable")]
    sizes = np.bincount(strata)
    ranks = np.empty(len(strata), np.int64)
    ranks[in_order] = np.arange(len(strata)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return ranks
