"""How near the cells of one cluster lie to those of another, and how near they would lie by chance."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from app.batch.analyse.cells import SlideCells
from app.batch.summary import PairSummary
from app.pipeline.types import Float32Array, Float64Array, Int64Array

MIN_CELLS = 10
"""Of each of both clusters: a mean over fewer distances says little."""
DIGITS = 4
"""Of what is told in the summary."""
LOOKS = 5_000
"""Cells that look round in one draw: of more, their mean hardly changes."""
DRAWN, DRAWS = 100_000, (4, 100)
"""Cells of a cluster in all draws together, and fewest and most draws: where few are drawn, each draw is another. Means
by chance are then known to about 1%, far better than the observed ones."""


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
    sizes = np.bincount(clusters, minlength=n_clusters)
    others, own = _by_chance(places, sizes)
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


def _nearest(places: Float64Array, clusters: Int64Array, cluster: int) -> Float64Array:
    """Distance in px from each place to the nearest other one of a cluster; NaN where there is none."""
    among = clusters == cluster
    distances = np.full(len(places), np.inf)
    if among.any():
        tree = cKDTree(places[among])
        distances[~among] = tree.query(places[~among])[0]
        # A member finds itself first.
        distances[among] = tree.query(places[among], k=2)[0][:, 1]
    return np.where(np.isfinite(distances), distances, np.nan)


def _by_chance(places: Float64Array, sizes: Int64Array) -> tuple[Float64Array, Float64Array]:
    """Mean distance in px to the nearest cell of each cluster, when clusters are dealt out at random.

    Whoever looks stands anywhere. A cell that looks for its own cluster finds one cell fewer there; that is all that
    makes a difference, so others may look in its stead.

    Args:
        places: (N, 2) px.
        sizes: (K,) cells of each cluster, N together.

    Returns:
        (K,) float64 for those of another cluster, and (K,) for those of their own; 0 where nobody looks or is there.
    """
    means, (fewest, most) = np.zeros((2, len(sizes))), DRAWS
    # Always the same lots, so that a slide has one result.
    rng = np.random.default_rng(0)
    for cluster, size in enumerate(sizes.tolist()):
        draws = min(most, max(fewest, DRAWN // max(size, 1)))
        for _ in range(draws):
            drawn = rng.choice(len(places), min(len(places), size + LOOKS), replace=False)
            members, others = drawn[:size], drawn[size:]
            for side, found in enumerate((members, members[1:])):
                if len(found) and len(others):
                    means[side, cluster] += cKDTree(places[found]).query(places[others])[0].mean() / draws
    return means[0], means[1]
