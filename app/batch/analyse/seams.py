"""Seams: the cells at the edge between two tiles, each counted once.

At an edge both tiles see the same pixels, because of their margins, with the same stain. So both find the same nucleus
at the same place, apart from rounding where the slide is rescaled: its centroid may then lie on either side of the
edge for either tile. In a band along the edge that is as wide as this rounding, cells of different tiles at one place
are therefore taken for one cell.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial import cKDTree

from app.pipeline.types import BoolArray, Float64Array, Int64Array

BAND_PX = 3.0
"""The width of the band on each side of an edge, at the analysed scale, and the largest distance between two centroids
of one cell. The smallest nuclei, of 40 px², are 7 px apart when they lie side by side."""


def keep_once(centroids: Sequence[Float64Array], depths: Sequence[Float64Array], downsample: float) -> list[BoolArray]:
    """Decide which of the tiles' cells to keep.

    Of several cells at one place the one deepest within its tile is kept. A cell beyond the edge of its tile that no
    other tile has is dropped, because there the other tile decides.

    Args:
        centroids: for each tile (N_i, 2) float64 x, y of its cells, in px of level 0.
        depths: for each tile (N_i,) float64, how far inside the tile's core each cell lies, in px at the analysed
            scale; negative beyond the core.
        downsample: px of level 0 per px of the analysed scale.

    Returns:
        For each tile (N_i,) bool.
    """
    kept = [np.ones(len(depth), bool) for depth in depths]
    # Twice the band: where four tiles meet, a cell just inside its own tile may lie beyond the edges of two others.
    near = [np.flatnonzero(depth <= 2 * BAND_PX) for depth in depths]
    tiles = np.repeat(np.arange(len(near)), [len(rows) for rows in near])
    rows: Int64Array = np.concatenate([np.zeros(0, np.int64), *near])
    if not rows.size:
        return kept
    places = np.concatenate([points[some] for points, some in zip(centroids, near, strict=True)])
    depth = np.concatenate([values[some] for values, some in zip(depths, near, strict=True)])
    twins = _twins(places, tiles, BAND_PX * downsample)
    is_dropped = np.zeros(rows.size, bool)
    for i in np.lexsort([rows, tiles, -depth]):
        if not is_dropped[i] and (depth[i] >= 0 or twins[i]):
            is_dropped[twins[i]] = True
        else:
            is_dropped[i] = True
    for i in np.flatnonzero(is_dropped):
        kept[tiles[i]][rows[i]] = False
    return kept


def _twins(places: Float64Array, tiles: Int64Array, distance: float) -> list[list[int]]:
    """Return for each place the places of other tiles within a distance."""
    found: list[list[int]] = [[] for _ in range(len(places))]
    for i, j in cKDTree(places).query_pairs(distance):
        if tiles[i] != tiles[j]:
            found[i].append(j)
            found[j].append(i)
    return found
