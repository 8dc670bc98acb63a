"""What every system of Tables I–III is to the evaluation: cells in, clusters or features out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from app.pipeline.types import Float32Array, Int64Array, UInt8Array


class Clusterer(Protocol):
    """Learns clusters of cells without any label."""

    def fit(self, crops: UInt8Array) -> None:
        """Learn from (N, 32, 32, 3) uint8 crops; the same crops, number of clusters and seed give the same clusters."""

    def clusters(self, crops: UInt8Array) -> Int64Array:
        """Cluster of each crop, (N, 32, 32, 3) uint8 → (N,) int64 in 0 … K − 1."""

    def notes(self) -> dict[str, float]:
        """What is worth knowing of the fit (a last loss, a share of the largest cluster), all finite."""


@runtime_checkable
class Probable(Protocol):
    """A clusterer that says how sure it is."""

    def probabilities(self, crops: UInt8Array) -> Float32Array:
        """(N, 32, 32, 3) uint8 → (N, K) float32, rows sum to 1."""


class Describer(Protocol):
    """Gives features of cells for a supervised classifier (Table I)."""

    def fit(self, crops: UInt8Array) -> None:
        """Learn from (N, 32, 32, 3) uint8 crops, without labels; a fixed descriptor learns nothing."""

    def features(self, crops: UInt8Array) -> Float32Array:
        """(N, 32, 32, 3) uint8 → (N, D) float32."""


ClustererFactory = Callable[[int, int], Clusterer]
"""n_clusters, seed → an unfitted system."""
DescriberFactory = Callable[[int], Describer]
"""seed → an unfitted descriptor."""
