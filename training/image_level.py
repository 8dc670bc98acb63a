"""Proportions → the tile's label: L2-SVM and k-means, on simulated bags where no abnormal tile is to be had."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.cluster import KMeans
from sklearn.metrics import precision_recall_fscore_support
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.svm import LinearSVC

from app.pipeline.types import Float64Array, Int64Array
from training.config import FitConfig
from training.data import Cells, DataError

LABEL_BASIS = (
    "Simulated. No abnormal tile was used: 'abnormal' stands for bags of real cells of the training tiles, resampled "
    "so that large, pale (open-chromatin) nuclei dominate, as blasts would. Not validated on any patient."
)
LARGE_QUANTILE = 0.7
"""Nuclei above this quantile of area count as large."""
PALE_QUANTILE = 0.5
"""Large nuclei above this quantile of lightness count as open-chromatin."""


@dataclass(frozen=True)
class Bags:
    """Simulated tiles.

    Attributes:
        proportions: (B, K) float64.
        abnormal: (B,) int64, 1 = abnormal.
        tiles: (B,) int64, the tile whose cells were drawn.
    """

    proportions: Float64Array
    abnormal: Int64Array
    tiles: Int64Array


def blast_like(cells: Cells) -> np.ndarray:
    """Which cells have a large, pale nucleus, as myeloblasts do (paper §IV-E); (N,) bool."""
    grey = cells.crops.mean(axis=3)
    nuclear = grey < 250
    lightness = (grey * nuclear).sum(axis=(1, 2)) / np.maximum(nuclear.sum(axis=(1, 2)), 1)
    large = cells.areas_px >= np.quantile(cells.areas_px, LARGE_QUANTILE)
    return np.asarray(large & (lightness >= np.quantile(lightness[large], PALE_QUANTILE)))


def simulate_bags(cells: Cells, clusters: Int64Array, n_clusters: int, config: FitConfig) -> Bags:
    """Draw normal and abnormal bags from the cells of each tile in turn, with replacement.

    A normal bag is a bootstrap of one tile's cells. In an abnormal one a share, uniform in `blast_share`, is drawn
    from the blast-like cells of the same tile (of all tiles where it has none).

    Args:
        cells: N real cells.
        clusters: (N,) their clusters.
        n_clusters: K.
        config: sizes, shares, seed.
    """
    random = np.random.default_rng(config.seed)
    blasts = blast_like(cells)
    rows, abnormal, tiles = [], [], []
    present = np.unique(cells.tile_index)
    for i in range(2 * config.bags_per_class):
        tile = int(present[(i // 2) % len(present)])
        own = np.flatnonzero(cells.tile_index == tile)
        pool = np.flatnonzero(blasts & (cells.tile_index == tile))
        share = random.uniform(*config.blast_share) if i % 2 else 0.0
        n_blasts = round(share * config.cells_per_bag)
        drawn = np.concatenate(
            [
                random.choice(own, config.cells_per_bag - n_blasts),
                random.choice(pool if len(pool) else np.flatnonzero(blasts), n_blasts),
            ]
        )
        rows.append(np.bincount(clusters[drawn], minlength=n_clusters) / config.cells_per_bag)
        abnormal.append(i % 2)
        tiles.append(tile)
    return Bags(np.array(rows), np.array(abnormal), np.array(tiles))


def fit_image_level(cells: Cells, clusters: Int64Array, n_clusters: int, config: FitConfig) -> dict[str, Any]:
    """Fit both models on the bags.

    Args:
        cells: N real cells.
        clusters: (N,) their clusters.
        n_clusters: K.
        config: sizes, shares, C, seed.

    Returns:
        `model` as `app.pipeline.manifest.ImageLevel` has it, and `metrics` of the SVM on tiles left out of its fit.

    Raises:
        DataError: the cells are of a single tile.
    """
    if len(np.unique(cells.tile_index)) < 2:
        raise DataError("The image-level model needs the cells of at least two tiles, found one.")
    bags = simulate_bags(cells, clusters, n_clusters, config)
    svm = LinearSVC(C=config.svm_c, random_state=config.seed)
    folds = GroupKFold(n_splits=min(4, len(np.unique(bags.tiles))))
    held_out = cross_val_predict(svm, bags.proportions, bags.abnormal, groups=bags.tiles, cv=folds)
    precision, recall, f1, _ = precision_recall_fscore_support(
        bags.abnormal, held_out, average="weighted", zero_division=0
    )
    svm.fit(bags.proportions, bags.abnormal)
    model = {
        "label_basis": LABEL_BASIS,
        "min_cells": config.min_cells,
        "svm": {"weights": svm.coef_[0].tolist(), "bias": float(svm.intercept_[0])},
        "kmeans": _fit_kmeans(bags, config.seed),
    }
    tiles = [np.bincount(clusters[cells.tile_index == t], minlength=n_clusters) for t in np.unique(cells.tile_index)]
    tile_proportions = np.array([counts / counts.sum() for counts in tiles])
    metrics = {
        "data": f"simulated bags, {folds.get_n_splits()} folds by tile",
        "precision": float(precision),
        "recall": float(recall),
        "f1": float(f1),
        "training_tiles_called_normal": int((svm.predict(tile_proportions) == 0).sum()),
        "training_tiles": len(tiles),
    }
    return {"model": model, "metrics": metrics}


def _fit_kmeans(bags: Bags, seed: int) -> dict[str, Any]:
    """Two centres by k-means++; the one that holds the larger share of abnormal bags is called abnormal."""
    kmeans = KMeans(n_clusters=2, init="k-means++", n_init=10, random_state=seed).fit(bags.proportions)
    # Of a collapsed Q all bags are alike, and a centre may be empty.
    shares = [
        bags.abnormal[kmeans.labels_ == centre].sum() / max(1, (kmeans.labels_ == centre).sum()) for centre in (0, 1)
    ]
    labels = ["abnormal", "normal"] if shares[0] > shares[1] else ["normal", "abnormal"]
    return {"centres": kmeans.cluster_centers_.tolist(), "labels": labels}
