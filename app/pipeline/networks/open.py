"""Which backend computes a bundle's networks: ONNX Runtime where it can, PyTorch otherwise."""

from __future__ import annotations

from pathlib import Path

from app.pipeline.errors import InvalidBundle
from app.pipeline.manifest import (
    GENERATOR_ONNX,
    Q_FAST_ONNX,
    Q_ONNX,
    SEGMENTER_ONNX,
    SEGMENTER_WEIGHTS,
    WEIGHTS,
    Manifest,
)
from app.pipeline.networks.backend import Backend
from app.pipeline.networks.batching import BatchedBackend
from app.pipeline.networks.onnx import OnnxBackend, OnnxSegmenter
from app.pipeline.nuclei.network import MapNetwork


def open_backend(directory: Path, manifest: Manifest, threads: int = 0) -> Backend:
    """Open ONNX Runtime when the ONNX files of Q and G are there, else PyTorch; either uses CUDA where there is a GPU.

    Without the file of the fast Q, the backend has none, and the full Q answers every request.

    Args:
        directory: directory of the bundle.
        manifest: its manifest.
        threads: see `OnnxBackend`.

    Raises:
        InvalidBundle: neither backend can be opened; the text says why.
    """
    missing = [name for name in (Q_ONNX, GENERATOR_ONNX) if not (directory / name).is_file()]
    reason = f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing"
    try:
        if not missing:
            has_fast = manifest.fast is not None and (directory / Q_FAST_ONNX).is_file()
            return _batched(OnnxBackend(directory, threads, has_fast=has_fast))
    except ImportError:
        reason = "ONNX Runtime is not installed"
    except Exception as error:  # ONNX Runtime's own exceptions share no public base class
        raise InvalidBundle(f"ONNX Runtime cannot open the bundle: {type(error).__name__}.") from error
    if not (directory / WEIGHTS).is_file():
        raise InvalidBundle(f"{reason}, and so is {WEIGHTS}.")
    try:
        from app.pipeline.networks.pytorch import TorchBackend
    except ImportError as error:
        raise InvalidBundle(f"{reason}, and the PyTorch fallback (extra 'torch') is not installed.") from error
    return _batched(TorchBackend(directory, manifest))


def open_segmenter(directory: Path, threads: int = 0) -> MapNetwork:
    """Open the network that finds nuclei: by ONNX Runtime where its ONNX file is there, else by PyTorch.

    Args:
        directory: directory of a bundle, or of a run of the segmenter.
        threads: see `OnnxSegmenter`.

    Raises:
        InvalidBundle: neither can be opened; the text says why.
    """
    reason = f"{SEGMENTER_ONNX} is missing"
    try:
        if (directory / SEGMENTER_ONNX).is_file():
            return OnnxSegmenter(directory / SEGMENTER_ONNX, threads)
    except ImportError:
        reason = "ONNX Runtime is not installed"
    except Exception as error:  # ONNX Runtime's own exceptions share no public base class
        raise InvalidBundle(f"ONNX Runtime cannot open {SEGMENTER_ONNX}: {type(error).__name__}.") from error
    if not (directory / SEGMENTER_WEIGHTS).is_file():
        raise InvalidBundle(f"{reason}, and so is {SEGMENTER_WEIGHTS}: there is no network that finds nuclei.")
    try:
        from app.pipeline.networks.pytorch import TorchSegmenter
    except ImportError as error:
        raise InvalidBundle(f"{reason}, and the PyTorch fallback (extra 'torch') is not installed.") from error
    return TorchSegmenter(directory / SEGMENTER_WEIGHTS)


def _batched(backend: Backend) -> Backend:
    """Join concurrent calls on a GPU; a CPU is as fast on the cells of one tile as on those of several."""
    return BatchedBackend(backend) if backend.device == "cuda" else backend
