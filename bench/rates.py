"""`python -m bench.rates TILE`: what the machine can do: copy memory, multiply matrices, decode the tile."""

from __future__ import annotations

import io
import json
import statistics
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter

import numpy as np
from PIL import Image

from bench.machine import cores

COPIED_BYTES = 256 * 1024**2
"""Larger than any cache, so that memory is measured."""
GEMM_SIDE = 2048
RUNS = 7


def memory_bandwidth() -> float:
    """Bytes per second, read and written ones counted, of copies on all cores at once; the best of the runs."""
    source, target = np.ones(COPIED_BYTES, np.uint8), np.zeros(COPIED_BYTES, np.uint8)
    parts = list(zip(np.array_split(target, cores()), np.array_split(source, cores()), strict=True))
    with ThreadPoolExecutor(cores()) as threads:
        fastest = min(_seconds(lambda: list(threads.map(lambda part: np.copyto(*part), parts))))
    return 2 * COPIED_BYTES / fastest


def gemm_rate() -> float:
    """Multiply-adds per second of a square float32 product on all cores; the best of the runs."""
    left, right = np.random.default_rng(0).standard_normal((2, GEMM_SIDE, GEMM_SIDE), np.float32)
    out = np.empty_like(left)
    return GEMM_SIDE**3 / min(_seconds(lambda: np.matmul(left, right, out=out)))


def decode_seconds(data: bytes) -> float:
    """Median seconds in which Pillow, the service's decoder, makes a file an RGB array; nothing is checked."""
    return statistics.median(_seconds(lambda: np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))))


def _seconds(run: Callable[[], object]) -> list[float]:
    """Of each run after a warm-up."""
    run()
    seconds = []
    for _ in range(RUNS):
        start = perf_counter()
        run()
        seconds.append(perf_counter() - start)
    return seconds


def main(tile: Path) -> None:
    """Print one JSON object."""
    rates = {
        "memory_bytes_per_s": memory_bandwidth(),
        "gemm_multiply_adds_per_s": gemm_rate(),
        "decode_s": decode_seconds(tile.read_bytes()),
    }
    print(json.dumps(rates))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
