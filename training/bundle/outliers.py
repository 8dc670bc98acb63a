"""The training cells → `Surprise`, a score of how unlike them a cell is, and the limits that make it an outlier."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.covariance import LedoitWolf
from sklearn.decomposition import PCA
from sklearn.model_selection import GroupKFold, KFold

from app.pipeline.crops import to_network
from app.pipeline.manifest import Outliers
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
from app.pipeline.quality.novelty import TRAINING_SHARE, outlier_limits
from app.pipeline.types import BoolArray, Float64Array, Int64Array, UInt8Array
from training.gan.checks import in_chunks

COMPONENTS = 60
"""Number of principal components that the Gaussians are fitted on."""
MIN_VARIANCE = 1e-6
"""Smallest variance of a component that is used, as a share of the whole variance."""
MIN_COVARIANCE = 0.001
"""Added to the variance of a cluster along every component; the variance of all cells is 1."""
FOLDS = 10


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


def fit_outliers(
    q: AnyQ | ClusterNet, crops: UInt8Array, tile_index: Int64Array, compressed: UInt8Array | None = None
) -> FittedOutliers:
    """Fit a Gaussian to the cells of each cluster, and take the limits from cells of tiles that were left out.

    Args:
        q: the network whose head is Q, on the CPU.
        crops: (N, 32, 32, C) uint8, what Q sees of at least two training cells.
        tile_index: (N,) the tile of each cell.
        compressed: (N, 32, 32, C) uint8, the same cells of the tiles as JPEG. The limits of a tile also hold these: an
            ordinary JPEG file must not be called unlike. If they are None, only the crops count.
    """
    forms = [torch.from_numpy(to_network(form)) for form in (crops, compressed) if form is not None]
    clusters = in_chunks(lambda x: q.code_logits(pooled(q.trunk.maps(x))), forms[0]).argmax(1).numpy()
    # No more components than cells, also where leaving out a tile leaves few.
    components = min(COMPONENTS, len(crops) // 2, *(len(rest) for rest, _ in _folds(tile_index)))
    surprise: AnySurprise
    if isinstance(q.trunk, Encoder):
        surprise, left_out = _fit_pictures(forms, clusters, q.code_logits.out_features, components, tile_index)
    else:
        statistics = [in_chunks(lambda x: map_statistics(q.trunk.maps(x)), form).double().numpy() for form in forms]
        surprise, left_out = _fit(statistics, clusters, q.code_logits.out_features, components, tile_index)
    limits = outlier_limits(left_out, tile_index, surprise.components)
    return FittedOutliers(surprise, limits, left_out[0] > limits.threshold)


def _fit_pictures(
    forms: list[torch.Tensor], clusters: Int64Array, n_clusters: int, components: int, tile_index: Int64Array
) -> tuple[PictureSurprise, list[Float64Array]]:
    """Fit a surprise to each picture in (N, C, 32, 32) crops; the rest is as in `_fit`."""
    fitted, left_out = [], []
    for i in range(len(pictures_in(forms[0]))):
        statistics = [
            in_chunks(lambda x, i=i: picture_statistics(pictures_in(x)[i]), form).double().numpy() for form in forms
        ]
        one, scores = _fit(statistics, clusters, n_clusters, components, tile_index)
        # Each picture is as often the most surprising one: a score of 0 is as rare in all of them.
        rare = float(np.quantile(scores[0], 1 - TRAINING_SHARE))
        one.log_weights += rare
        fitted.append(one)
        left_out.append([of_form - rare for of_form in scores])
    surprise = PictureSurprise(len(fitted), fitted[0].components, n_clusters)
    surprise.of = torch.nn.ModuleList(fitted)
    return surprise, [np.max(of_pictures, axis=0) for of_pictures in zip(*left_out, strict=True)]


def _fit(
    statistics: list[Float64Array], clusters: Int64Array, n_clusters: int, components: int, tile_index: Int64Array
) -> tuple[Surprise, list[Float64Array]]:
    """Return the surprise fitted to all cells, and that of each cell when its tile is left out of the fit.

    Args:
        statistics: (N, D) of the cells in each form; only the first form is fitted to.
        clusters: (N,) the cluster of each cell.
        n_clusters: K.
        components: P.
        tile_index: (N,) the tile of each cell.

    Returns:
        The surprise, and (N,) for each form.
    """
    components = min(components, statistics[0].shape[1])
    left_out = [np.zeros(len(form)) for form in statistics]
    for rest, fold in _folds(tile_index):
        fitted = fit_surprise(statistics[0][rest], clusters[rest], n_clusters, components)
        for scores, form in zip(left_out, statistics, strict=True):
            scores[fold] = _apply(fitted, form[fold])
    return fit_surprise(statistics[0], clusters, n_clusters, components), left_out


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


def _apply(surprise: Surprise, statistics: Float64Array) -> Float64Array:
    """Return the surprise of each cell, (N, D) → (N,)."""
    with torch.no_grad():
        return np.asarray(surprise(torch.from_numpy(statistics).float()).double().numpy())
