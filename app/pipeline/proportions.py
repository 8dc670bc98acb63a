"""Clusters → proportions and their intervals (paper §III-B2)."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from app.pipeline.types import BoolArray, Float32Array, Float64Array, Int64Array

CONFIDENCE = 0.95
"""Confidence with which all intervals of a tile hold together."""
CERTAIN_CELLS = 20
"""How many cells of which Q is certain are added to the estimate of the spread, which few cells hardly determine."""


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
    intervals = simultaneous_intervals(cluster_probs[counted].astype(np.float64))
    # Where Q is unsure of many cells, the counted proportion may lie outside the interval of the mean probability.
    values = counts / n
    intervals = np.stack([np.minimum(intervals[:, 0], values), np.maximum(intervals[:, 1], values)], axis=1)
    return Proportions(clusters, outlier, counts, values, intervals)


def simultaneous_intervals(probabilities: Float64Array) -> Float64Array:
    """Return score intervals that hold for the proportions of all clusters at once with 95% confidence.

    The proportions are those of the tissue that the cells are a random sample of, where a cell is in cluster k with the
    probability that Q gives it. The mean probability is an unbiased estimate of them. The spread of the probabilities
    contains both the sampling of cells and the doubt about each cell. It yields the effective number of cells (Korn &
    Graubard 1998) for Wilson's interval (1927), whose level is chosen so that all K hold at once (Bonferroni, as
    Goodman 1965).

    Args:
        probabilities: (N, K) float64, N ≥ 1, rows sum to 1.

    Returns:
        (K, 2) float64 low, high within [0, 1].
    """
    n, k = probabilities.shape
    # The intervals of two clusters mirror each other, so that they are one statement and not two.
    z = NormalDist().inv_cdf(1 - (1 - CONFIDENCE) / (2 * (k if k > 2 else 1)))
    p = probabilities.mean(axis=0)
    certain = p * (1 - p)
    spread = (n * probabilities.var(axis=0) + CERTAIN_CELLS * certain) / (n + CERTAIN_CELLS)
    # Cells of which Q is certain have the spread p(1 − p), and those of which it is unsure have less.
    n_effective = n * np.divide(certain, spread, out=np.ones(k), where=spread > 0)
    centre = p + z**2 / (2 * n_effective)
    half = z * np.sqrt(certain / n_effective + z**2 / (4 * n_effective**2))
    bounds = np.stack([centre - half, centre + half], axis=1) / (1 + z**2 / n_effective)[:, None]
    return np.asarray(np.clip(bounds, 0.0, 1.0))
