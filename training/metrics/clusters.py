"""Scores for the agreement of clusters with types, over all cells and within tiles, as pure functions."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_rand_score, f1_score, normalized_mutual_info_score
from sklearn.metrics.cluster import contingency_matrix

from app.pipeline.types import Int64Array

CELLS_OF_A_TILE = 100
"""A tile counts in `within_tiles` if it holds more cells than this; the NMI of fewer cells is mostly chance."""


def score_clusters(types: Int64Array, clusters: Int64Array) -> dict[str, float]:
    """Return every score of a clustering.

    Args:
        types: (N,) int64, type of each cell, N ≥ 1.
        clusters: (N,) int64, cluster of each cell.

    Returns:
        purity, class_entropy, printed_entropy and f1, as `purity`, `class_entropy`, `printed_entropy` and `majority_f1`
        define them; nmi, the mutual information over the mean of both entropies; ari, the adjusted Rand index (both by
        scikit-learn); largest_share, the share of cells in the largest cluster; used_clusters, the number of clusters
        that hold a cell.

    Raises:
        ValueError: types and clusters differ in length or are empty.
    """
    if len(types) != len(clusters) or len(types) == 0:
        raise ValueError(
            f"Types and clusters must have the same length of at least 1, found {len(types)} and {len(clusters)}."
        )
    table = contingency_matrix(types, clusters)
    return {
        "purity": purity(table),
        "class_entropy": class_entropy(table),
        "printed_entropy": printed_entropy(table),
        "f1": majority_f1(types, clusters),
        "nmi": float(normalized_mutual_info_score(types, clusters)),
        "ari": float(adjusted_rand_score(types, clusters)),
        "largest_share": float(table.sum(axis=0).max() / table.sum()),
        "used_clusters": table.shape[1],
    }


def within_tiles(types: Int64Array, clusters: Int64Array, tile_index: Int64Array) -> float | None:
    """Return how well clusters and types agree inside a tile, where knowing the tile is of no help.

    Args:
        types: (N,) int64, type of each cell.
        clusters: (N,) int64, cluster of each cell.
        tile_index: (N,) int64, tile of each cell.

    Returns:
        The mean of the NMI of types and clusters over the tiles of more than 100 cells. A tile whose cells are all of
        one type is left out, because there is nothing to tell apart. None if no tile is left.
    """
    found = []
    for tile in np.unique(tile_index):
        members = tile_index == tile
        if members.sum() > CELLS_OF_A_TILE and len(np.unique(types[members])) > 1:
            found.append(normalized_mutual_info_score(types[members], clusters[members]))
    return float(np.mean(found)) if found else None


def nmi_tile(clusters: Int64Array, tile_index: Int64Array) -> float:
    """Return the NMI of (N,) clusters, or types, with the (N,) tiles that the cells lie in; 0 if they are independent.

    Clusters that know the tile seem to know the types, because a tile holds mostly one type.
    """
    return float(normalized_mutual_info_score(tile_index, clusters))


def matched_share(one: Int64Array, other: Int64Array) -> float:
    """Return the share of the cells that two clusterings put into matched clusters.

    Each cluster of one is matched with at most one of the other, so that as many cells as possible agree. Chance alone
    gives much of it, the more the larger the largest cluster is.

    Args:
        one: (N,) int64, cluster of each cell, N ≥ 1.
        other: (N,) int64, the cluster of the same cell in the other clustering.
    """
    table = contingency_matrix(one, other)
    return float(table[linear_sum_assignment(table, maximize=True)].sum() / table.sum())


def purity(table: np.ndarray) -> float:
    """Return the purity (eq. 14, left): the share of cells that are of the commonest type of their cluster.

    Args:
        table: (J, K) int64, number of cells of each type in each cluster; no column is empty.
    """
    return float(table.max(axis=0).sum() / table.sum())


def class_entropy(table: np.ndarray) -> float:
    """Return the mean entropy of the types within a cluster, in bits, weighted by size; 0 if each holds one type.

    The paper prints another formula (`printed_entropy`), but its figures are of this kind: 1.561 at purity .392 with
    three types is just below log₂ 3.

    Args:
        table: (J, K) int64, number of cells of each type in each cluster; no column is empty.
    """
    sizes = table.sum(axis=0)
    shares = table / sizes
    logs = np.log2(shares, where=shares > 0, out=np.zeros(table.shape))
    return float((sizes / sizes.sum() * -(shares * logs).sum(axis=0)).sum())


def printed_entropy(table: np.ndarray) -> float:
    """Return the entropy of eq. 14, right, as it is printed: −Σ |ω|/N · ln(|ω|/N), in nats; the paper names no base.

    It does not depend on the types: it is the entropy of the clusters' sizes, and smallest if one cluster holds all
    cells.

    Args:
        table: (J, K) int64, number of cells of each type in each cluster; no column is empty.
    """
    shares = table.sum(axis=0) / table.sum()
    return float(-(shares * np.log(shares)).sum())


def majority_f1(types: Int64Array, clusters: Int64Array) -> float:
    """Return the mean F (eq. 13) of the types, weighted by their cells; each cluster stands for its commonest type.

    A type that no cluster stands for has F = 0; if types are equally common in a cluster, it stands for the first.
    """
    _, cluster_of = np.unique(clusters, return_inverse=True)
    _, type_of = np.unique(types, return_inverse=True)
    commonest = contingency_matrix(types, clusters).argmax(axis=0)
    return float(f1_score(type_of, commonest[cluster_of], average="weighted", zero_division=0))
