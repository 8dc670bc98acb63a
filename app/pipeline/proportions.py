"""Clusters → proportions and their intervals (paper §III-B2)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import betaincinv

from app.pipeline.types import BoolArray, Float32Array, Float64Array, Int64Array

CONFIDENCE = 0.95
"""Confidence with which all intervals of a tile hold together."""
TINY = 1e-9
"""Stands for 0, where a beta distribution has no parameter of 0."""


@dataclass(frozen=True, slots=True)
class Proportions:
    """How a tile's N cells fall into K clusters; outliers belong to none.

    Attributes:
        clusters: (N,) int64, most probable cluster of every cell, outliers included.
        outlier: (N,) bool, which cells are outliers, and are not counted.
        counts: (K,) int64, number of counted cells in each cluster.
        values: (K,) float64 proportions that sum to 1; None for a tile without a counted cell.
        intervals: (K, 2) float64, see `simultaneous_intervals`; None for a tile without a counted cell.
    """

    clusters: Int64Array
    outlier: BoolArray
    counts: Int64Array
    values: Float64Array | None
    intervals: Float64Array | None

    @property
    def n_counted(self) -> int:
        """Number of cells that the proportions are computed from."""
        return int(self.counts.sum())


def summarise(cluster_probs: Float32Array, outlier: BoolArray) -> Proportions:
    """Count the cells of each cluster: P_i = X_i / ΣX.

    Args:
        cluster_probs: (N, K) float32.
        outlier: (N,) bool, which cells to leave out.
    """
    clusters = cluster_probs.argmax(axis=1).astype(np.int64)
    counted = ~outlier
    counts = np.bincount(clusters[counted], minlength=cluster_probs.shape[1]).astype(np.int64)
    n = int(counts.sum())
    if n == 0:
        return Proportions(clusters, outlier, counts, None, None)
    intervals = simultaneous_intervals(cluster_probs[counted].astype(np.float64), clusters[counted])
    return Proportions(clusters, outlier, counts, counts / n, intervals)


def simultaneous_intervals(probabilities: Float64Array, clusters: Int64Array) -> Float64Array:
    """Return intervals that hold the true share of every cluster at once with 95% confidence.

    The true shares are those of the tissue that the cells are a random sample of. A cell is counted in its most
    probable cluster, which may be the wrong one, so each end of an interval allows for the doubt that moves it out.
    For the low end, a cell counted in the cluster weighs as much as the probability that it belongs there. For the high
    end, a cell counted elsewhere weighs as much as the probability that it belongs here after all. If the probabilities
    are right, the true share lies between the expected means of these weights. The sampling of cells is allowed for by
    the exact interval of a binomial proportion (Clopper & Pearson 1934) around each of them, at a level for which all K
    clusters hold at once (Bonferroni).

    Args:
        probabilities: (N, K) float64, N ≥ 1, rows sum to 1.
        clusters: (N,) int64, the cluster that each cell is counted in.

    Returns:
        (K, 2) float64 low, high within [0, 1]; count / N and the mean probability lie between them. If Q is certain of
        every cell, only the sampling of cells is left.
    """
    n, k = probabilities.shape
    # The intervals of two clusters mirror each other, so that they are one statement and not two.
    beyond = (1 - CONFIDENCE) / (2 * (k if k > 2 else 1))
    counted = clusters[:, None] == np.arange(k)
    least = np.where(counted, probabilities, 0).sum(axis=0).clip(0, n)
    most = np.where(counted, 1, probabilities).sum(axis=0).clip(0, n)
    # Quantiles of beta distributions; an end is 0 or 1 where not even one cell could lie beyond it.
    low = np.where(least > 0, betaincinv(np.maximum(least, TINY), n - least + 1, beyond), 0.0)
    high = np.where(most < n, betaincinv(most + 1, np.maximum(n - most, TINY), 1 - beyond), 1.0)
    return np.stack([low, high], axis=1)
