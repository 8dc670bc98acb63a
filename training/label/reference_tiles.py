"""The tiles, or simulated ones, that a tile is shown beside (paper Fig. 10)."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.decomposition import PCA

from app.pipeline.types import Float64Array

MAX_PER_GROUP = 200
"""Tiles of a group that a bundle names, evenly picked where there are more."""


def fit_reference_tiles(groups: dict[str, Float64Array], simulated: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Principal components of the tiles of all groups together.

    Args:
        groups: (T, K) proportions by the group's name; at least two tiles in all.
        simulated: names of those that are bags of resampled cells.

    Returns:
        `app.pipeline.manifest.Reference`.
    """
    picked = {name: _evenly(rows) for name, rows in groups.items()}
    rows = np.concatenate(list(picked.values()))
    # Where all tiles are alike there is no variance to take shares of.
    with np.errstate(invalid="ignore"):
        pca = PCA(2).fit(rows)
    return {
        "groups": [
            {"name": name, "is_simulated": name in simulated, "proportions": of_group.round(6).tolist()}
            for name, of_group in picked.items()
        ],
        "mean": pca.mean_.tolist(),
        "axes": pca.components_.tolist(),
        "explained": np.nan_to_num(pca.explained_variance_ratio_).clip(0, 1).tolist(),
    }


def _evenly(rows: Float64Array) -> Float64Array:
    return rows[np.linspace(0, len(rows) - 1, min(len(rows), MAX_PER_GROUP)).round().astype(int)]
