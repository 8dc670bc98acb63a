"""Cells at given places."""

import numpy as np

from app.batch.analyse.cells import SlideCells
from app.pipeline.measure.table import MEASUREMENTS

MARROW_PER_UM2 = 0.003
"""About 190 cells on a megapixel at 0.25 µm per px."""
SHARES = (0.5, 0.2, 0.1, 0.1, 0.1)


def cells_at(places, clusters, outlier=None, n_clusters=5) -> SlideCells:
    clusters = np.asarray(clusters, np.int64)
    outlier = np.zeros(len(clusters), bool) if outlier is None else np.asarray(outlier, bool)
    probs = np.eye(n_clusters, dtype=np.float32)[clusters]
    surprise = np.zeros(len(clusters), np.float32)
    measurements = np.full((len(clusters), len(MEASUREMENTS)), np.nan, np.float32)
    places, nothing = np.asarray(places, float).reshape(-1, 2), np.full(len(clusters), np.nan, np.float32)
    return SlideCells(places, clusters, probs, surprise, outlier, measurements, nothing)


def mixed_cells(n, um_per_px=1.0, seed=0, density=MARROW_PER_UM2) -> SlideCells:
    """Places and clusters drawn at random, at the density of marrow."""
    rng = np.random.default_rng(seed)
    side = np.sqrt(n / density) / um_per_px
    return cells_at(rng.uniform(0, side, (n, 2)), rng.choice(len(SHARES), n, p=SHARES))
