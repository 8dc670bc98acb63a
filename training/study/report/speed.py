"""Section on speed and memory."""

from __future__ import annotations

from typing import Any

from training.study.report.tables import table

Result = dict[str, Any]

SPEED = """## Speed and memory

Command: `make bench`, which wrote `docs/bench.json`. Measured {date} at commit {commit} on {cores} cores ({processor},
{architecture}, {system}; other processes kept {others} cores busy meanwhile) with {versions}.

### Ours, the reference recipe, and the floor

Tile: `{tile}`. The reference recipe is the authors' code, HistomicsTK's functions with their parameters; its crops go
through the same Q one by one, in eager PyTorch. Medians of {runs} and {reference_runs} runs after a warm-up, each
system in a process of its own. **Ours takes {ours_ms:.0f} ms; the reference takes {speedup:.1f} times as long,
{reference_ms:,.0f} ms.** Peak memory is {ours_mb} and {reference_mb} MB.

"""
FLOOR = """
The floor is computed: what the tile would take if nothing but the following had to be done. Ours takes
**{ratio:.1f} times** as long.

- Decoding: by Pillow alone, the service's decoder, measured.
- Pixels: stain, segmentation, quality and crops each read the tile's RGB bytes once and write as many, {megabytes:.0f}
  MB in all, at the bandwidth of memory measured in this run ({bandwidth:.1f} GB/s, reads and writes together).
- Q: {cells} cells of {millions:.1f} million multiply-adds each, counted from the shapes of its ONNX graph, at the rate
  of a product of large float32 matrices on all cores, measured in this run ({rate:.0f} · 10⁹ a second).

Each rate is the best of three measurements, at the beginning, in the middle and at the end of the run. A tile fits into
a cache that is faster than memory, the parts could overlap, and integers are faster than float32: this is a yardstick,
not a proof.

"""
Q_RATES = """
Cells a second through Q alone, in the service's batches ({precision} is what the service takes by default):

"""
SERVICE = """
### The service

`marrowscope serve` with its default settings, on the same machine as its clients; {tiles} tiles are posted in turn, and
each client waits for its answer before it posts the next. Latencies and rates are those of the answers with status 200.
The 99th percentile of so few requests is close to the slowest of them.

"""
STEADY = """
The service is ready (first 200 of /readyz) {ready:.2f} s after its process was started, the median of {starts} starts,
with {idle} MB of memory. {soak}The peak over all loads is {peak} MB.

"""
SOAK = """Under {concurrency} clients it went from {first_mb:.0f} MB after the warm-up to {last_mb:.0f} MB at the end
({drift_percent:+.1f} %): the medians of the second and of the last fifth of {samples} samples, one every tenth of a
second; the first fifth is the warm-up. """
SCALING = """
### What a tile costs, by its size and by its cells

Medians, each tile in a process of its own. By size: the tile above, cut to a square or mirrored at its edges to make a
larger one, so that the density of cells stays about the same. By cells: tiles of 1200 × 1200 px with nuclei drawn on
them.

"""
FIGURE = "\n![Milliseconds by stage against megapixels and against cells](figures/speed.png)\n\n"
Q_KEYS = ("precision", "device", "backend")
PARTS = {"decode": "decoding", "pixels": "pixels", "q": "Q"}
NOT_MEASURED = "–"


def speed(result: Result) -> str:
    """Of what `make bench` measured."""
    return _against_others(result) + _service(result) + _scaling(result)


def _against_others(result: Result) -> str:
    ours, reference, floor = result["ours"], result["reference"], result["floor"]
    text = SPEED.format(
        **{name: result[name] for name in ("date", "tile", "speedup")},
        commit=result["commit"] or "unknown",
        **result["machine"],
        others="–" if result["machine"]["others_cores"] is None else f"{result['machine']['others_cores']:.2f}",
        versions=", ".join(f"{name} {number}" for name, number in result["versions"].items()),
        runs=len(ours["seconds"]),
        reference_runs=len(reference["seconds"]),
        ours_ms=ours["median_s"] * 1000,
        reference_ms=reference["median_s"] * 1000,
        ours_mb=_whole(ours["peak_rss_mb"]),
        reference_mb=_whole(reference["peak_rss_mb"]),
    )
    stages: dict[Any, Result] = {(stage,): {"ms": value} for stage, value in ours["stages_ms"].items()}
    text += table(("stage of ours",), stages, {"ms": ".1f"})
    text += FLOOR.format(
        ratio=floor["ratio"],
        megabytes=floor["pixel_bytes"] / 1e6,
        bandwidth=floor["memory_bytes_per_s"] / 1e9,
        cells=floor["cells"],
        millions=floor["multiply_adds_per_cell"] / 1e6,
        rate=floor["gemm_multiply_adds_per_s"] / 1e9,
    )
    parts: dict[Any, Result] = {(title,): {"ms": floor[f"{part}_s"] * 1000} for part, title in PARTS.items()}
    parts[("floor",)] = {"ms": floor["total_s"] * 1000}
    rates: dict[Any, Result] = {
        tuple(rate[key] for key in Q_KEYS): {"cells/s": rate["cells_per_s"]} for rate in result["q"]
    }
    text += table(("part of the floor",), parts, {"ms": ".1f"})
    return text + Q_RATES.format(precision=ours["precision"]) + table(Q_KEYS, rates, {"cells/s": ",.0f"})


def _service(result: Result) -> str:
    service, start = result["service"], result["cold_start"]
    rows = {(str(load["concurrency"]),): _figures(load) for load in service["loads"]}
    columns = {"requests": "d", "503": "d", "other errors": "d", "p50, ms": ".0f", "p95, ms": ".0f", "p99, ms": ".0f"}
    text = SERVICE.format(tiles=service["tiles"])
    text += table(("clients",), rows, {**columns, "tiles/s": ".2f", "cells/s": ".0f"})
    return text + STEADY.format(
        ready=start["median_s"],
        starts=len(start["seconds"]),
        idle=_whole(start["rss_mb"]),
        soak=SOAK.format(**service["soak"]) if service["soak"] else "",
        peak=_whole(service["peak_rss_mb"]),
    )


def _figures(load: Result) -> Result:
    statuses = load["statuses"]
    busy, good = statuses.get("503", 0), statuses.get("200", 0)
    return {
        "requests": load["requests"],
        "503": busy,
        "other errors": load["requests"] - busy - good,
        **{f"p{percentile}, ms": load[f"p{percentile}_ms"] for percentile in (50, 95, 99)},
        "tiles/s": load["tiles_per_s"],
        "cells/s": load["cells_per_s"],
    }


def _scaling(result: Result) -> str:
    by_size = {(f"{row['side_px']} × {row['side_px']} px, mirrored",): _cost(row) for row in result["sizes"]}
    by_cells = {(f"{row['drawn']} nuclei, drawn",): _cost(row) for row in result["cells"]}
    columns = {"cells": "d", "ms": ".0f", "ms per megapixel": ".0f", "peak memory, MB": ".0f"}
    return SCALING + table(("tile",), {**by_size, **by_cells}, columns) + FIGURE


def _cost(row: Result) -> Result:
    milliseconds = row["median_s"] * 1000
    cost = {"cells": row["cells"], "ms": milliseconds, "ms per megapixel": milliseconds / row["pixels"] * 1e6}
    return cost if row["peak_rss_mb"] is None else {**cost, "peak memory, MB": row["peak_rss_mb"]}


def _whole(value: float | None) -> str:
    return NOT_MEASURED if value is None else f"{value:.0f}"
