"""What a backend of the networks Q and G offers, whichever library computes them."""

from __future__ import annotations

from typing import Literal, Protocol

from app.pipeline.types import Float32Array

BackendName = Literal["onnxruntime", "pytorch"]
Device = Literal["cpu", "cuda"]
Precision = Literal["fast", "full"]
"""Which of a bundle's two Qs is asked: the full one, or the one in 8-bit integers."""


class Backend(Protocol):
    """Q and G of one bundle. They may be called from several threads at once."""

    name: BackendName
    device: Device
    precisions: tuple[Precision, ...]
    """Precisions that Q can be asked for; "full" is always among them."""

    def describe(self, crops: Float32Array, precision: Precision = "full") -> tuple[Float32Array, Float32Array]:
        """Apply Q to crops, (N, C, 32, 32) float32 in [-1, 1].

        Returns:
            Cluster probabilities (N, K) float32, and surprise (N,) float32; see `encode.Encoded`.
        """

    def generate(self, latent: Float32Array) -> Float32Array:
        """Apply G to [one-hot c, z], (N, K + Z) float32.

        Returns:
            Cells, (N, C, 32, 32) float32 in [-1, 1].
        """
