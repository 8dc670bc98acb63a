"""How well clusters agree with types: the scores of Tables II and III, as pure functions."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import adjusted_rand_score, f1_score, normalized_mutual_info_score
from sklearn.metrics.cluster import contingency_matrix

from app.pipeline.types import Int64Array


def score_clusters(types: Int64Array, clusters: Int64Array) -> dict[str, float]:
    """Every score of a clustering.

    Args:
        types: (N,) int64 type of each cell, N ≥ 1.
        clusters: (N,) int64 cluster of each cell.

    Returns:
        purity, class_entropy, printed_entropy, f1: as the functions of these names have them. nmi: mutual information
        over the mean of both entropies. ari: adjusted Rand index (both by scikit-learn). largest_share: share of cells
        in the largest cluster. used_clusters: how many clusters hold a cell.

    Raises:
        ValueError: they differ in length or are empty.
    """
    if len(types) != len(clusters) or len(types) == 0:
        raise ValueError(
            f"Types and clusters must be as many and at least one, found {len(types)} and {len(clusters)}."
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


def purity(table: np.ndarray) -> float:
    """Eq. 14, left: share of cells that are of the commonest type of their cluster.

    Args:
        table: (J, K) int64 cells of each type in each cluster, no column empty.
    """
    return float(table.max(axis=0).sum() / table.sum())


def class_entropy(table: np.ndarray) -> float:
    """Entropy of the types within a cluster, in bits, weighted by the cluster's size: 0 where each holds one type.

    The paper prints another (`printed_entropy`), but its figures are of this kind: 1.561 at purity .392 with three
    types is just below log₂ 3.

    Args:
        table: (J, K) int64 cells of each type in each cluster, no column empty.
    """
    sizes = table.sum(axis=0)
    shares = table / sizes
    logs = np.log2(shares, where=shares > 0, out=np.zeros(table.shape))
    return float((sizes / sizes.sum() * -(shares * logs).sum(axis=0)).sum())


def printed_entropy(table: np.ndarray) -> float:
    """Eq. 14, right, as it is printed: −Σ |ω|/N · ln(|ω|/N), in nats, the base being open in the paper.

    It knows no types: it is the entropy of the clusters' sizes, smallest where all cells are in one cluster.

    Args:
        table: (J, K) int64 cells of each type in each cluster, no column empty.
    """
    shares = table.sum(axis=0) / table.sum()
    return float(-(shares * np.log(shares)).sum())


def majority_f1(types: Int64Array, clusters: Int64Array) -> float:
    """F of each type by eq. 13, every cluster standing for its commonest type; mean weighted by the cells of a type.

    A type that no cluster stands for has F = 0; of types equally common in a cluster the first counts.
    """
    _, cluster_of = np.unique(clusters, return_inverse=True)
    _, type_of = np.unique(types, return_inverse=True)
    commonest = contingency_matrix(types, clusters).argmax(axis=0)
    return float(f1_score(type_of, commonest[cluster_of], average="weighted", zero_division=0))
