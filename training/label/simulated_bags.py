"""Simulated tiles, for users who have no abnormal tile: bags of real cells in which blast-like cells dominate."""

from __future__ import annotations

import numpy as np

from app.pipeline.crops import pictures
from app.pipeline.types import BoolArray, Int64Array, UInt8Array
from training.cells.extract import Cells
from training.config import FitConfig
from training.label.descriptor import Standards
from training.label.models import Examples

LARGE_QUANTILE = 0.7
"""Nuclei whose area is above this quantile count as large."""
PALE_QUANTILE = 0.5
"""Large nuclei whose lightness is above this quantile count as pale, with open chromatin."""


def blast_like(crops: UInt8Array, areas_px: Int64Array) -> BoolArray:
    """Return which cells have a large, pale nucleus, as myeloblasts do (paper §IV-E).

    Args:
        crops: (N, 32, 32, C) uint8.
        areas_px: (N,) areas of their nuclei.

    Returns:
        (N,) bool.
    """
    grey = pictures(crops).mean(axis=3)
    nuclear = grey < 250
    lightness = (grey * nuclear).sum(axis=(1, 2)) / np.maximum(nuclear.sum(axis=(1, 2)), 1)
    large = areas_px >= np.quantile(areas_px, LARGE_QUANTILE)
    return np.asarray(large & (lightness >= np.quantile(lightness[large], PALE_QUANTILE)))


def simulate_bags(
    cells: Cells, clusters: Int64Array, n_clusters: int, config: FitConfig, standards: Standards
) -> tuple[Examples, Int64Array]:
    """Draw normal and abnormal bags from the cells of each tile in turn, with replacement.

    A normal bag is a bootstrap of one tile's cells. In an abnormal bag, a share that is uniform in `blast_share` is
    drawn from the blast-like cells of the same tile, or of all tiles if it has none. A cell is drawn with its cluster
    and its measurements.

    Args:
        cells: N real cells.
        clusters: (N,) int64, the cluster of each cell.
        n_clusters: K.
        config: sizes, shares, seed.
        standards: the measurements of the descriptor.

    Returns:
        B = 2 · `bags_per_class` bags, and (B,) int64, the tile whose cells were drawn for each.
    """
    random = np.random.default_rng(config.seed)
    blasts = blast_like(cells.crops, cells.areas_px)
    rows, measured, abnormal, tiles = [], [], [], []
    present = np.unique(cells.tile_index)
    for i in range(2 * config.bags_per_class):
        tile = int(present[(i // 2) % len(present)])
        own = np.flatnonzero(cells.tile_index == tile)
        pool = np.flatnonzero(blasts & (cells.tile_index == tile))
        share = random.uniform(*config.blast_share) if i % 2 else 0.0
        drawn = draw_bag(own, pool if len(pool) else np.flatnonzero(blasts), config.cells_per_bag, share, random)
        rows.append(np.bincount(clusters[drawn], minlength=n_clusters) / config.cells_per_bag)
        measured.append(standards.of(cells.measurements[drawn], f"a bag of tile {cells.tiles[tile]}"))
        abnormal.append(i % 2)
        tiles.append(tile)
    return Examples(np.array(rows), np.array(abnormal), np.array(measured)), np.array(tiles)


def draw_bag(own: Int64Array, blasts: Int64Array, size: int, share: float, random: np.random.Generator) -> Int64Array:
    """Draw the cells of a bag, with replacement.

    Args:
        own: indices of the cells to draw from.
        blasts: indices of the blast-like cells to draw from.
        size: number of cells in the bag.
        share: of the bag that is drawn from `blasts`, 0–1.
        random: source of the draws.

    Returns:
        (size,) int64 indices.
    """
    n_blasts = round(share * size)
    return np.concatenate([random.choice(own, size - n_blasts), random.choice(blasts, n_blasts)])
