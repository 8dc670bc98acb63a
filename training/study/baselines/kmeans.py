"""k-means on the features of a describer: the paper's MF + k-means and DNN + k-means (§IV-D)."""

from __future__ import annotations

import numpy as np
from sklearn.cluster import KMeans
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from app.pipeline.types import Int64Array, UInt8Array
from training.cells.unlabelled import UnlabelledCells
from training.study.interfaces import Describer

STARTS = 10
"""Number of times that k-means is started; the tightest clusters are kept."""


class KMeansOn:
    """Clusters of standardised features, whose first centres are chosen by k-means++ (paper §IV-B).

    The paper does not say whether it standardises. Features of several kinds have no common unit, so each gets mean 0
    and variance 1; a feature that is the same for all cells gets no weight.

    Args:
        describer: computes the features.
        n_clusters: K.
        seed: seed of k-means.
    """

    def __init__(self, describer: Describer, n_clusters: int, seed: int) -> None:
        self._describer = describer
        self._kmeans = KMeans(n_clusters, init="k-means++", n_init=STARTS, random_state=seed)
        self._model = make_pipeline(StandardScaler(), self._kmeans)

    def fit(self, cells: UnlabelledCells) -> None:
        """Find the centres of at least K cells."""
        self._describer.fit(cells)
        self._model.fit(self._describer.features(cells.crops))

    def clusters(self, crops: UInt8Array) -> Int64Array:
        """Return the nearest centre of each crop, (N, 32, 32, C) uint8 → (N,) int64 in 0 … K − 1."""
        return np.asarray(self._model.predict(self._describer.features(crops)), np.int64)

    def notes(self) -> dict[str, float]:
        """Return the share of the largest cluster, the iterations, and the mean squared distance to the centre."""
        sizes = np.bincount(self._kmeans.labels_)
        return {
            "largest_share": float(sizes.max() / sizes.sum()),
            "iterations": float(self._kmeans.n_iter_),
            "mean_squared_distance": float(self._kmeans.inertia_ / sizes.sum()),
        }
