"""The training cells → `Surprise`, which tells how unlike them a cell is, and the limits of what is like them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.covariance import LedoitWolf
from sklearn.decomposition import PCA
from sklearn.model_selection import GroupKFold, KFold

from app.pipeline.crops import to_network
from app.pipeline.manifest import Outliers
from app.pipeline.networks.architecture import CriticQ, Surprise, map_statistics, pooled
from app.pipeline.types import BoolArray, Float64Array, Int64Array, UInt8Array
from training.gan.checks import in_chunks

COMPONENTS = 60
"""Principal components that the Gaussians are fitted on."""
MIN_VARIANCE = 1e-6
"""Of a component, as a share of all variance."""
MIN_COVARIANCE = 0.001
"""Added to that of a cluster along every component, where that of all cells is 1."""
FOLDS = 10
TRAINING_SHARE = 0.01
"""Of the training cells, each of a tile left out of the fit: the share that is called an outlier."""
MIN_MAX_SHARE = 0.05
MARGIN = 2.0
"""Of `max_share` over what a training tile that was left out surely has of them."""


@dataclass(frozen=True)
class FittedOutliers:
    """What tells outliers.

    Attributes:
        surprise: the score, on the CPU.
        limits: for the manifest.
        outlier: (N,) bool, which training cells are outliers by the fit that leaves their tile out.
    """

    surprise: Surprise
    limits: Outliers
    outlier: BoolArray


def fit_outliers(critic: CriticQ, crops: UInt8Array, tile_index: Int64Array) -> FittedOutliers:
    """Fit a Gaussian to the cells of each cluster, and take the limits from cells of tiles that were left out.

    Args:
        critic: holds Q, on the CPU.
        crops: (N, 32, 32, 3) uint8 training cells, at least two.
        tile_index: (N,) the tile of each.
    """
    n_clusters = critic.code_logits.out_features
    maps = in_chunks(lambda x: _statistics_and_logits(critic, x), torch.from_numpy(to_network(crops)))
    statistics = maps[:, :-n_clusters].double().numpy()
    clusters = maps[:, -n_clusters:].argmax(1).numpy()
    components = min(COMPONENTS, statistics.shape[1], len(crops) // 2)

    left_out = np.zeros(len(crops))
    for rest, fold in _folds(tile_index):
        fitted = fit_surprise(statistics[rest], clusters[rest], n_clusters, components)
        left_out[fold] = _apply(fitted, statistics[fold])
    threshold = float(np.quantile(left_out, 1 - TRAINING_SHARE))
    outlier = left_out > threshold
    largest = max(_surely(outlier[tile_index == tile]) for tile in np.unique(tile_index))
    limits = Outliers(
        components=components,
        threshold=threshold,
        training_share=float(outlier.mean()),
        max_share=min(1.0, max(MIN_MAX_SHARE, MARGIN * largest)),
    )
    return FittedOutliers(fit_surprise(statistics, clusters, n_clusters, components), limits, outlier)


def fit_surprise(statistics: Float64Array, clusters: Int64Array, n_clusters: int, components: int) -> Surprise:
    """A Gaussian for each cluster, its covariance shrunk as Ledoit & Wolf (2004) have it.

    Args:
        statistics: (N, D) float64 of `map_statistics`.
        clusters: (N,) of each cell.
        n_clusters: K; one of fewer than two cells has no Gaussian.
        components: P.
    """
    spread = statistics.std(axis=0)
    # A channel that is the same for all cells tells nothing.
    scale = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 1e-9)
    mean = statistics.mean(axis=0)
    pca = PCA(components, svd_solver="full").fit((statistics - mean) * scale)
    # Components along which the cells do not vary are left out: what is divided by next to nothing is noise.
    varies = pca.explained_variance_ > MIN_VARIANCE * statistics.shape[1]
    deviations = np.where(varies, np.sqrt(pca.explained_variance_), np.inf)
    projection = scale[:, None] * pca.components_.T / deviations
    scores = (statistics - mean) @ projection

    surprise = Surprise(statistics.shape[1], components, n_clusters)
    surprise.mean.copy_(torch.from_numpy(mean))
    surprise.projection.copy_(torch.from_numpy(projection))
    surprise.log_weights.fill_(-torch.inf)
    for cluster in range(n_clusters):
        members = scores[clusters == cluster]
        if len(members) < 2:
            continue
        # Cells that are all alike would make the least difference a surprise.
        precision = np.linalg.inv(LedoitWolf().fit(members).covariance_ + MIN_COVARIANCE * np.eye(components))
        surprise.centres[cluster] = torch.from_numpy(members.mean(axis=0))
        surprise.whitening[cluster] = torch.from_numpy(np.linalg.cholesky(precision))
        surprise.log_weights[cluster] = float(np.log(len(members) / len(scores)) + np.linalg.slogdet(precision)[1] / 2)
    return surprise


def _statistics_and_logits(critic: CriticQ, crops: torch.Tensor) -> torch.Tensor:
    maps = critic.trunk.maps(crops)
    return torch.cat([map_statistics(maps), critic.code_logits(pooled(maps))], dim=1)


def _folds(tile_index: Int64Array) -> list[tuple[Int64Array, Int64Array]]:
    n_tiles = len(np.unique(tile_index))
    if n_tiles > 1:
        return list(GroupKFold(min(FOLDS, n_tiles)).split(tile_index, groups=tile_index))
    return list(KFold(min(FOLDS, len(tile_index)), shuffle=True, random_state=0).split(tile_index))


def _surely(outlier: BoolArray) -> float:
    """The share of outliers in a tile, less two standard errors: one in four cells is no evidence of many."""
    share = float(outlier.mean())
    return share - 2 * (share * (1 - share) / len(outlier)) ** 0.5


def _apply(surprise: Surprise, statistics: Float64Array) -> Float64Array:
    with torch.no_grad():
        return np.asarray(surprise(torch.from_numpy(statistics).float()).double().numpy())
