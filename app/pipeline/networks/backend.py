"""What a backend of the networks Q and G offers, whichever library computes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from app.pipeline.types import Float32Array

BackendName = Literal["onnxruntime", "pytorch"]
Device = Literal["cpu", "cuda"]
Precision = Literal["fast", "full"]
"""Which of a bundle's two Qs is asked: the full one, or the one in 8-bit integers."""


@dataclass(frozen=True, slots=True)
class Described:
    """What Q gives for N crops.

    Attributes:
        cluster_probs: (N, K) float32, rows sum to 1.
        surprise: (N,) float32; see `encode.Encoded`.
        features: (N, F) float32, what Q's encoder sees of each cell; None where Q has no encoder of its own.
    """

    cluster_probs: Float32Array
    surprise: Float32Array
    features: Float32Array | None = None

    @classmethod
    def joined(cls, parts: Sequence[Described]) -> Described:
        """Return what Q gives for the crops of all parts, at least one, in their order."""
        features = [part.features for part in parts if part.features is not None]
        return cls(
            np.concatenate([part.cluster_probs for part in parts]),
            np.concatenate([part.surprise for part in parts]),
            np.concatenate(features) if features else None,
        )

    def rows(self, chosen: slice) -> Described:
        """Return what Q gives for some of the crops."""
        features = None if self.features is None else self.features[chosen]
        return Described(self.cluster_probs[chosen], self.surprise[chosen], features)


class Backend(Protocol):
    """Q and G of one bundle. They may be called from several threads at once."""

    name: BackendName
    device: Device
    precisions: tuple[Precision, ...]
    """Precisions that Q can be asked for; "full" is always among them."""

    def describe(self, crops: Float32Array, precision: Precision = "full") -> Described:
        """Apply Q to crops, (N, C, 32, 32) float32 in [-1, 1]."""

    def generate(self, latent: Float32Array) -> Float32Array:
        """Apply G to [one-hot c, z], (N, K + Z) float32.

        Returns:
            Cells, (N, C, 32, 32) float32 in [-1, 1].
        """
