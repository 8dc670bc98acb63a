"""The training cells → `Surprise`, a score of how unlike them a cell is, and the limits that make it an outlier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import stats
from sklearn.covariance import LedoitWolf
from sklearn.decomposition import PCA
from sklearn.model_selection import GroupKFold, KFold

from app.pipeline.crops import to_network
from app.pipeline.manifest import Outliers, TileSurprise
from app.pipeline.networks.architecture import (
    AnyQ,
    AnySurprise,
    ClusterNet,
    Encoder,
    PictureSurprise,
    Surprise,
    map_statistics,
    picture_statistics,
    pictures_in,
    pooled,
)
from app.pipeline.types import BoolArray, Float64Array, Int64Array, UInt8Array
from training.gan.checks import in_chunks

COMPONENTS = 60
"""Number of principal components that the Gaussians are fitted on."""
MIN_VARIANCE = 1e-6
"""Smallest variance of a component that is used, as a share of the whole variance."""
MIN_COVARIANCE = 0.001
"""Added to the variance of a cluster along every component; the variance of all cells is 1."""
FOLDS = 10
TRAINING_SHARE = 0.01
"""The threshold is set so that this share of the training cells is outliers, by fits that leave their tile out."""
MIN_MAX_SHARE = 0.05
"""Lowest value of the limit `max_share` on the share of outliers in a tile, 0–1."""
TILE_CONFIDENCE = 0.98
"""Share of further tiles like the training tiles whose mean surprise stays below the limit."""
MARGIN = 2.0
"""`max_share`, as a multiple of the largest share of outliers that a training tile surely has."""


@dataclass(frozen=True)
class FittedOutliers:
    """The result of `fit_outliers`.

    Attributes:
        surprise: gives the score of a cell; on the CPU.
        limits: the field `outliers` of the manifest.
        outlier: (N,) bool, which training cells are outliers by the fit that leaves their tile out.
    """

    surprise: AnySurprise
    limits: Outliers
    outlier: BoolArray


def fit_outliers(q: AnyQ | ClusterNet, crops: UInt8Array, tile_index: Int64Array) -> FittedOutliers:
    """Fit a Gaussian to the cells of each cluster, and take the limits from cells of tiles that were left out.

    Args:
        q: the network whose head is Q, on the CPU.
        crops: (N, 32, 32, C) uint8, what Q sees of at least two training cells.
        tile_index: (N,) the tile of each cell.
    """
    inputs = torch.from_numpy(to_network(crops))
    clusters = in_chunks(lambda x: q.code_logits(pooled(q.trunk.maps(x))), inputs).argmax(1).numpy()
    # No more components than cells, also where leaving out a tile leaves few.
    components = min(COMPONENTS, len(crops) // 2, *(len(rest) for rest, _ in _folds(tile_index)))
    surprise: AnySurprise
    if isinstance(q.trunk, Encoder):
        surprise, left_out = _fit_pictures(inputs, clusters, q.code_logits.out_features, components, tile_index)
    else:
        statistics = in_chunks(lambda x: map_statistics(q.trunk.maps(x)), inputs).double().numpy()
        surprise, left_out = _fit(statistics, clusters, q.code_logits.out_features, components, tile_index)
    threshold = float(np.quantile(left_out, 1 - TRAINING_SHARE))
    outlier = left_out > threshold
    largest_share = max(_certain_share(outlier[tile_index == tile]) for tile in np.unique(tile_index))
    tiles = [left_out[tile_index == tile] for tile in np.unique(tile_index)]
    limits = Outliers(
        components=surprise.components,
        threshold=threshold,
        training_share=float(outlier.mean()),
        max_share=min(1.0, max(MIN_MAX_SHARE, MARGIN * largest_share)),
        tile_surprise=tile_surprise(tiles) if len(tiles) > 1 else None,
    )
    return FittedOutliers(surprise, limits, outlier)


def _fit_pictures(
    inputs: torch.Tensor, clusters: Int64Array, n_clusters: int, components: int, tile_index: Int64Array
) -> tuple[PictureSurprise, Float64Array]:
    """Fit a surprise to each picture in (N, C, 32, 32) crops; the rest is as in `_fit`."""
    fitted, left_out = [], []
    for i in range(len(pictures_in(inputs))):
        statistics = in_chunks(lambda x, i=i: picture_statistics(pictures_in(x)[i]), inputs).double().numpy()
        one, scores = _fit(statistics, clusters, n_clusters, components, tile_index)
        # Each picture is as often the most surprising one: a score of 0 is as rare in all of them.
        rare = float(np.quantile(scores, 1 - TRAINING_SHARE))
        one.log_weights += rare
        fitted.append(one)
        left_out.append(scores - rare)
    surprise = PictureSurprise(len(fitted), fitted[0].components, n_clusters)
    surprise.of = torch.nn.ModuleList(fitted)
    return surprise, np.max(left_out, axis=0)


def _fit(
    statistics: Float64Array, clusters: Int64Array, n_clusters: int, components: int, tile_index: Int64Array
) -> tuple[Surprise, Float64Array]:
    """Return the surprise fitted to all cells, and that of each cell when its tile is left out of the fit, (N,)."""
    components = min(components, statistics.shape[1])
    left_out = np.zeros(len(statistics))
    for rest, fold in _folds(tile_index):
        fitted = fit_surprise(statistics[rest], clusters[rest], n_clusters, components)
        left_out[fold] = _apply(fitted, statistics[fold])
    return fit_surprise(statistics, clusters, n_clusters, components), left_out


def tile_surprise(tiles: Sequence[Float64Array]) -> TileSurprise:
    """Return how far above the usual the mean surprise of a tile's cells may be, before the tile is called unlike.

    The limit is the upper end of a prediction interval for one more tile: means of tiles are taken to be normal, with
    a variance between tiles and a variance of the cells within them (a model of random effects, by its moments).

    Args:
        tiles: the surprise of the cells of each of at least two tiles, when their tile is left out of the fit.
    """
    means = np.array([cells.mean() for cells in tiles])
    within = float(np.mean([cells.var() for cells in tiles]))
    by_cells = float(np.mean([cells.var() / len(cells) for cells in tiles]))
    between = max(0.0, float(means.var(ddof=1)) - by_cells)
    quantile = float(stats.t.ppf(TILE_CONFIDENCE, len(tiles) - 1))
    return TileSurprise(
        mean=float(means.mean()),
        tile_margin=quantile * (between + (between + by_cells) / len(tiles)) ** 0.5,
        cell_margin=quantile * within**0.5,
        tiles=len(tiles),
    )


def fit_surprise(statistics: Float64Array, clusters: Int64Array, n_clusters: int, components: int) -> Surprise:
    """Fit a Gaussian to each cluster, with a covariance that is shrunk as in Ledoit & Wolf (2004).

    Args:
        statistics: (N, D) float64 of `map_statistics`.
        clusters: (N,) the cluster of each cell.
        n_clusters: K; a cluster of fewer than two cells has no Gaussian.
        components: P, number of principal components.
    """
    spread = statistics.std(axis=0)
    # A channel that is the same for all cells carries no information.
    scale = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 1e-9)
    mean = statistics.mean(axis=0)
    pca = PCA(components, svd_solver="full").fit((statistics - mean) * scale)
    # Components along which the cells hardly vary are left out: dividing by their deviation would amplify noise.
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
        # If the cells of a cluster are all alike, the smallest difference would be a surprise.
        precision = np.linalg.inv(LedoitWolf().fit(members).covariance_ + MIN_COVARIANCE * np.eye(components))
        surprise.centres[cluster] = torch.from_numpy(members.mean(axis=0))
        surprise.whitening[cluster] = torch.from_numpy(np.linalg.cholesky(precision))
        surprise.log_weights[cluster] = float(np.log(len(members) / len(scores)) + np.linalg.slogdet(precision)[1] / 2)
    return surprise


def _folds(tile_index: Int64Array) -> list[tuple[Int64Array, Int64Array]]:
    """Return folds that leave out whole tiles, or cells if there is only one tile."""
    n_tiles = len(np.unique(tile_index))
    if n_tiles > 1:
        return list(GroupKFold(min(FOLDS, n_tiles)).split(tile_index, groups=tile_index))
    return list(KFold(min(FOLDS, len(tile_index)), shuffle=True, random_state=0).split(tile_index))


def _certain_share(outlier: BoolArray) -> float:
    """Return the share of outliers in a tile, less two standard errors: a tile of four cells proves little."""
    share = float(outlier.mean())
    return share - 2 * (share * (1 - share) / len(outlier)) ** 0.5


def _apply(surprise: Surprise, statistics: Float64Array) -> Float64Array:
    """Return the surprise of each cell, (N, D) → (N,)."""
    with torch.no_grad():
        return np.asarray(surprise(torch.from_numpy(statistics).float()).double().numpy())
