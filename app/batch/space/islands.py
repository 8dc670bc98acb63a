"""Islands: places where the cells of one cluster lie close together, and closer than its share would make them.

DBSCAN (Ester et al. 1996) with a core condition of its own, as Sander et al. (1998) allow: a plain number of neighbours
would turn a cluster into one island merely for being common, and where all cells are dense.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree
from scipy.special import bdtrc

from app.batch.analyse.cells import SlideCells
from app.batch.summary import IslandSummary
from app.pipeline.types import BoolArray, Float64Array, Int32Array, Int64Array

RADIUS_UM = 25.0
"""How far a cell looks: two to three cells. Erythroblasts of an island lie 8–12 µm apart, their nuclei touching or
nearly so; marrow has 5–10 cells of all kinds within this radius."""
MIN_CELLS = 8
"""Of the cluster within that radius, the one in the middle counted: fewer are no island, whatever the odds."""
CHANCE = 1e-4
"""Probability, were the clusters dealt out at random, that as many of its neighbours are of its own cluster. Of
100,000 cells mixed at random it makes up to four islands, none at the density of marrow; thrice this made ten."""


def islands(cells: SlideCells, um_per_px: float) -> Int32Array:
    """Which island each cell is in.

    A cell is in the heart of an island where at least `MIN_CELLS` of its cluster, and more than chance would bring, lie
    within `RADIUS_UM`. Hearts within that distance of each other are of one island, and so are the other cells of the
    cluster that are so near to one.

    Args:
        cells: of the slide; outliers are in none and count nowhere.
        um_per_px: of level 0.

    Returns:
        (N,) int32; −1: in none. Islands of all clusters are numbered together, from 0, from top to bottom by their
        topmost cell.
    """
    counted = np.flatnonzero(~cells.outlier)
    places, clusters = cells.centroids[counted] * um_per_px, cells.clusters[counted]
    found = np.full(len(cells), -1, np.int32)
    if not counted.size:
        return found
    everyone = cKDTree(places)
    next_number = 0
    for cluster in np.unique(clusters):
        members = np.flatnonzero(clusters == cluster)
        numbers = _of_one_cluster(places[members], everyone, len(counted))
        is_in = numbers >= 0
        found[counted[members[is_in]]] = numbers[is_in] + next_number
        next_number += int(numbers.max(initial=-1)) + 1
    return _in_reading_order(found, cells.centroids)


def island_summaries(cells: SlideCells, numbers: Int32Array, n_clusters: int) -> list[IslandSummary]:
    """What there is of islands, for each of K clusters.

    Args:
        cells: of the slide.
        numbers: `islands` of them.
        n_clusters: K.
    """
    summaries = []
    for cluster in range(n_clusters):
        of_cluster = numbers[(cells.clusters == cluster) & ~cells.outlier]
        sizes = np.unique(of_cluster[of_cluster >= 0], return_counts=True)[1]
        summaries.append(
            IslandSummary(
                cluster=cluster,
                islands=len(sizes),
                cells=int(sizes.sum()),
                share=float(sizes.sum() / of_cluster.size) if of_cluster.size else None,
                median_cells=float(np.median(sizes)) if sizes.size else None,
            )
        )
    return summaries


def _of_one_cluster(members: Float64Array, everyone: cKDTree, n_counted: int) -> Int64Array:
    """(M, 2) places of a cluster's cells, µm → (M,) number of each one's island, −1: none."""
    tree = cKDTree(members)
    is_heart = _are_hearts(members, tree, everyone, (len(members) - 1) / max(n_counted - 1, 1))
    numbers = np.full(len(members), -1, np.int64)
    if not is_heart.any():
        return numbers
    hearts = cKDTree(members[is_heart])
    pairs = hearts.query_pairs(RADIUS_UM, output_type="ndarray")
    links = coo_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(hearts.n, hearts.n))
    island_of_heart = connected_components(links, directed=False)[1]
    distance, nearest_heart = hearts.query(members, distance_upper_bound=RADIUS_UM)
    is_in = np.isfinite(distance)
    numbers[is_in] = island_of_heart[nearest_heart[is_in]]
    return numbers


def _are_hearts(members: Float64Array, tree: cKDTree, everyone: cKDTree, share: float) -> BoolArray:
    # Whoever looks is of the cluster for certain, and no evidence for it.
    own = tree.query_ball_point(members, RADIUS_UM, return_length=True) - 1
    all_kinds = everyone.query_ball_point(members, RADIUS_UM, return_length=True) - 1
    by_chance = bdtrc(own - 1, all_kinds, share)
    return np.asarray((own + 1 >= MIN_CELLS) & (by_chance <= CHANCE))


def _in_reading_order(numbers: Int32Array, centroids: Float64Array) -> Int32Array:
    order = np.lexsort((centroids[:, 0], centroids[:, 1]))
    seen, first = np.unique(numbers[order], return_index=True)
    is_island = seen >= 0
    rank = np.empty(int(is_island.sum()), np.int32)
    rank[np.argsort(first[is_island])] = np.arange(rank.size, dtype=np.int32)
    ordered = np.full_like(numbers, -1)
    ordered[numbers >= 0] = rank[numbers[numbers >= 0]]
    return ordered
