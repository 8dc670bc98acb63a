"""Crops → cluster probabilities, in bounded batches."""

from __future__ import annotations

import numpy as np

from app.pipeline.backends import Backend
from app.pipeline.crops import to_network
from app.pipeline.types import Float32Array, UInt8Array

BATCH = 256
"""Crops per call of Q: large enough to fill the cores, small enough to bound memory on a crowded tile."""


def encode(crops: UInt8Array, backend: Backend, n_clusters: int) -> Float32Array:
    """Cluster probabilities of every cell (paper §III-A2).

    Args:
        crops: (N, 32, 32, 3) uint8, N ≥ 0.
        backend: holds Q.
        n_clusters: K.

    Returns:
        (N, K) float32, rows sum to 1.
    """
    if len(crops) == 0:
        return np.zeros((0, n_clusters), np.float32)
    batches = (crops[i : i + BATCH] for i in range(0, len(crops), BATCH))
    return np.concatenate([backend.cluster_probs(to_network(batch)) for batch in batches])
