"""`python -m bench.measure SYSTEM TILE RUNS`: one system in a process of its own, so that its peak memory is too."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

from app.pipeline.bundle.load import load_bundle, read_manifest
from app.pipeline.memory import keep_buffers
from app.pipeline.run import analyse
from bench.child import BUNDLE
from bench.process import peak_rss_mb, rss_mb

MAX_PIXELS = 100_000_000
"""More than the service's default, so that large tiles can be measured."""


def ours() -> Callable[[bytes], dict[str, Any]]:
    """The service's analysis as it is by default; gives cells, Q's precision and milliseconds per stage."""
    bundle = load_bundle(BUNDLE)

    def run(data: bytes) -> dict[str, Any]:
        analysis = analyse(data, bundle, max_pixels=MAX_PIXELS)
        return {
            "cells": len(analysis.cells.areas_px),
            "precision": analysis.precision,
            "stages_ms": analysis.timing_ms,
        }

    return run


def reference() -> Callable[[bytes], dict[str, Any]]:
    """The reference recipe with the bundle's Q; its imports are made before the clock starts."""
    from app.pipeline.decode import decode
    from app.pipeline.networks.pytorch import TorchBackend
    from bench.reference import analyse_reference

    manifest, _ = read_manifest(BUNDLE)
    backend = TorchBackend(BUNDLE, manifest)
    return lambda data: {
        "cells": analyse_reference(decode(data, max_pixels=MAX_PIXELS).pixels, backend),
        "precision": "full",
    }


def main(system: str, tile: Path, runs: int) -> None:
    """Print one JSON object: seconds of each run but the first, cells, stages, memory idle and at its peak."""
    keep_buffers()
    data = tile.read_bytes()
    run = {"ours": ours, "reference": reference}[system]()
    idle_mb = rss_mb()
    run(data)
    seconds, results = [], []
    for _ in range(runs):
        start = perf_counter()
        results.append(run(data))
        seconds.append(perf_counter() - start)
    stages = [result["stages_ms"] for result in results if "stages_ms" in result]
    measured = {
        "seconds": seconds,
        "median_s": statistics.median(seconds),
        "cells": results[-1]["cells"],
        "precision": results[-1]["precision"],
        "stages_ms": {name: statistics.median(s[name] for s in stages) for name in stages[0]} if stages else {},
        "idle_rss_mb": idle_mb,
        "peak_rss_mb": peak_rss_mb(),
    }
    print(json.dumps(measured))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
