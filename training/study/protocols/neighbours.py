"""A cell's company: the cells next to it, and what they say of its cluster."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from app.pipeline.types import Float32Array, Int64Array
from training.study.typed_cells import UnlabelledCells

NEIGHBOURS = 16
"""Nearest cells of the same tile that count as a cell's company."""
COMPANY_VOTE = 2.0
"""Of the company's mean probability beside the cell's own."""


def neighbours(cells: UnlabelledCells) -> Int64Array:
    """The nearest other cells of the same tile.

    Returns:
        (N, 16) int64 indices of cells; repeated where a tile holds fewer others, the cell itself where it is alone.
    """
    found = np.repeat(np.arange(len(cells))[:, None], NEIGHBOURS, axis=1)
    for tile in np.unique(cells.tile_index):
        members = np.flatnonzero(cells.tile_index == tile)
        if len(members) == 1:
            continue
        places = cells.centroids[members]
        _, nearest = cKDTree(places).query(places, min(NEIGHBOURS, len(members) - 1) + 1)
        # Where two cells share a place, either may come first; the cell itself is left out, wherever it stands.
        others = np.array([row[row != own][: nearest.shape[1] - 1] for own, row in enumerate(nearest)])
        found[members] = members[np.resize(others.T, (NEIGHBOURS, len(members))).T]
    return found


def by_company(probabilities: Float32Array, company: Int64Array) -> Int64Array:
    """Cluster of each cell by its own probabilities and, twice as heavy, the mean of those of its company.

    Args:
        probabilities: (N, K) of the cells alone; of a system that gives none, 1 for the cell's cluster and 0 elsewhere.
        company: (N, 16), see `neighbours`.

    Returns:
        (N,) int64.
    """
    return (probabilities + COMPANY_VOTE * probabilities[company].mean(axis=1)).argmax(axis=1).astype(np.int64)
