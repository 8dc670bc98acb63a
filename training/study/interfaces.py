"""The interfaces of the systems that are compared: cells go in, clusters or features come out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from app.pipeline.types import Float32Array, Int64Array, UInt8Array

if TYPE_CHECKING:
    from training.cells.unlabelled import UnlabelledCells


class Clusterer(Protocol):
    """A system that learns clusters of cells without any label (Tables II to IV)."""

    def fit(self, cells: UnlabelledCells) -> None:
        """Learn from cells with crops of 7 channels; the same cells, K and seed give the same clusters."""

    def clusters(self, crops: UInt8Array) -> Int64Array:
        """Return the cluster of each crop, (N, 32, 32, 7) uint8 → (N,) int64 in 0 … K − 1."""

    def notes(self) -> dict[str, float]:
        """Return finite figures about the fit for the report, such as its last loss or the largest cluster's share."""


@runtime_checkable
class Probable(Protocol):
    """A clusterer with probabilities."""

    def probabilities(self, crops: UInt8Array) -> Float32Array:
        """Return the probabilities of the clusters, (N, 32, 32, 7) uint8 → (N, K) float32, rows sum to 1."""


class Describer(Protocol):
    """A system that computes features of cells for a classifier that learns types (Table I)."""

    def fit(self, cells: UnlabelledCells) -> None:
        """Learn from cells with crops of 7 channels, without labels; a fixed descriptor does nothing."""

    def features(self, crops: UInt8Array) -> Float32Array:
        """Return the features, (N, 32, 32, 7) uint8 → (N, D) float32."""


@runtime_checkable
class TypeLearner(Protocol):
    """A describer that is told the types of the cells it learns from: no rival, but the ceiling of Table I."""

    def fit_types(self, cells: UnlabelledCells, types: Int64Array) -> None:
        """Learn from cells with crops of 7 channels and the (N,) int64 type of each."""

    def features(self, crops: UInt8Array) -> Float32Array:
        """Return the features, (N, 32, 32, 7) uint8 → (N, D) float32."""


ClustererFactory = Callable[[int, int], Clusterer]
"""(n_clusters, seed) → a clusterer that is not fitted yet."""
DescriberFactory = Callable[[int], Describer]
"""seed → a describer that is not fitted yet."""
