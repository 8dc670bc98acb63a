"""HOG + DEC of Table III: Deep Embedded Clustering on 2,048 gradient values of each cell (paper §IV-D).

The paper gives the number of values alone. Dalal and Triggs's blocks of 2 × 2 cells with 8 orientations give 2,048 on a
grid of 9 × 9 cells (8 · 8 blocks · 4 cells · 8), which cells of 4 px cover when the crop's white canvas is 36 px wide.
"""

from __future__ import annotations

import numpy as np
import torch
from skimage.feature import hog

from app.pipeline.crops import WHITE
from app.pipeline.types import Float32Array, Int64Array, UInt8Array
from training.study.baselines.dec import Dec, fit_dec
from training.study.baselines.remember import remember

MARGIN_PX = 2
DIMENSIONS = 2048


@remember
def hog_features(crops: UInt8Array) -> Float32Array:
    """Histograms of oriented gradients, in each pixel of the channel that changes most.

    Args:
        crops: (N, 32, 32, 3) uint8.

    Returns:
        (N, 2048) float32 in 0–1, read-only.
    """
    margin = ((MARGIN_PX, MARGIN_PX), (MARGIN_PX, MARGIN_PX), (0, 0))
    features = np.empty((len(crops), DIMENSIONS), np.float32)
    for row, crop in zip(features, crops, strict=True):
        canvas = np.pad(crop, margin, constant_values=WHITE)
        row[:] = hog(canvas, orientations=8, pixels_per_cell=(4, 4), cells_per_block=(2, 2), channel_axis=-1)
    return features


class HogDec:
    """DEC on HOG, scaled so that a cell's mean squared value is 1 (Xie et al. 2016, §5.1)."""

    def __init__(self, n_clusters: int, seed: int) -> None:
        self._n_clusters = n_clusters
        self._seed = seed

    def fit(self, crops: UInt8Array) -> None:
        """Learn the embedding and its clusters; at least K cells are needed.

        Raises:
            DivergedError: a loss became infinite or NaN.
        """
        features = hog_features(crops)
        self._scale = 1 / float(np.sqrt(np.square(features).mean()))
        self._dec: Dec = fit_dec(features * np.float32(self._scale), self._n_clusters, self._seed)
        self._sizes = np.bincount(self.clusters(crops), minlength=self._n_clusters)

    def clusters(self, crops: UInt8Array) -> Int64Array:
        """Most similar centre of each crop, (N, 32, 32, 3) uint8 → (N,) int64."""
        scaled = torch.from_numpy(hog_features(crops) * np.float32(self._scale))
        return np.asarray(self._dec.predict(scaled).argmax(dim=1).numpy(), np.int64)

    def notes(self) -> dict[str, float]:
        """Of the fit: last loss, share of cells that changed last, rounds of self-training, share of the largest."""
        return {
            "loss": self._dec.loss,
            "changed": self._dec.changed,
            "rounds": float(self._dec.rounds),
            "largest_share": float(self._sizes.max() / self._sizes.sum()),
        }
