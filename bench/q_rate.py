"""`python -m bench.q_rate`: cells that Q describes in a second, in the batches that the service uses."""

from __future__ import annotations

import json
from time import perf_counter

import numpy as np

from app.pipeline.bundle import load_bundle
from bench.child import ROOT

BATCH = 256
SECONDS = 2.0


def main() -> None:
    """Print one JSON object: the backend, its device, and cells per second."""
    backend = load_bundle(ROOT / "models" / "marrow").backend
    crops = np.random.default_rng(0).uniform(-1, 1, (BATCH, 3, 32, 32)).astype(np.float32)
    backend.describe(crops)
    batches, start = 0, perf_counter()
    while (elapsed := perf_counter() - start) < SECONDS:
        backend.describe(crops)
        batches += 1
    print(json.dumps({"backend": backend.name, "device": backend.device, "cells_per_s": batches * BATCH / elapsed}))


if __name__ == "__main__":
    main()
