"""Crops → calibrated cluster probabilities and surprise, in batches of bounded size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.pipeline.crops import to_network
from app.pipeline.networks.backend import Backend, Described, Device, Precision
from app.pipeline.types import Float32Array, UInt8Array

BATCH: dict[Device, int] = {"cpu": 128, "cuda": 1024}
"""Crops per call of Q: enough to use all cores, few enough to stay in their cache, or to bound memory on a GPU."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """What Q gives for N cells.

    Attributes:
        cluster_probs: (N, K) float32, rows sum to 1 (paper §III-A2); calibrated by the temperature that was asked for.
        surprise: (N,) float32, how unlike the training cells each cell is: −log of their density at the cell, in nats
            up to a constant (`architecture.Surprise`). A cell above the bundle's threshold is an outlier.
        precision: which Q was asked.
        features: (N, F) float32, what Q's encoder sees of each cell; None where Q has no encoder of its own, and where
            there is no cell.
    """

    cluster_probs: Float32Array
    surprise: Float32Array
    precision: Precision
    features: Float32Array | None = None


def encode(
    crops: UInt8Array, backend: Backend, n_clusters: int, precision: Precision = "full", temperature: float = 1.0
) -> Encoded:
    """Apply Q to every cell.

    Args:
        crops: (N, 32, 32, C) uint8, N ≥ 0.
        backend: backend that computes Q.
        n_clusters: K.
        precision: which Q to ask; the full one is asked where the backend has no fast one.
        temperature: divides the logits of Q, `Manifest.temperature`; 1 leaves the probabilities as they are.
    """
    used: Precision = precision if precision in backend.precisions else "full"
    if len(crops) == 0:
        return Encoded(np.zeros((0, n_clusters), np.float32), np.zeros(0, np.float32), used)
    size = BATCH[backend.device]
    batches = [backend.describe(to_network(crops[i : i + size]), used) for i in range(0, len(crops), size)]
    found = Described.joined(batches)
    return Encoded(tempered(found.cluster_probs, temperature), found.surprise, used, found.features)


def rounded_features(features: Float32Array) -> NDArray[np.float16]:
    """Return (N, F) float32 features as answers and tables have them: the nearest finite numbers of 16 bits."""
    limit = float(np.finfo(np.float16).max)
    return features.clip(-limit, limit).astype(np.float16)


def tempered(probabilities: Float32Array, temperature: float) -> Float32Array:
    """Return softmax(logits / temperature) of (N, K) probabilities; their order in a row stays as it is."""
    if temperature == 1:
        return probabilities
    odds = (probabilities / probabilities.max(axis=1, keepdims=True)).astype(np.float64) ** (1 / temperature)
    return np.asarray(odds / odds.sum(axis=1, keepdims=True), np.float32)
