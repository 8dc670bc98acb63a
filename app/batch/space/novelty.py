"""Where a slide is unlike the training tiles: what is asked of a whole tile, asked of every square of a slide."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from app.batch.analyse.cells import SlideCells
from app.batch.space.density import boxes, grid
from app.pipeline.manifest import Manifest
from app.pipeline.measure.cells import distance
from app.pipeline.quality.novelty import novelty
from app.pipeline.types import Float32Array

SQUARE_UM = 300.0
"""The approximate edge of a square: that of a training tile, for which the limits were made."""
MIN_CELLS = 50
"""Fewest cells in a square that is judged, outliers included: fewer are too uncertain to compare."""


@dataclass(frozen=True, slots=True)
class NoveltyMap:
    """The novelty of each square of a slide.

    Attributes:
        values: (h, w) float32, NaN in a square with too few cells; above 1, the square is unlike the training tiles.
        square_px: the edge of a square, in px of level 0.
    """

    values: Float32Array
    square_px: int

    @property
    def judged(self) -> int:
        """Number of squares with enough cells."""
        return int(np.isfinite(self.values).sum())

    @property
    def unlike(self) -> int:
        """Number of squares that are unlike the training tiles."""
        return int((self.values > 1).sum())


def novelty_map(cells: SlideCells, manifest: Manifest, width: int, height: int, um_per_px: float) -> NoveltyMap | None:
    """Measure how unlike the training tiles the cells of each square are.

    Args:
        cells: the cells of the slide.
        manifest: the manifest of the bundle.
        width: the width of the slide, in px of level 0.
        height: the height of the slide, in px of level 0.
        um_per_px: µm per px of level 0.

    Returns:
        None if the bundle knows nothing to compare cells with.
    """
    if manifest.outliers.tile_surprise is None and manifest.reference_ranges is None:
        return None
    square_px = max(1, round(SQUARE_UM / um_per_px))
    rows, columns = grid(width, height, square_px)
    values = np.full(rows * columns, np.nan, np.float32)
    squares = boxes(cells.centroids, rows, columns, square_px)
    order = np.argsort(squares, kind="stable")
    edges = np.searchsorted(squares[order], np.arange(rows * columns + 1))
    for square in range(rows * columns):
        members = order[edges[square] : edges[square + 1]]
        if len(members) >= MIN_CELLS:
            counted = members[~cells.outlier[members]]
            measured = cells.measurements[counted].astype(np.float64)
            afar = distance(measured.T, manifest.reference_ranges)
            score = novelty(cells.surprise[members], manifest.outliers, afar)
            values[square] = np.nan if score is None else score
    return NoveltyMap(values.reshape(rows, columns), square_px)
