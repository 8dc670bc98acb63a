"""Islands: groups of cells of one cluster that lie closer together than the share of that cluster would explain.

This is DBSCAN (Ester et al. 1996) with another condition for core cells, as Sander et al. (1998) allow. A fixed number
of neighbours of the same cluster would turn a common cluster, or any dense part of the tissue, into one island.
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
"""The radius in which a cell's neighbours are counted: two to three cells. Erythroblasts of an island lie 8–12 µm
apart, so that their nuclei nearly touch; marrow has 5–10 cells of all kinds within this radius."""
MIN_CELLS = 8
"""The smallest number of cells of the cluster within the radius round a core cell, that cell included. Fewer are not an
island, however improbable they are."""
CHANCE = 1e-4
"""The largest probability that, with clusters assigned at random, as many neighbours of a core cell would be of its own
cluster. Among 100,000 cells mixed at random this makes at most four islands, and none at the density of marrow; three
times this value made ten."""


def islands(cells: SlideCells, um_per_px: float) -> Int32Array:
    """Find the island that each cell belongs to.

    A cell is a core cell if at least `MIN_CELLS` cells of its cluster, and more than chance would bring, lie within
    `RADIUS_UM` of it. Core cells within that distance of each other belong to one island, and so do all other cells of
    the cluster within that distance of a core cell.

    Args:
        cells: the cells of the slide; outliers are ignored.
        um_per_px: µm per px of level 0.

    Returns:
        (N,) int32, the number of the island; −1 for a cell in none. The islands of all clusters are numbered together,
        from 0, in the order of their topmost cells.
    """
    counted = np.flatnonzero(~cells.outlier)
    places, clusters = cells.centroids[counted] * um_per_px, cells.clusters[counted]
    numbers = np.full(len(cells), -1, np.int32)
    if not counted.size:
        return numbers
    all_cells = cKDTree(places)
    next_number = 0
    for cluster in np.unique(clusters):
        members = np.flatnonzero(clusters == cluster)
        of_members = _of_one_cluster(places[members], all_cells, len(counted))
        is_in = of_members >= 0
        numbers[counted[members[is_in]]] = of_members[is_in] + next_number
        next_number += int(of_members.max(initial=-1)) + 1
    return _from_top_to_bottom(numbers, cells.centroids)


def island_summaries(cells: SlideCells, numbers: Int32Array, n_clusters: int) -> list[IslandSummary]:
    """Summarise the islands of each cluster.

    Args:
        cells: the cells of the slide.
        numbers: the result of `islands`.
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


def _of_one_cluster(members: Float64Array, all_cells: cKDTree, n_cells: int) -> Int64Array:
    """Find the islands of one cluster.

    Args:
        members: (M, 2) places of the cluster's cells, µm.
        all_cells: the places of the cells of all clusters, µm.
        n_cells: the number of all cells.

    Returns:
        (M,) int64, the number of each member's island; −1 for a member in none.
    """
    tree = cKDTree(members)
    is_core = _are_core(members, tree, all_cells, (len(members) - 1) / max(n_cells - 1, 1))
    numbers = np.full(len(members), -1, np.int64)
    if not is_core.any():
        return numbers
    cores = cKDTree(members[is_core])
    pairs = cores.query_pairs(RADIUS_UM, output_type="ndarray")
    links = coo_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(cores.n, cores.n))
    island_of_core = connected_components(links, directed=False)[1]
    distance, nearest_core = cores.query(members, distance_upper_bound=RADIUS_UM)
    is_in = np.isfinite(distance)
    numbers[is_in] = island_of_core[nearest_core[is_in]]
    return numbers


def _are_core(members: Float64Array, tree: cKDTree, all_cells: cKDTree, share: float) -> BoolArray:
    """(M,) bool, which members are core cells, if `share` of all other cells belong to their cluster."""
    # The cell in the middle is of the cluster by definition, so it is not counted as evidence: hence the − 1.
    own = tree.query_ball_point(members, RADIUS_UM, return_length=True) - 1
    of_all_clusters = all_cells.query_ball_point(members, RADIUS_UM, return_length=True) - 1
    by_chance = bdtrc(own - 1, of_all_clusters, share)
    return np.asarray((own + 1 >= MIN_CELLS) & (by_chance <= CHANCE))


def _from_top_to_bottom(numbers: Int32Array, centroids: Float64Array) -> Int32Array:
    """Number the islands anew, in the order of their topmost cells."""
    order = np.lexsort((centroids[:, 0], centroids[:, 1]))
    seen, first = np.unique(numbers[order], return_index=True)
    is_island = seen >= 0
    rank = np.empty(int(is_island.sum()), np.int32)
    rank[np.argsort(first[is_island])] = np.arange(rank.size, dtype=np.int32)
    ordered = np.full_like(numbers, -1)
    ordered[numbers >= 0] = rank[numbers[numbers >= 0]]
    return ordered
