"""How near the cells of one cluster lie to those of another, and how near they would lie by chance."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.spatial import cKDTree

from app.batch.cells import SlideCells
from app.batch.summary import PairSummary
from app.pipeline.types import BoolArray, Float32Array, Float64Array, Int64Array

MIN_CELLS = 10
"""Of each of both clusters: a mean over fewer distances says little."""
DIGITS = 4
"""Of what is told in the summary."""
LOOKS = 20_000
"""Cells that look round in one shuffle. Of more, the mean hardly changes: with one shuffle of so many it is known to
about 1%."""
ALL_LOOKS, SHUFFLES = 200_000, (10, 100)
"""Looks of all shuffles together, and fewest and most shuffles: few cells need many shuffles, and many cells few."""


def nearest_um(cells: SlideCells, um_per_px: float, n_clusters: int) -> Float32Array:
    """Distance from each cell to the nearest other one of each cluster, centroid to centroid.

    Outliers are of no cluster: nobody finds them, and they do not look.

    Args:
        cells: of the slide.
        um_per_px: of level 0.
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
    """Median distance of each pair of clusters, and the mean one over that by chance.

    By chance means: the same places, the same number of cells of each cluster, dealt out at random. So what the
    tissue's shape and the density of all cells together do to distances is in both, and falls out of the ratio.

    Args:
        cells: of the slide.
        nearest: `nearest_um` of them.
        um_per_px: of level 0.
        n_clusters: K.

    Returns:
        K² of them: each cluster that looks, with each that it looks for.
    """
    places, clusters = _counted(cells)
    others, own = _by_chance(places, clusters, n_clusters)
    sizes = np.bincount(clusters, minlength=n_clusters)
    summaries = []
    for cluster in range(n_clusters):
        looking = nearest[~cells.outlier][clusters == cluster].astype(np.float64)
        for other in range(n_clusters):
            found = looking[:, other][np.isfinite(looking[:, other])]
            expected = um_per_px * (own if other == cluster else others)[other]
            is_enough = min(sizes[cluster], sizes[other]) >= MIN_CELLS and expected > 0
            summaries.append(
                PairSummary(
                    cluster=cluster,
                    other=other,
                    cells=int(sizes[cluster]),
                    median_um=round(float(np.median(found)), DIGITS) if found.size else None,
                    ratio=round(float(found.mean() / expected), DIGITS) if is_enough else None,
                )
            )
    return summaries


def _counted(cells: SlideCells) -> tuple[Float64Array, Int64Array]:
    return cells.centroids[~cells.outlier], cells.clusters[~cells.outlier]


def _nearest(
    places: Float64Array, clusters: Int64Array, cluster: int, looking: BoolArray | None = None
) -> Float64Array:
    """Distance in px from each place (or those that are `looking`) to the nearest other one of a cluster."""
    looking = np.ones(len(places), bool) if looking is None else looking
    among = clusters == cluster
    distances = np.full(len(places), np.inf)
    if among.any():
        tree = cKDTree(places[among])
        strangers, members = looking & ~among, looking & among
        distances[strangers] = tree.query(places[strangers])[0]
        # A member finds itself first.
        distances[members] = tree.query(places[members], k=2)[0][:, 1]
    return np.where(np.isfinite(distances), distances, np.nan)[looking]


def _by_chance(places: Float64Array, clusters: Int64Array, n_clusters: int) -> tuple[Float64Array, Float64Array]:
    """Mean distance in px to the nearest of each cluster, when clusters are dealt out at random.

    Whoever looks stands anywhere, so only whether they are of that cluster themselves makes a difference.

    Returns:
        (K,) float64 for those of another cluster, and (K,) for those of their own; 0 where nobody looks or is there.
    """
    sums, looks = np.zeros((2, n_clusters)), np.zeros((2, n_clusters))
    for shuffled, looking in _shuffles(clusters):
        for cluster in range(n_clusters):
            distances = _nearest(places, shuffled, cluster, looking)
            for side, is_own in enumerate((False, True)):
                found = distances[(shuffled[looking] == cluster) == is_own]
                found = found[np.isfinite(found)]
                sums[side, cluster] += found.sum()
                looks[side, cluster] += found.size
    means = np.divide(sums, looks, out=np.zeros_like(sums), where=looks > 0)
    return means[0], means[1]


def _shuffles(clusters: Int64Array) -> Iterator[tuple[Int64Array, BoolArray]]:
    """The clusters in another order, and which cells look round; always the same, so that a slide has one result."""
    n = len(clusters)
    if n == 0:
        return
    rng = np.random.default_rng(0)
    fewest, most = SHUFFLES
    for _ in range(min(most, max(fewest, ALL_LOOKS // n))):
        looking = np.zeros(n, bool)
        looking[rng.permutation(n)[:LOOKS]] = True
        yield rng.permutation(clusters), looking
