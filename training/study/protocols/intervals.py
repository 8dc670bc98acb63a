"""Coverage of the intervals of proportions: how often they hold the truth, in a simulation with real cells."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import binomtest

from app.pipeline.proportions import CONFIDENCE, summarise
from app.pipeline.types import Float32Array, Float64Array, Int64Array

SIZES = (20, 50, 100, 200, 500, 1000)
"""Numbers of cells in a simulated tile."""
RARE = 0.02
"""Share of the cells of the rarest cluster in the second population."""


def evaluate_intervals(
    cluster_probs: Float32Array, anchors: Int64Array, draws: int, seed: int = 0
) -> list[dict[str, Any]]:
    """Draw tiles from real cells, so that their proportions are known, and count how often the intervals hold them.

    Args:
        cluster_probs: (N, K) float32, Q's probabilities of the real cells.
        anchors: (N,) int64, the cluster that Q was taught for each.
        draws: number of simulated tiles of each size.
        seed: seed of the draws.

    Returns:
        A row for each population and size: population, cells, draws and confidence; coverage, the share of tiles whose
        intervals hold all K true proportions if a cell's true cluster is drawn by Q's probabilities;
        coverage_by_anchors, the same if the true cluster is the anchor; coverage_of_counts, the first for 95% Wilson
        intervals of the counts, each cluster by itself; and width, the mean of the widest interval.
    """
    random = np.random.default_rng(seed)
    rows = []
    for population, weights in _populations(cluster_probs).items():
        truth = weights @ cluster_probs
        by_anchors = np.bincount(anchors, weights, minlength=cluster_probs.shape[1]).astype(np.float64)
        for size in SIZES:
            held = np.zeros((draws, 3), bool)
            widths = np.zeros(draws)
            for i in range(draws):
                cells = cluster_probs[random.choice(len(weights), size, p=weights)]
                found = summarise(cells, np.zeros(size, bool))
                intervals = np.asarray(found.intervals)
                widths[i] = (intervals[:, 1] - intervals[:, 0]).max()
                counted = _wilson(found.counts, size)
                held[i] = _hold(intervals, truth), _hold(intervals, by_anchors), _hold(counted, truth)
            coverage, of_anchors, of_counts = held.mean(axis=0).tolist()
            rows.append(
                {
                    "population": population,
                    "cells": size,
                    "draws": draws,
                    "confidence": CONFIDENCE,
                    "coverage": coverage,
                    "coverage_by_anchors": of_anchors,
                    "coverage_of_counts": of_counts,
                    "width": float(widths.mean()),
                }
            )
    return rows


def _populations(cluster_probs: Float32Array) -> dict[str, Float64Array]:
    """Return the weights of the cells in each population, which sum to 1."""
    n, k = cluster_probs.shape
    clusters = cluster_probs.argmax(axis=1)
    rarest = int(np.bincount(clusters, minlength=k).argmin())
    is_rare = clusters == rarest
    rare = np.where(is_rare, RARE / max(is_rare.sum(), 1), (1 - RARE) / max((~is_rare).sum(), 1))
    return {"all cells": np.full(n, 1 / n), f"cluster {rarest} made rare": rare / rare.sum()}


def _hold(intervals: Float64Array, truth: Float64Array) -> bool:
    return bool(((intervals[:, 0] <= truth) & (truth <= intervals[:, 1])).all())


def _wilson(counts: Int64Array, n: int) -> Float64Array:
    found = [binomtest(int(count), n).proportion_ci(CONFIDENCE, method="wilson") for count in counts]
    return np.array([[interval.low, interval.high] for interval in found])
