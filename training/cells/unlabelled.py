"""Cells without types or labels: all that an unsupervised training may learn from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from app.pipeline.types import Float64Array, Int64Array, UInt8Array


@dataclass(frozen=True)
class UnlabelledCells:
    """Cells without types or labels.

    Attributes:
        crops: (N, 32, 32, C) uint8.
        tile_index: (N,) int64, the index of each cell's tile.
        centroids: (N, 2) float64, x and y in px of that tile, at the scale of the crops.
    """

    crops: UInt8Array
    tile_index: Int64Array
    centroids: Float64Array

    def __len__(self) -> int:
        """Return the number of cells."""
        return len(self.crops)

    def __getitem__(self, chosen: np.ndarray) -> UnlabelledCells:
        """Return some of the cells, by a (N,) bool mask or by indices."""
        return UnlabelledCells(self.crops[chosen], self.tile_index[chosen], self.centroids[chosen])
