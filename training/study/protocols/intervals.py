"""Coverage of the intervals of proportions: how often they hold the truth, in a simulation with real cells."""

from __future__ import annotations

from typing import Any

import numpy as np

from app.pipeline.networks.encode import tempered
from app.pipeline.proportions import CONFIDENCE, summarise
from app.pipeline.types import Float32Array, Float64Array

SIZES = (20, 50, 100, 200, 500, 1000)
"""Numbers of cells in a simulated tile."""
RARE = 0.02
"""Share of the cells of the rarest cluster in the second population."""
TOO_SURE, TOO_UNSURE = 0.5, 2.0
"""Temperatures of a Q whose logits are twice or half as large as they should be, and that nobody has calibrated."""


def evaluate_intervals(cluster_probs: Float32Array, draws: int, seed: int = 0) -> list[dict[str, Any]]:
    """Draw tiles from real cells, so that their proportions are known, and count how often the intervals hold them.

    Args:
        cluster_probs: (N, K) float32, Q's calibrated probabilities of the real cells.
        draws: number of simulated tiles of each size.
        seed: seed of the draws.

    Returns:
        A row for each population and size: population, cells, draws and confidence; coverage, the share of tiles whose
        intervals hold all K true proportions if a cell's true cluster is drawn by Q's probabilities;
        coverage_too_sure and coverage_too_unsure, the same if Q's probabilities are those of logits twice or half as
        large, without a calibration; coverage_of_counts, the first for intervals that take Q's most probable cluster as
        certain; and width, the mean of the widest interval.
    """
    random = np.random.default_rng(seed)
    given = {
        "coverage": cluster_probs,
        "coverage_too_sure": tempered(cluster_probs, TOO_SURE),
        "coverage_too_unsure": tempered(cluster_probs, TOO_UNSURE),
        "coverage_of_counts": np.eye(cluster_probs.shape[1], dtype=np.float32)[cluster_probs.argmax(axis=1)],
    }
    rows = []
    for population, weights in _populations(cluster_probs).items():
        truth = weights @ cluster_probs
        for size in SIZES:
            held = {name: np.zeros(draws, bool) for name in given}
            widths = np.zeros(draws)
            for i in range(draws):
                drawn = random.choice(len(weights), size, p=weights)
                for name, probabilities in given.items():
                    held[name][i] = _hold(_intervals(probabilities[drawn]), truth)
                widths[i] = np.diff(_intervals(cluster_probs[drawn])).max()
            rows.append(
                {
                    "population": population,
                    "cells": size,
                    "draws": draws,
                    "confidence": CONFIDENCE,
                    **{name: float(found.mean()) for name, found in held.items()},
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


def _intervals(probabilities: Float32Array) -> Float64Array:
    """Return the intervals of a tile with these cells, none of which is an outlier."""
    return np.asarray(summarise(probabilities, np.zeros(len(probabilities), bool)).intervals)
