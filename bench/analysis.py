"""One tile, analysed again and again in a process of its own, whose peak memory is then that of the analysis.

    python -m bench.analysis ours TILE REPEATS        the service's analysis
    python -m bench.analysis reference TILE REPEATS   the reference recipe: the authors' code, with HistomicsTK
    python -m bench.analysis presets TILE REPEATS     stains and segmentation alone, with each preset
    python -m bench.analysis measuring TILE REPEATS   what measurements, tissue and their part of the JSON cost
    python -m bench.analysis q                        Q alone, in the batches that the service uses

Each prints one JSON object.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import perf_counter, process_time
from typing import Any, TypeVar

import numpy as np

from app.answer.present import Result
from app.pipeline.bundle.load import load_bundle, read_manifest
from app.pipeline.crops import crop_cells, to_network
from app.pipeline.decode import decode
from app.pipeline.measure.cells import measure_cells
from app.pipeline.measure.very_large import find_very_large
from app.pipeline.memory import keep_buffers
from app.pipeline.networks.backend import Backend, Precision
from app.pipeline.networks.encode import BATCH
from app.pipeline.nuclei.outlines import contours
from app.pipeline.nuclei.segment import segment
from app.pipeline.presets import DEFAULT, SegmentationParams
from app.pipeline.run import analyse, analyse_stages
from app.pipeline.stain.unmix import unmix
from app.pipeline.tissue.compose import compose
from app.pipeline.types import CHANNELS
from bench import BUNDLE
from bench.process import peak_rss_mb, rss_mb

MAX_PIXELS = 100_000_000
"""More than the service accepts by default, so that large tiles can be measured."""
Q_SECONDS = 2.0

T = TypeVar("T")
Analysis = Callable[[bytes], dict[str, Any]]


def service_analysis() -> Analysis:
    """Return the service's analysis with its default settings: cells, Q's precision and milliseconds per stage."""
    bundle = load_bundle(BUNDLE)

    def analysis(data: bytes) -> dict[str, Any]:
        found = analyse(data, bundle, max_pixels=MAX_PIXELS)
        return {"cells": len(found.cells.areas_px), "precision": found.precision, "stages_ms": found.timing_ms}

    return analysis


def reference_analysis() -> Analysis:
    """Return the reference recipe with the bundle's Q, which sees each crop by itself, in eager PyTorch.

    Everything that it needs is imported before the clock starts.
    """
    from app.pipeline.networks.pytorch import TorchBackend
    from training.study.baselines.histomicstk_recipe import segment_by_authors, unmix_by_recipe

    manifest, _ = read_manifest(BUNDLE)
    backend = TorchBackend(BUNDLE, manifest)

    def analysis(data: bytes) -> dict[str, Any]:
        stains = unmix_by_recipe(decode(data, max_pixels=MAX_PIXELS).pixels)
        nuclei = segment_by_authors(stains)
        for crop in crop_cells(stains.normalised, nuclei, manifest.architecture.crops):
            backend.describe(to_network(crop[None]))
        return {"cells": len(nuclei), "precision": "full"}

    return analysis


SYSTEMS: dict[str, Callable[[], Analysis]] = {"ours": service_analysis, "reference": reference_analysis}


def measure_system(system: str, tile: Path, repeats: int) -> dict[str, Any]:
    """Analyse a tile once as a warm-up and then several times.

    Returns:
        seconds and CPU seconds of each analysis after the warm-up and their medians, cells, precision, the median
        milliseconds of each stage, and the resident memory before the first analysis and at its peak, in MB.
    """
    keep_buffers()
    data = tile.read_bytes()
    analysis = SYSTEMS[system]()
    idle_mb = rss_mb()
    analysis(data)
    results, seconds, cpu_seconds = zip(*(timed(partial(analysis, data)) for _ in range(repeats)), strict=True)
    stages = [result["stages_ms"] for result in results if "stages_ms" in result]
    return {
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "median_s": statistics.median(seconds),
        "median_cpu_s": statistics.median(cpu_seconds),
        "cells": results[-1]["cells"],
        "precision": results[-1]["precision"],
        "stages_ms": {name: statistics.median(s[name] for s in stages) for name in stages[0]} if stages else {},
        "idle_rss_mb": idle_mb,
        "peak_rss_mb": peak_rss_mb(),
    }


def timed(operation: Callable[[], T]) -> tuple[T, float, float]:
    """Return the result of an operation, its seconds, and the CPU seconds of all threads, in user mode and kernel."""
    start, cpu_start = perf_counter(), process_time()
    result = operation()
    return result, perf_counter() - start, process_time() - cpu_start


def measure_presets(tile: Path, repeats: int) -> list[dict[str, Any]]:
    """Find the nuclei of a tile with preset `default`, and with `learned` if the bundle has a network, in turns.

    Args:
        tile: image file.
        repeats: how often, after a warm-up.

    Returns:
        For each preset its median seconds and CPU seconds from the pixels to the nuclei, and how many it finds.
    """
    keep_buffers()
    bundle = load_bundle(BUNDLE)
    pixels = decode(tile.read_bytes(), max_pixels=MAX_PIXELS).pixels
    presets: dict[str, SegmentationParams] = {DEFAULT.preset: DEFAULT}
    if bundle.segmenter is not None:
        presets["learned"] = bundle.manifest.segmentation

    def count_nuclei(params: SegmentationParams) -> int:
        return len(segment(unmix(pixels, params.stain, params.engine), params, bundle.segmenter))

    # The first turn is the warm-up.
    turns = [[timed(partial(count_nuclei, params)) for params in presets.values()] for _ in range(repeats + 1)]
    rows = []
    for preset, measured in zip(presets, zip(*turns[1:], strict=True), strict=True):
        counts, seconds, cpu_seconds = zip(*measured, strict=True)
        medians = {"median_s": statistics.median(seconds), "median_cpu_s": statistics.median(cpu_seconds)}
        rows.append({"preset": preset, "nuclei": counts[-1], **medians})
    return rows


def measure_measuring(tile: Path, repeats: int) -> dict[str, float]:
    """Measure what a tile's measurements, very large nuclei and tissue cost, beside the whole answer in JSON.

    Args:
        tile: image file.
        repeats: how often, in turns, after a warm-up.

    Returns:
        median CPU seconds of the whole answer, of measuring, and of the JSON with and without measurements; and the
        share of the answer's that measuring and its part of the JSON take.
    """
    keep_buffers()
    bundle, data = load_bundle(BUNDLE), tile.read_bytes()
    analysis, stages = analyse_stages(data, bundle, max_pixels=MAX_PIXELS)
    mpp = analysis.measurements.mpp

    def answer() -> None:
        Result(analyse(data, bundle, max_pixels=MAX_PIXELS), bundle, "").json()

    def measure() -> None:
        measure_cells(stages.stains, stages.nuclei, mpp, contours(stages.nuclei))
        find_very_large(stages.nuclei, mpp)
        compose(stages.pixels, stages.stains, stages.nuclei, mpp)

    def write(with_measurements: bool) -> None:
        Result(analysis, bundle, "", with_measurements=with_measurements).json()

    parts: dict[str, Callable[[], None]] = {
        "answer": answer,
        "measure": measure,
        "json": partial(write, True),
        "json_without": partial(write, False),
    }
    turns = [{name: timed(part)[2] for name, part in parts.items()} for _ in range(repeats + 1)]
    found = {f"{name}_cpu_s": statistics.median(turn[name] for turn in turns[1:]) for name in parts}
    added = found["measure_cpu_s"] + found["json_cpu_s"] - found["json_without_cpu_s"]
    return {**found, "share": added / found["answer_cpu_s"]}


def measure_q(backend: Backend, precision: Precision, n_channels: int) -> dict[str, Any]:
    """Measure how many cells per second go through Q in `Q_SECONDS` after a warm-up, and name where Q is computed."""
    batch = BATCH[backend.device]
    crops = np.random.default_rng(0).uniform(-1, 1, (batch, n_channels, 32, 32)).astype(np.float32)
    backend.describe(crops, precision)
    batches, start = 0, perf_counter()
    while (elapsed := perf_counter() - start) < Q_SECONDS:
        backend.describe(crops, precision)
        batches += 1
    rate = batches * batch / elapsed
    return {"backend": backend.name, "device": backend.device, "precision": precision, "cells_per_s": rate}


def main(*arguments: str) -> None:
    """Print what was measured as one JSON object."""
    if arguments == ("q",):
        bundle = load_bundle(BUNDLE)
        n_channels = CHANNELS[bundle.manifest.architecture.crops]
        rates = [measure_q(bundle.backend, precision, n_channels) for precision in bundle.backend.precisions]
        print(json.dumps({"rates": rates}))
        return
    what, tile, repeats = arguments
    if what == "measuring":
        print(json.dumps(measure_measuring(Path(tile), int(repeats))))
    elif what == "presets":
        print(json.dumps({"presets": measure_presets(Path(tile), int(repeats))}))
    else:
        print(json.dumps(measure_system(what, Path(tile), int(repeats))))


if __name__ == "__main__":
    main(*sys.argv[1:])
