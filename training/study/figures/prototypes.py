"""Prototypes and real cells, enlarged so that one sees their chromatin."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from app.pipeline.bundle.load import Bundle
from app.pipeline.crops import WHITE, pictures
from app.pipeline.prototypes import prototype_grid, tile_grid
from app.pipeline.types import UInt8Array

FIGURE_ROWS, FIGURE_SCALE = 8, 4
SCALE = 8
GAP_PX = 3
"""White rows between the clusters, in px before they are enlarged."""


def prototype_figure(bundle: Bundle) -> UInt8Array:
    """Draw the paper's grid (Fig. 5), enlarged smoothly: z is fixed along a row, and each cluster has a column.

    Returns:
        (FIGURE_ROWS · 32 · FIGURE_SCALE, K · 32 · FIGURE_SCALE, 3) uint8.
    """
    grid = prototype_grid(bundle, FIGURE_ROWS, seed=0)
    return enlarged(tile_grid(grid), FIGURE_SCALE)


def draw_neighbours(pairs: Sequence[tuple[UInt8Array, UInt8Array]]) -> UInt8Array:
    """Draw generated cells of each cluster in a row, and below each of them its nearest real cell.

    Args:
        pairs: of each cluster, two arrays (N, 32, 32, C) uint8: generated cells, and the nearest real cell of each.

    Returns:
        (H, N · 32 · SCALE, 3) uint8, one pair of rows below the other.
    """
    drawn = [tile_grid(np.stack([pictures(one) for one in pair])) for pair in pairs]
    gap = np.full((GAP_PX, drawn[0].shape[1], 3), WHITE, np.uint8)
    return enlarged(np.concatenate([part for rows in drawn for part in (rows, gap)][:-1]), SCALE)


def enlarged(cells: UInt8Array, scale: int) -> UInt8Array:
    """Enlarge a grid of cells smoothly, (H, W, 3) → (H · scale, W · scale, 3) uint8."""
    height, width = cells.shape[:2]
    return np.asarray(Image.fromarray(cells).resize((width * scale, height * scale), Image.Resampling.BICUBIC))
