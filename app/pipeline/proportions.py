"""Clusters → proportions and their intervals (paper §III-B2)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from app.pipeline.types import Float32Array, Float64Array, Int64Array

Z_95 = 1.959963984540054
"""97.5% point of the standard normal distribution."""


@dataclass(frozen=True, slots=True)
class Proportions:
    """How a tile's cells fall into clusters.

    Attributes:
        clusters: (N,) int64, argmax of Q.
        counts: (K,) int64.
        values: (K,) float64 that sum to 1; None for a tile without cells.
        intervals: (K, 2) float64, 95% Wilson score interval of each proportion by itself; None likewise. It covers the
            sampling of cells only, not the errors of Q.
    """

    clusters: Int64Array
    counts: Int64Array
    values: Float64Array | None
    intervals: Float64Array | None


def summarise(cluster_probs: Float32Array) -> Proportions:
    """Count cells per cluster: P_i = X_i / ΣX.

    Args:
        cluster_probs: (N, K) float32.
    """
    n, k = cluster_probs.shape
    clusters = cluster_probs.argmax(axis=1).astype(np.int64)
    counts = np.bincount(clusters, minlength=k).astype(np.int64)
    if n == 0:
        return Proportions(clusters, counts, None, None)
    return Proportions(clusters, counts, counts / n, wilson(counts, n))


def wilson(counts: Int64Array, total: int) -> Float64Array:
    """95% Wilson score interval of binomial proportions (Wilson 1927).

    Args:
        counts: (K,) successes.
        total: trials, ≥ 1.

    Returns:
        (K, 2) float64 low, high within [0, 1].
    """
    p = counts / total
    centre = p + Z_95**2 / (2 * total)
    half = Z_95 * np.sqrt(p * (1 - p) / total + Z_95**2 / (4 * total**2))
    bounds = np.stack([centre - half, centre + half], axis=1) / (1 + Z_95**2 / total)
    return np.clip(bounds, 0.0, 1.0)
