"""What a backend of the networks Q and G offers, whichever library computes them."""

from __future__ import annotations

from typing import Literal, Protocol

from app.pipeline.types import Float32Array

BackendName = Literal["onnxruntime", "pytorch"]
Device = Literal["cpu", "cuda"]
Precision = Literal["fast", "full"]
"""Which of a bundle's two Qs is asked: the full one, or the one in 8-bit integers."""


class Backend(Protocol):
    """Q and G of one bundle; safe to call from several threads."""

    name: BackendName
    device: Device
    precisions: tuple[Precision, ...]
    """Of Q; "full" is always among them."""

    def describe(self, crops: Float32Array, precision: Precision = "full") -> tuple[Float32Array, Float32Array]:
        """Q: (N, 3, 32, 32) in [-1, 1] → cluster probabilities (N, K), and surprise (N,)."""

    def generate(self, latent: Float32Array) -> Float32Array:
        """G: (N, K + Z) = [one-hot c, z] → (N, 3, 32, 32) in [-1, 1]."""
