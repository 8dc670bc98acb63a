"""Cells at the edge between two tiles, each once.

Tiles see the same pixels there, with one stain for all, so that both find the same nucleus at the same place, but for
rounding where the slide is rescaled: the centre may then lie on either side of the edge for either tile. Within a band
as wide as that rounding, cells of different tiles at one place are one cell.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial import cKDTree

from app.pipeline.types import BoolArray, Float64Array, Int64Array

BAND_PX = 3.0
"""At the analysed scale, to each side of an edge; also how near two cells' centres are when they are one. Two nuclei of
40 px, the smallest, that lie side by side are 7 px apart."""


def keep_once(centroids: Sequence[Float64Array], depths: Sequence[Float64Array], downsample: float) -> list[BoolArray]:
    """Which of the tiles' cells to keep.

    Of cells at one place the one deepest within its tile is kept. A cell beyond its tile's edge that no other tile has
    is not: there the neighbour decides.

    Args:
        centroids: of each tile's cells, (N_i, 2) px of level 0.
        depths: how far within the tile's core each lies, (N_i,) px at the analysed scale, negative beyond it.
        downsample: level-0 px per px of the analysed scale.

    Returns:
        (N_i,) bool for each tile.
    """
    kept = [np.ones(len(depth), bool) for depth in depths]
    # Twice the band: where four tiles meet, two see a cell beyond their edges whose own tile has it just within.
    near = [np.flatnonzero(depth <= 2 * BAND_PX) for depth in depths]
    tiles = np.repeat(np.arange(len(near)), [len(rows) for rows in near])
    rows: Int64Array = np.concatenate([np.zeros(0, np.int64), *near])
    if not rows.size:
        return kept
    at = np.concatenate([points[some] for points, some in zip(centroids, near, strict=True)])
    depth = np.concatenate([values[some] for values, some in zip(depths, near, strict=True)])
    twins = _twins(at, tiles, BAND_PX * downsample)
    is_dropped = np.zeros(rows.size, bool)
    for i in np.lexsort([rows, tiles, -depth]):
        if not is_dropped[i] and (depth[i] >= 0 or twins[i]):
            is_dropped[twins[i]] = True
        else:
            is_dropped[i] = True
    for i in np.flatnonzero(is_dropped):
        kept[tiles[i]][rows[i]] = False
    return kept


def _twins(at: Float64Array, tiles: Int64Array, distance: float) -> list[list[int]]:
    """For each place those of other tiles within a distance."""
    found: list[list[int]] = [[] for _ in range(len(at))]
    for i, j in cKDTree(at).query_pairs(distance):
        if tiles[i] != tiles[j]:
            found[i].append(j)
            found[j].append(i)
    return found
