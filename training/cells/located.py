"""Cells and where they lie."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from app.pipeline.types import Float64Array, Int64Array, UInt8Array


@dataclass(frozen=True)
class LocatedCells:
    """Cells and where they lie: all that a clustering may learn from.

    Attributes:
        crops: (N, 32, 32, 3) uint8.
        tile_index: (N,) int64, which tile a cell is of.
        centroids: (N, 2) float64 x, y in px of that tile, at the scale of the crops.
    """

    crops: UInt8Array
    tile_index: Int64Array
    centroids: Float64Array

    def __len__(self) -> int:
        """Number of cells."""
        return len(self.crops)

    def __getitem__(self, chosen: np.ndarray) -> LocatedCells:
        """Those of a (N,) bool mask or of indices."""
        return LocatedCells(self.crops[chosen], self.tile_index[chosen], self.centroids[chosen])
