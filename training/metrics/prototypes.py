"""How much generated cells are like the real cells of their cluster, as pure functions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from app.pipeline.types import Float32Array, Float64Array, Int64Array, UInt8Array

SUBSETS, SUBSET_SIZE = 100, 100
"""The kernel inception distance is the mean over this many pairs of random subsets of this size."""
FOLDS = 5
PENALTY_C = 0.01
"""Inverse strength of the penalty of the classifier, which has far more features than cells."""
ROWS = 256
"""Cells that are compared with all others at a time, which bounds the memory."""


def kid(first: Float32Array, second: Float32Array, seed: int = 0) -> tuple[float, float]:
    """Return the kernel inception distance of two sets of features (Bińkowski et al. 2018).

    It is the unbiased estimate of the squared maximum mean discrepancy for the kernel (x·y / D + 1)³. It does not
    depend on the number of cells, and is 0 on average, so sometimes negative, where both sets are of one distribution.

    Args:
        first: (N, D) float32, N ≥ 2.
        second: (M, D) float32, M ≥ 2.
        seed: seed of the choice of subsets.

    Returns:
        Mean and standard deviation over SUBSETS pairs of subsets of SUBSET_SIZE cells, or of as many as the smaller
        set has.

    Raises:
        ValueError: a set has fewer than two cells.
    """
    size = min(SUBSET_SIZE, len(first), len(second))
    if size < 2:
        raise ValueError(f"Both sets must have at least 2 cells, found {len(first)} and {len(second)}.")
    random = np.random.default_rng(seed)
    found = [
        _squared_mmd(
            *(some[random.choice(len(some), size, replace=False)].astype(np.float64) for some in (first, second))
        )
        for _ in range(SUBSETS)
    ]
    return float(np.mean(found)), float(np.std(found))


def told_apart(real: Float32Array, generated: Float32Array, seed: int) -> float:
    """Return how often a logistic regression that parts generated from real cells is right on cells left out of it.

    Each cell is left out once, in one of FOLDS folds. The classes are balanced, so that .5 is what guessing gives.

    Args:
        real: (N, D) float32 features.
        generated: (M, D) float32 features; of the larger set, as many cells as the smaller one has are chosen.
        seed: seed of that choice and of the folds.

    Raises:
        ValueError: a set has fewer than FOLDS cells.
    """
    size = min(len(real), len(generated))
    if size < FOLDS:
        raise ValueError(f"Both sets must have at least {FOLDS} cells, found {len(real)} and {len(generated)}.")
    random = np.random.default_rng(seed)
    features = np.concatenate([some[random.choice(len(some), size, replace=False)] for some in (real, generated)])
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=PENALTY_C, max_iter=1000))
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    # Folds may differ by a cell; the share of right cells in them all is the mean weighted by their sizes.
    is_generated = np.repeat([0, 1], size)
    sizes = [len(left_out) for _, left_out in folds.split(features, is_generated)]
    return float(np.average(cross_val_score(classifier, features, is_generated, cv=folds), weights=sizes))


@dataclass(frozen=True)
class Nearest:
    """The nearest real cell of each of M generated cells, beside the nearest other cell of each of N real ones.

    Distances are root mean squares over all pixels and channels, in grey levels of 0 to 255.

    Attributes:
        real: (M,) int64, the index of the real cell that is nearest to each generated one.
        distance: (M,) float64, how far it is.
        between_real: (N,) float64, how far the nearest other real cell is from each real one.
    """

    real: Int64Array
    distance: Float64Array
    between_real: Float64Array


def nearest_real(generated: UInt8Array, real: UInt8Array) -> Nearest:
    """Find the nearest real cells, so that copies of training cells are seen.

    A cell may be turned and mirrored, as it is while the GAN is trained.

    Args:
        generated: (M, S, S, C) uint8, M ≥ 1.
        real: (N, S, S, C) uint8, N ≥ 2.

    Raises:
        ValueError: there are fewer than two real cells.
    """
    if len(real) < 2:
        raise ValueError(f"There must be at least 2 real cells, found {len(real)}.")
    index, distance = _nearest(generated, real, itself=False)
    return Nearest(index, distance, _nearest(real, real, itself=True)[1])


def _squared_mmd(x: Float64Array, y: Float64Array) -> float:
    """Return the unbiased estimate of two samples of the same size."""
    size, n_features = x.shape
    within = 0.0
    for some in (x, y):
        kernel = (some @ some.T / n_features + 1) ** 3
        within += float(kernel.sum() - np.trace(kernel)) / (size * (size - 1))
    return within - 2 * float(((x @ y.T / n_features + 1) ** 3).mean())


def _nearest(cells: UInt8Array, real: UInt8Array, *, itself: bool) -> tuple[Int64Array, Float64Array]:
    """Return index and distance of the nearest real cell; `itself`: cell i is real cell i, which does not count."""
    flat = real.reshape(len(real), -1).astype(np.float32)
    squares = (flat**2).sum(axis=1)
    index, distance = np.zeros(len(cells), np.int64), np.full(len(cells), np.inf)
    for turned in _symmetries(cells):
        rows = turned.reshape(len(cells), -1).astype(np.float32)
        for start in range(0, len(rows), ROWS):
            some = rows[start : start + ROWS]
            far = squares - 2 * some @ flat.T
            if itself:
                far[np.arange(len(some)), start + np.arange(len(some))] = np.inf
            chosen = far.argmin(axis=1)
            # Rounding may hide that a cell is a copy, so the distance is measured again.
            exact = np.sqrt(((some - flat[chosen]).astype(np.float64) ** 2).mean(axis=1))
            nearer = np.flatnonzero(exact < distance[start : start + ROWS]) + start
            index[nearer], distance[nearer] = chosen[nearer - start], exact[nearer - start]
    return index, distance


def _symmetries(cells: UInt8Array) -> list[UInt8Array]:
    """Return the eight turned and mirrored copies of (N, S, S, C) cells."""
    turned = [np.rot90(cells, quarter, axes=(1, 2)) for quarter in range(4)]
    return turned + [one[:, :, ::-1] for one in turned]
