"""All measurements of `make bench` in order; the result is what docs/bench.json holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from app.pipeline.manifest import Q_ONNX
from bench.child import BUNDLE, run_child
from bench.floor import floor, pixel_bytes
from bench.machine import provenance
from bench.multiply_adds import multiply_adds
from bench.others import Others
from bench.scaling import by_cells, by_size
from bench.service import cold_start, measure_service
from bench.tiles import read_pixels

SCALING_RUNS = 3
BUSY = 0.2
"""Cores of others above which their share can be seen in the figures."""


def run_bench(
    tiles: list[Path], *, runs: int, n_requests: int, n_soak: int, say: Callable[[str], None]
) -> dict[str, Any]:
    """Measure everything.

    Args:
        tiles: the first is measured in the process, and mirrored; all of them are posted in turn.
        runs: of ours after a warm-up; the reference gets a third.
        n_requests: over HTTP, for each number of clients but that of the soak.
        n_soak: over HTTP, with memory watched.
        say: told what comes next.
    """
    tile = tiles[0]
    result = {"tile": tile.name, **provenance()}
    others = Others()
    rates = [_machine_rates(tile, say)]
    say(f"ours on {tile.name}")
    ours = run_child("bench.measure", "ours", str(tile), str(runs))
    say("the reference recipe on the same")
    reference = run_child("bench.measure", "reference", str(tile), str(max(1, runs // 3)))
    result |= {"ours": ours, "reference": reference, "speedup": reference["median_s"] / ours["median_s"]}
    rates.append(_machine_rates(tile, say))
    result["q"] = _q_rates()
    say("cold starts")
    result["cold_start"] = cold_start()
    result["service"] = measure_service([path.read_bytes() for path in tiles], n_requests, n_soak, say)
    result["sizes"] = by_size(tile, SCALING_RUNS, say)
    result["cells"] = by_cells(SCALING_RUNS, say)
    rates.append(_machine_rates(tile, say))
    result["floor"] = _floor(tile, ours, best(rates))
    result["machine"]["others_cores"] = taken = others.cores()
    if taken is not None and taken > BUSY:
        say(f"OTHER PROCESSES KEPT {taken:.1f} CORES BUSY: the figures say little")
    return result


def best(rates: list[dict[str, float]]) -> dict[str, float]:
    """The highest of each rate and the shortest time: what others take of the machine must not raise the floor."""
    fastest = {name: max(found[name] for found in rates) for name in rates[0]}
    return {**fastest, "decode_s": min(found["decode_s"] for found in rates)}


def _machine_rates(tile: Path, say: Callable[[str], None]) -> dict[str, float]:
    say("the machine: memory, matrix products, decoding")
    return run_child("bench.rates", str(tile))


def _floor(tile: Path, ours: dict[str, Any], rates: dict[str, float]) -> dict[str, Any]:
    """The floor of a tile, what it was computed from, and how many times as long ours takes."""
    height, width = read_pixels(tile).shape[:2]
    n_pixels, per_cell = height * width, multiply_adds(BUNDLE / Q_ONNX)
    least = floor(
        n_pixels=n_pixels,
        n_cells=ours["cells"],
        multiply_adds_per_cell=per_cell,
        decode_s=rates["decode_s"],
        memory_bytes_per_s=rates["memory_bytes_per_s"],
        gemm_multiply_adds_per_s=rates["gemm_multiply_adds_per_s"],
    )
    return {
        **asdict(least),
        "total_s": least.total_s,
        "ratio": ours["median_s"] / least.total_s,
        "cells": ours["cells"],
        "multiply_adds_per_cell": per_cell,
        "pixel_bytes": pixel_bytes(n_pixels),
        "memory_bytes_per_s": rates["memory_bytes_per_s"],
        "gemm_multiply_adds_per_s": rates["gemm_multiply_adds_per_s"],
    }


def _q_rates() -> list[dict[str, Any]]:
    """Q's rates where the service computes it, and on the CPU too when that is a GPU."""
    served: list[dict[str, Any]] = run_child("bench.q_rate")["rates"]
    if served[0]["device"] == "cpu":
        return served
    return [*served, *run_child("bench.q_rate", CUDA_VISIBLE_DEVICES="")["rates"]]
