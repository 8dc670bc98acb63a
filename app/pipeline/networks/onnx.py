"""Q and G by ONNX Runtime, on CUDA when there is a GPU."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from app.cpus import usable_cpus
from app.pipeline.crops import to_network
from app.pipeline.manifest import GENERATOR_ONNX, Q_FAST_ONNX, Q_ONNX
from app.pipeline.networks.backend import BackendName, Described, Device, Precision
from app.pipeline.types import Float32Array, UInt8Array

CUDA = "CUDAExecutionProvider"
PROVIDERS: dict[str, dict[str, str]] = {
    # By default every algorithm is timed again for each number of crops, which differs from tile to tile.
    CUDA: {"cudnn_conv_algo_search": "HEURISTIC"},
    "CPUExecutionProvider": {},
}


class OnnxBackend:
    """Computes Q and G by one ONNX Runtime session each, which all requests share.

    Args:
        directory: directory of the bundle.
        threads: threads within one operator; 0 means one per core that may be used.
        has_fast: whether the bundle has a fast Q. It is not opened on CUDA, since its 8-bit convolutions are made for
            CPUs.
    """

    name: BackendName = "onnxruntime"

    def __init__(self, directory: Path, threads: int = 0, *, has_fast: bool = False) -> None:
        self._q = {"full": open_session(directory / Q_ONNX, threads)}
        self._generator = open_session(directory / GENERATOR_ONNX, threads)
        # A CUDA build without a usable GPU falls back to the CPU silently, so the session is asked what it uses.
        self.device: Device = "cuda" if self._q["full"].get_providers()[0] == CUDA else "cpu"
        self.precisions: tuple[Precision, ...] = ("full",)
        if has_fast and self.device == "cpu":
            self._q["fast"] = open_session(directory / Q_FAST_ONNX, threads)
            self.precisions = ("full", "fast")

    def describe(self, crops: Float32Array, precision: Precision = "full") -> Described:
        """See `Backend`."""
        return Described(*map(np.asarray, self._q[precision].run(None, {"crops": crops})))

    def generate(self, latent: Float32Array) -> Float32Array:
        """See `Backend`."""
        return np.asarray(self._generator.run(None, {"latent": latent})[0])


class OnnxSegmenter:
    """Computes the maps of nuclei by one ONNX Runtime session, which all requests share.

    Args:
        path: the ONNX file of the segmenter. One in 8-bit integers takes blocks of pixels and is made for CPUs
            (`training.bundle.channels_last`); an exact one, and those of earlier bundles, take planes of float32.
        threads: threads within one operator; 0 means one per core that may be used.
    """

    def __init__(self, path: Path, threads: int = 0) -> None:
        self._session = open_session(path, threads)
        self._takes_blocks = self._session.get_inputs()[0].name == "blocks"
        if self._takes_blocks and self._session.get_providers()[0] == CUDA:
            self._session = open_session(path, threads, on_cpu=True)

    def __call__(self, pixels: UInt8Array) -> Float32Array:
        """See `nuclei.network.MapNetwork`."""
        if not self._takes_blocks:
            return np.asarray(self._session.run(None, {"tiles": to_network(pixels[None])})[0][0])
        height, width = pixels.shape[:2]
        of_blocks = self._session.run(None, {"blocks": to_blocks(pixels)})[0]
        return from_blocks(of_blocks, height, width)


def to_blocks(pixels: UInt8Array) -> UInt8Array:
    """(h, w, 3) uint8 RGB → (1, h/2, w/2, 12), the 2 × 2 pixels of each block in the order row, column, colour."""
    height, width = pixels.shape[:2]
    # Two pixels side by side are one item: NumPy copies few large items faster than many small ones.
    pairs = np.ascontiguousarray(pixels).reshape(height // 2, 2, width // 2, 6).view("V6")[..., 0]
    blocks = np.ascontiguousarray(pairs.transpose(0, 2, 1))[..., None].view(np.uint8)
    return blocks.reshape(1, height // 2, width // 2, 12)


def from_blocks(of_blocks: Float32Array, height: int, width: int) -> Float32Array:
    """(h/2 · w/2, 8) float32, the maps of each block in the order map, row, column → (2, h, w)."""
    pairs = of_blocks.view(np.complex64).reshape(height // 2, width // 2, 2, 2)
    return np.ascontiguousarray(pairs.transpose(2, 0, 3, 1)).view(np.float32).reshape(2, height, width)


def open_session(path: Path, threads: int, *, on_cpu: bool = False) -> Any:
    """Open an ONNX file, on CUDA where there is a GPU.

    Args:
        path: the file.
        threads: threads within one operator; 0 means one per core that may be used.
        on_cpu: whether a GPU is left alone.
    """
    import onnxruntime

    available = ["CPUExecutionProvider"] if on_cpu else onnxruntime.get_available_providers()
    if CUDA in available:
        # The GPU build finds the CUDA libraries that pip installed beside it only when it is asked to.
        onnxruntime.preload_dlls()
    providers = [(name, chosen) for name, chosen in PROVIDERS.items() if name in available]
    return onnxruntime.InferenceSession(path, _session_options(threads), providers=providers)


def _session_options(threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # By itself, ONNX Runtime takes every core of the machine, also in a container that may use fewer.
    cpus = usable_cpus()
    options.intra_op_num_threads = threads or (cpus if cpus < (os.cpu_count() or 1) else 0)
    # The arena would keep the memory of the largest tile for ever, and costs no time to leave out.
    options.enable_cpu_mem_arena = False
    # A thread that waits by spinning takes its core from other requests and from OpenCV. This is just long enough for
    # it to be there for the next layer.
    options.add_session_config_entry("session.intra_op.spin_duration_us", "100")
    return options
