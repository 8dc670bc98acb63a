"""`python -m bench.q_rate`: cells that Q describes in a second, in the batches that the service uses."""

from __future__ import annotations

import json
from time import perf_counter
from typing import Any

import numpy as np

from app.pipeline.bundle.load import load_bundle
from app.pipeline.networks.backend import Backend, Precision
from app.pipeline.networks.encode import BATCH
from bench.child import BUNDLE

SECONDS = 2.0


def q_rate(backend: Backend, precision: Precision) -> dict[str, Any]:
    """Where and how Q is computed, and cells per second over two seconds after a warm-up."""
    batch = BATCH[backend.device]
    crops = np.random.default_rng(0).uniform(-1, 1, (batch, 3, 32, 32)).astype(np.float32)
    backend.describe(crops, precision)
    batches, start = 0, perf_counter()
    while (elapsed := perf_counter() - start) < SECONDS:
        backend.describe(crops, precision)
        batches += 1
    rate = batches * batch / elapsed
    return {"backend": backend.name, "device": backend.device, "precision": precision, "cells_per_s": rate}


def main() -> None:
    """Print one JSON object: `rates`, one for each precision."""
    backend = load_bundle(BUNDLE).backend
    print(json.dumps({"rates": [q_rate(backend, precision) for precision in backend.precisions]}))


if __name__ == "__main__":
    main()
