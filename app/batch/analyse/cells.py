"""The cells of a slide, as arrays."""

from __future__ import annotations

from dataclasses import dataclass

from app.pipeline.types import BoolArray, Float32Array, Float64Array, Int64Array


@dataclass(frozen=True, slots=True)
class SlideCells:
    """All cells of a slide; row i of every array is the cell with id i. Outlines are not here: they stay on disk.

    Attributes:
        centroids: (N, 2) float64 x, y in px of level 0.
        clusters: (N,) int64, the most probable one.
        cluster_probs: (N, K) float32.
        outlier: (N,) bool, which cells no cluster counts.
    """

    centroids: Float64Array
    clusters: Int64Array
    cluster_probs: Float32Array
    outlier: BoolArray

    def __len__(self) -> int:
        """Number of cells."""
        return len(self.centroids)
