"""Who computes Q and G: ONNX Runtime where its files and library are there, PyTorch otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from app.pipeline.errors import InvalidBundle
from app.pipeline.manifest import GENERATOR_ONNX, Q_ONNX, WEIGHTS, Manifest
from app.pipeline.types import Float32Array

BackendName = Literal["onnxruntime", "pytorch"]
Device = Literal["cpu", "cuda"]


class Backend(Protocol):
    """Q and G of one bundle; safe to call from several threads."""

    name: BackendName
    device: Device

    def describe(self, crops: Float32Array) -> tuple[Float32Array, Float32Array]:
        """Q: (N, 3, 32, 32) in [-1, 1] → cluster probabilities (N, K), and surprise (N,)."""

    def generate(self, latent: Float32Array) -> Float32Array:
        """G: (N, K + Z) = [one-hot c, z] → (N, 3, 32, 32) in [-1, 1]."""


class OnnxBackend:
    """One ONNX Runtime session for each network, shared by every request.

    Args:
        directory: the bundle.
        threads: intra-op threads; 0 lets ONNX Runtime take one per core.
    """

    name: BackendName = "onnxruntime"

    def __init__(self, directory: Path, threads: int = 0) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        wanted = ("CUDAExecutionProvider", "CPUExecutionProvider")
        providers = [provider for provider in wanted if provider in onnxruntime.get_available_providers()]
        if wanted[0] in providers:
            # The GPU build finds the CUDA libraries that pip installed beside it only when asked to.
            onnxruntime.preload_dlls()
        self._q = onnxruntime.InferenceSession(directory / Q_ONNX, options, providers=providers)
        self._generator = onnxruntime.InferenceSession(directory / GENERATOR_ONNX, options, providers=providers)
        # A CUDA build without a usable GPU falls back on its own: ask the session what it really uses.
        self.device: Device = "cuda" if self._q.get_providers()[0].startswith("CUDA") else "cpu"

    def describe(self, crops: Float32Array) -> tuple[Float32Array, Float32Array]:
        """See `Backend`."""
        cluster_probs, surprise = self._q.run(None, {"crops": crops})
        return np.asarray(cluster_probs), np.asarray(surprise)

    def generate(self, latent: Float32Array) -> Float32Array:
        """See `Backend`."""
        return np.asarray(self._generator.run(None, {"latent": latent})[0])


def open_backend(directory: Path, manifest: Manifest, threads: int = 0) -> Backend:
    """ONNX Runtime (CUDA, else CPU) when both ONNX files are there, else PyTorch (CUDA, else CPU).

    Args:
        directory: the bundle.
        manifest: its manifest.
        threads: see `OnnxBackend`.

    Raises:
        InvalidBundle: neither backend can be opened; the text says why.
    """
    try:
        if (directory / Q_ONNX).is_file() and (directory / GENERATOR_ONNX).is_file():
            return OnnxBackend(directory, threads)
        reason = f"{Q_ONNX} or {GENERATOR_ONNX} is missing"
    except ImportError:
        reason = "ONNX Runtime is not installed"
    except Exception as error:  # ONNX Runtime's own exceptions share no public base class
        raise InvalidBundle(f"ONNX Runtime cannot open the bundle: {type(error).__name__}.") from error
    if not (directory / WEIGHTS).is_file():
        raise InvalidBundle(f"{reason}, and so is {WEIGHTS}.")
    try:
        from app.pipeline.torch_backend import TorchBackend
    except ImportError as error:
        raise InvalidBundle(f"{reason}, and the PyTorch fallback (extra 'torch') is not installed.") from error
    return TorchBackend(directory, manifest)
