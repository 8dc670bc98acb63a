"""How near the cells of one cluster lie to those of another, compared with how near they would lie by chance."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from app.batch.analyse.cells import SlideCells
from app.batch.summary import PairSummary
from app.pipeline.types import Float32Array, Float64Array, Int64Array

MIN_CELLS = 10
"""The smallest number of cells of either cluster: a mean over fewer distances says little."""
DECIMALS = 4
"""Decimals of the distances and ratios in a summary."""
STARTS = 5_000
"""The largest number of cells from which distances are measured in one random draw; with more, their mean hardly
changes."""
DRAWN = 100_000
"""The number of a cluster's cells in all draws together. Means by chance are then known to about 1%, far better than
the observed means are."""
MIN_DRAWS, MAX_DRAWS = 4, 100
"""A small cluster is drawn more often, because its draws differ more from each other."""


def nearest_um(cells: SlideCells, um_per_px: float, n_clusters: int) -> Float32Array:
    """Measure the distance from each cell to the nearest other cell of each cluster, between centroids.

    Outliers belong to no cluster: no distance is measured from them or to them.

    Args:
        cells: the cells of the slide.
        um_per_px: µm per px of level 0.
        n_clusters: K.

    Returns:
        (N, K) float32 µm; NaN where the cluster has no other cell, and in the rows of outliers.
    """
    places, clusters = _counted(cells)
    distances = np.stack([_nearest(places, clusters, k) for k in range(n_clusters)], axis=1)
    nearest = np.full((len(cells), n_clusters), np.nan, np.float32)
    nearest[~cells.outlier] = um_per_px * distances
    return nearest


def pair_summaries(cells: SlideCells, nearest: Float32Array, um_per_px: float, n_clusters: int) -> list[PairSummary]:
    """Summarise the distances of each pair of clusters: their median, and their mean compared with that by chance.

    By chance means that the clusters are assigned to the same places at random, each to as many cells as it has. The
    shape of the tissue and the density of all cells change both means alike, so they cancel out of the ratio.

    Args:
        cells: the cells of the slide.
        nearest: the result of `nearest_um`.
        um_per_px: µm per px of level 0.
        n_clusters: K.

    Returns:
        K² summaries: from each cluster to each cluster.
    """
    places, clusters = _counted(cells)
    sizes = np.bincount(clusters, minlength=n_clusters)
    to_another, to_own = _mean_by_chance(places, sizes)
    summaries = []
    for cluster in range(n_clusters):
        of_cluster = nearest[~cells.outlier][clusters == cluster].astype(np.float64)
        for other in range(n_clusters):
            distances = of_cluster[:, other][np.isfinite(of_cluster[:, other])]
            expected = um_per_px * (to_own if other == cluster else to_another)[other]
            is_enough = min(sizes[cluster], sizes[other]) >= MIN_CELLS and expected > 0
            summaries.append(
                PairSummary(
                    cluster=cluster,
                    other=other,
                    cells=int(sizes[cluster]),
                    median_um=round(float(np.median(distances)), DECIMALS) if distances.size else None,
                    ratio=round(float(distances.mean() / expected), DECIMALS) if is_enough else None,
                )
            )
    return summaries


def _counted(cells: SlideCells) -> tuple[Float64Array, Int64Array]:
    """Return the places and clusters of the cells that are not outliers."""
    return cells.centroids[~cells.outlier], cells.clusters[~cells.outlier]


def _nearest(places: Float64Array, clusters: Int64Array, cluster: int) -> Float64Array:
    """Return the distance in px from each place to the nearest other place of a cluster; NaN where there is none."""
    is_member = clusters == cluster
    distances = np.full(len(places), np.inf)
    if is_member.any():
        tree = cKDTree(places[is_member])
        distances[~is_member] = tree.query(places[~is_member])[0]
        # The nearest place of a member is its own, so the second nearest is taken.
        distances[is_member] = tree.query(places[is_member], k=2)[0][:, 1]
    return np.where(np.isfinite(distances), distances, np.nan)


def _mean_by_chance(places: Float64Array, sizes: Int64Array) -> tuple[Float64Array, Float64Array]:
    """Compute the mean distance to the nearest cell of each cluster if clusters are assigned to the places at random.

    Then the distance does not depend on the cluster of the cell from which it is measured. Only a cell of the same
    cluster makes a difference, because the cluster has one other cell fewer for it. So distances are measured from
    places that are not drawn for the cluster: to all of its places, and to all but one of them.

    Args:
        places: (N, 2) px.
        sizes: (K,) the number of cells of each cluster, N together.

    Returns:
        (K,) float64 px from a cell of another cluster, and (K,) from one of the same; 0 if there is no such distance.
    """
    means = np.zeros((2, len(sizes)))
    # The seed is fixed, so that a slide always has the same result.
    rng = np.random.default_rng(0)
    for cluster, size in enumerate(sizes.tolist()):
        draws = min(MAX_DRAWS, max(MIN_DRAWS, DRAWN // max(size, 1)))
        for _ in range(draws):
            drawn = rng.choice(len(places), min(len(places), size + STARTS), replace=False)
            members, starts = drawn[:size], drawn[size:]
            for row, targets in enumerate((members, members[1:])):
                if len(targets) and len(starts):
                    means[row, cluster] += cKDTree(places[targets]).query(places[starts])[0].mean() / draws
    return means[0], means[1]
