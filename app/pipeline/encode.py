"""Crops → cluster probabilities, and how unlike the training cells each is, in bounded batches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from app.pipeline.backends import Backend
from app.pipeline.crops import to_network
from app.pipeline.types import Float32Array, UInt8Array

BATCH = 256
"""Crops per call of Q: large enough to fill the cores, small enough to bound memory on a crowded tile."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """What Q says of N cells.

    Attributes:
        cluster_probs: (N, K) float32, rows sum to 1 (paper §III-A2).
        surprise: (N,) float32, −log density among the training cells, in nats but for a constant
            (`torch_nets.Surprise`); a cell above the bundle's threshold is an outlier.
    """

    cluster_probs: Float32Array
    surprise: Float32Array


def encode(crops: UInt8Array, backend: Backend, n_clusters: int) -> Encoded:
    """Describe every cell.

    Args:
        crops: (N, 32, 32, 3) uint8, N ≥ 0.
        backend: holds Q.
        n_clusters: K.
    """
    if len(crops) == 0:
        return Encoded(np.zeros((0, n_clusters), np.float32), np.zeros(0, np.float32))
    batches = [backend.describe(to_network(crops[i : i + BATCH])) for i in range(0, len(crops), BATCH)]
    return Encoded(*(np.concatenate(parts) for parts in zip(*batches, strict=True)))
