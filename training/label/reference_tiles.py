"""Reference tiles: the training tiles, and simulated ones, beside which the service shows a tile (paper Fig. 10)."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.decomposition import PCA

from app.pipeline.types import Float64Array

MAX_PER_GROUP = 200
"""Largest number of tiles that a bundle keeps of a group; if there are more, they are picked evenly."""


def fit_reference_tiles(groups: dict[str, Float64Array], simulated: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Fit the two principal components that all groups are shown on.

    Args:
        groups: (T, K) proportions by the name of the group; at least two tiles in all.
        simulated: names of the groups whose tiles are simulated bags of cells.

    Returns:
        `app.pipeline.manifest.Reference`.
    """
    picked = {name: _evenly(rows) for name, rows in groups.items()}
    rows = np.concatenate(list(picked.values()))
    # If all tiles are alike, the shares of the variance are 0 / 0.
    with np.errstate(invalid="ignore"):
        pca = PCA(2).fit(rows)
    return {
        "groups": [
            {"name": name, "is_simulated": name in simulated, "proportions": tiles.round(6).tolist()}
            for name, tiles in picked.items()
        ],
        "mean": pca.mean_.tolist(),
        "axes": pca.components_.tolist(),
        "explained": np.nan_to_num(pca.explained_variance_ratio_).clip(0, 1).tolist(),
    }


def _evenly(rows: Float64Array) -> Float64Array:
    """Return at most MAX_PER_GROUP of the rows, evenly spaced."""
    return rows[np.linspace(0, len(rows) - 1, min(len(rows), MAX_PER_GROUP)).round().astype(int)]
