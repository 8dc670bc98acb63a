"""Sections on speed and memory: of tiles and the service, of whole slides, and of the training."""

from __future__ import annotations

from typing import Any

from training.study.protocols.training_speed import ROUNDS, SCHEDULE
from training.study.records import Record
from training.study.report.tables import NOT_MEASURED, table

Result = dict[str, Any]

SPEED = """## Speed and memory

Command: `make bench`, which wrote `docs/bench.json`. Measured {date} at commit {commit} on {cores} cores ({processor},
{architecture}, {system}; other processes kept {others} cores busy meanwhile) with {versions}.

### Ours, the reference recipe, and the floor

Tile: `{tile}`. The reference recipe is the authors' code, which is HistomicsTK's functions with
their parameters; its crops go through the same Q one by one, in eager PyTorch. The figures are medians of {runs} and
{reference_runs} analyses after a warm-up, each system in a process of its own.
**Ours takes {ours_ms:.0f} ms; the reference takes {speedup:.1f} times as long, {reference_ms:,.0f} ms.**
{cpu}Peak memory is {ours_mb} and {reference_mb} MB.

"""
CPU = """The CPU time of all threads, in user mode and in the kernel, is {ours:.0f} ms and {reference:,.0f} ms, which is
{ratio:.1f} times as much; the two were measured by turns. """
MEASURING = """
Measurements of the nuclei, very large nuclei and tissue take {measure:.0f} ms of CPU time, while Q runs. With them the
JSON takes {json:.0f} ms, without {json_without:.0f}. Together that is {share:.0%} of the {answer:.0f} ms of CPU time of
an answer in JSON.
"""
PRESETS = """
Stains and segmentation alone, from the pixels to the nuclei, by preset:

"""
FLOOR = """
The floor is computed: it is the time that the tile would take if only the following had to be done. Ours takes
**{ratio:.1f} times** as long.

- Decoding: by Pillow alone, which is the service's decoder; measured.
- Pixels: stain, segmentation, quality and crops each read the tile's RGB bytes once and write as many, {megabytes:.0f}
  MB in all, at the bandwidth of memory that the same command measured ({bandwidth:.1f} GB/s, reads plus writes).
- Q: {cells} cells of {millions:.1f} million multiply-adds each, counted from the shapes of its ONNX graph, at the rate
  of a product of large float32 matrices on all cores that the same command measured ({rate:.0f} · 10⁹ a second).
{segmenter}
Each rate is the best of three measurements, at the beginning, in the middle and at the end of the command. A tile fits
into a cache that is faster than memory, the parts could overlap, and integers are faster than float32: the floor is a
yardstick, not a proof.

"""
SEGMENTER = """- Nuclei: {billions:.1f} · 10⁹ multiply-adds of the network that finds them, counted in the same way,
  at the same rate; those for the white round the tile are left out.
"""
Q_RATES = """
Cells a second through Q alone, in the service's batches (the service uses {precision} by default):

"""
SERVICE = """
### The service

`marrowscope serve` with its default settings, on the same machine as its clients. {tiles} tiles are posted in turn, and
each client waits for its answer before it posts the next. Latencies and rates are those of the answers with status 200.
The 99th percentile of so few requests is close to the slowest of them.

"""
STEADY = """
The service is ready (first 200 of /readyz) {ready:.2f} s after its process was started, which is the median of {starts}
starts, and then takes {idle} MB of memory. {soak}The peak over all loads is {peak} MB.

"""
SOAK = """Under {concurrency} clients it went from {first_mb:.0f} MB after the warm-up to {last_mb:.0f} MB at the end
({drift_percent:+.1f} %): these are the medians of the second and of the last fifth of {samples} samples, taken every
tenth of a second; the first fifth is the warm-up. """
SCALING = """
### What a tile costs, by its size and by its cells

The figures are medians, and each tile is measured in a process of its own. By size: the tile above is cut to a square,
or mirrored at its edges to a larger one, so that the density of cells stays about the same. By cells: nuclei are drawn
on tiles of 1200 × 1200 px.

"""
FIGURE = "\n![Milliseconds by stage against megapixels and against cells](figures/speed.png)\n\n"
Q_KEYS = ("precision", "device", "backend")
PARTS = {"decode": "decoding", "pixels": "pixels", "segmenter": "nuclei", "q": "Q"}

SLIDES = """## Whole slides

Command: `{command}`, which wrote `docs/slides.json`. Measured {date} at commit {commit} on {cores} cores ({processor},
{architecture}, {system}).

### Cells at seams

The {n} tiles of `bm_graz` side by side are one picture of {width} × {height} px. Analysed as one tile, it has
**{whole}** cells. As a slide, it is analysed in {tiles} tiles, for which the stain is measured once; together they have
**{slide}** cells ({difference:+.2%}). The counts are the same with one worker and with two.

"""
SLIDE_SIZES = """
### Time and memory by size, with one worker and with two

The slides are made of the same tiles (`python -m bench.made_slide`): {tissue:.0%} of their area is tissue and the rest
glass. Each is analysed by `marrowscope batch`. Memory is the largest sum over all processes, in which shared memory
counts for each. *Ready* is the time until the workers run and the slide's tissue and stain are known. *Results* is the
time for seams, tables, maps and the report, and for the GeoJSON, which a second worker writes meanwhile.

"""
SLIDE_GROWTH = """
From {small} to {large} px a side, tissue grows {area:.1f}-fold, and the time that two workers take for its tiles grows
{time:.1f}-fold: {rates} s per mm². The largest process takes {first_mb:.0f} and {last_mb:.0f} MB.

Two workers are {ratios} times as fast as one from the start of the command to its end, and {tiles_ratios} times on the
tiles alone.

"""
SLIDE_COLUMNS = {
    "tissue, mm²": ("tissue_mm2", ".1f"),
    "tiles": ("tiles", "d"),
    "cells": ("cells", "d"),
    "ready, s": ("ready_s", ".1f"),
    "tiles, s": ("tiles_s", ".1f"),
    "results, s": ("results_s", ".1f"),
    "total, s": ("seconds", ".1f"),
    "memory, MB": ("peak_mb", ".0f"),
    "largest process, MB": ("peak_process_mb", ".0f"),
    "results, MB": ("result_mb", ".0f"),
}
"""Field and format of each column, by its heading."""
N_TILES = 11
"""Tiles of `bm_graz`."""

TRAINING_SPEED = f"""## Speed of training

Command: `python -m training evaluate training-speed runs/cells docs/results --config CONFIG`. `cells` made runs/cells
of the tiles of `bm_graz`; CONFIG is `paper` for the paper's size, or another configuration for its size.

The figures are iterations per second of our training loop and of a plain one, which is the paper's algorithm as one
would write it down (training/study/baselines/eager_loop.py). Networks, losses, random draws and recipe are the same,
and the recipe is the paper's; both loops take turns in one process. Each figure is the median of {ROUNDS} rounds, with
the slowest and the fastest beside it, and the ratio is to the plain loop. The seconds are not measured but extrapolated
from it, without checkpoints and checks: {SCHEDULE:,} iterations are the paper's ten epochs of 9,000 cells in four
rotations, of which an iteration takes five batches of 64.

"""
TRAINING_TITLES = {
    "name": "loop",
    "channels": "channels",
    "batch": "batch",
    "critic_steps": "critic steps",
    "precision": "precision",
    "iterations_per_second": "iterations/s",
    "ratio": "ratio",
    "schedule_seconds": f"s for {SCHEDULE:,} iterations (extrapolated)",
    "device": "device",
    "threads": "CPU threads",
    "date": "date",
}


def speed(result: Result) -> str:
    """Return the section on what `make bench` measured."""
    return _beside_reference(result) + _service(result) + _scaling(result)


def slides(result: Result) -> str:
    """Return the section on what `python -m bench.slides` measured."""
    assembled, sizes = result["assembled"], result["sizes"]
    text = SLIDES.format(
        command=result["command"],
        date=result["date"],
        commit=result["commit"] or "unknown",
        **result["machine"],
        n=N_TILES,
        width=assembled["width"],
        height=assembled["height"],
        whole=assembled["whole_cells"],
        slide=assembled["slide_cells"],
        tiles=assembled["runs"][0]["tiles"],
        difference=assembled["slide_cells"] / assembled["whole_cells"] - 1,
    )
    text += _counts_by_cluster(assembled) + SLIDE_SIZES.format(tissue=result["tissue_share"]) + _slide_table(sizes)
    return text + _slide_growth(sizes)


def training_speed(rows: list[Record]) -> str:
    """Return the section on what `measure_training_speed` measured."""
    lines = ["| " + " | ".join(TRAINING_TITLES.values()) + " |", "|---" * len(TRAINING_TITLES) + "|"]
    lines += ["| " + " | ".join(_training_cell(name, row) for name in TRAINING_TITLES) + " |" for row in rows]
    return TRAINING_SPEED + "\n".join(lines) + "\n\n"


def _beside_reference(result: Result) -> str:
    """Return the stages of our analysis, beside the reference recipe and the floor."""
    ours, reference, background = result["ours"], result["reference"], result["machine"]["others_cores"]
    text = SPEED.format(
        **{name: result[name] for name in ("date", "tile", "speedup")},
        commit=result["commit"] or "unknown",
        **result["machine"],
        others=NOT_MEASURED if background is None else f"{background:.2f}",
        versions=", ".join(f"{name} {number}" for name, number in result["versions"].items()),
        runs=len(ours["seconds"]),
        reference_runs=len(reference["seconds"]),
        ours_ms=ours["median_s"] * 1000,
        reference_ms=reference["median_s"] * 1000,
        cpu=_cpu(result),
        ours_mb=_whole(ours["peak_rss_mb"]),
        reference_mb=_whole(reference["peak_rss_mb"]),
    )
    stages: dict[Any, Result] = {(stage,): {"ms": value} for stage, value in ours["stages_ms"].items()}
    text += table(("stage of ours",), stages, {"ms": ".1f"}) + _measuring(result) + _presets(result)
    return text + _floor(result["floor"]) + _q_rates(result)


def _cpu(result: Result) -> str:
    """Return a sentence on CPU time; nothing for measurements from before it was measured."""
    if "cpu_speedup" not in result:
        return ""
    ours, reference = (result[name]["median_cpu_s"] * 1000 for name in ("ours", "reference"))
    return CPU.format(ours=ours, reference=reference, ratio=result["cpu_speedup"])


def _measuring(result: Result) -> str:
    """Return a sentence on what measuring costs; nothing for measurements from before nuclei were measured."""
    found = result.get("measuring")
    if found is None:
        return ""
    milliseconds = {name: found[f"{name}_cpu_s"] * 1000 for name in ("measure", "json", "json_without", "answer")}
    return MEASURING.format(share=found["share"], **milliseconds)


def _presets(result: Result) -> str:
    """Return the table of presets; nothing for measurements from before they were measured."""
    if "presets" not in result:
        return ""
    rows: dict[Any, Result] = {
        (f"`{row['preset']}`",): {
            "ms": row["median_s"] * 1000,
            "CPU ms": row["median_cpu_s"] * 1000,
            "nuclei": row["nuclei"],
        }
        for row in result["presets"]
    }
    return PRESETS + table(("preset",), rows, {"ms": ".0f", "CPU ms": ".0f", "nuclei": "d"})


def _floor(floor: Result) -> str:
    of_segmenter = floor.get("segmenter_multiply_adds", 0)
    text = FLOOR.format(
        segmenter=SEGMENTER.format(billions=of_segmenter / 1e9) if of_segmenter else "",
        ratio=floor["ratio"],
        megabytes=floor["pixel_bytes"] / 1e6,
        bandwidth=floor["memory_bytes_per_s"] / 1e9,
        cells=floor["cells"],
        millions=floor["multiply_adds_per_cell"] / 1e6,
        rate=floor["gemm_multiply_adds_per_s"] / 1e9,
    )
    shown = {part: title for part, title in PARTS.items() if part != "segmenter" or of_segmenter}
    parts: dict[Any, Result] = {(title,): {"ms": floor[f"{part}_s"] * 1000} for part, title in shown.items()}
    parts[("floor",)] = {"ms": floor["total_s"] * 1000}
    return text + table(("part of the floor",), parts, {"ms": ".1f"})


def _q_rates(result: Result) -> str:
    rates: dict[Any, Result] = {
        tuple(rate[key] for key in Q_KEYS): {"cells/s": rate["cells_per_s"]} for rate in result["q"]
    }
    return Q_RATES.format(precision=result["ours"]["precision"]) + table(Q_KEYS, rates, {"cells/s": ",.0f"})


def _service(result: Result) -> str:
    service, start = result["service"], result["cold_start"]
    rows = {(str(load["concurrency"]),): _load_figures(load) for load in service["loads"]}
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


def _load_figures(load: Result) -> Result:
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


def _counts_by_cluster(assembled: Result) -> str:
    """Return the number of cells of each cluster, as one tile and as a slide."""
    names = [str(k) for k in range(len(assembled["whole_counts"]))]
    counts: dict[Any, Result] = {
        ("as one tile",): dict(zip(names, assembled["whole_counts"], strict=True)),
        ("as a slide",): dict(zip(names, assembled["slide_counts"], strict=True)),
    }
    return table(("cells of cluster",), counts, dict.fromkeys(names, "d"))


def _slide_table(sizes: list[Result]) -> str:
    rows = {
        (f"{size['side_px']} × {size['side_px']} px", str(run["workers"])): {
            title: run[name] for title, (name, _) in SLIDE_COLUMNS.items()
        }
        for size in sizes
        for run in sorted(size["runs"], key=lambda run: run["workers"])
    }
    return table(("slide", "workers"), rows, {title: spec for title, (_, spec) in SLIDE_COLUMNS.items()})


def _slide_growth(sizes: list[Result]) -> str:
    two = [next(run for run in size["runs"] if run["workers"] == 2) for size in sizes]
    first, last = two[0], two[-1]
    return SLIDE_GROWTH.format(
        small=sizes[0]["side_px"],
        large=sizes[-1]["side_px"],
        area=last["tissue_mm2"] / first["tissue_mm2"],
        time=last["tiles_s"] / first["tiles_s"],
        rates=", ".join(f"{run['tiles_s'] / run['tissue_mm2']:.2f}" for run in two),
        first_mb=first["peak_process_mb"],
        last_mb=last["peak_process_mb"],
        ratios=", ".join(f"{size['ratios']['seconds']:.2f}" for size in sizes),
        tiles_ratios=", ".join(f"{size['ratios']['tiles_s']:.2f}" for size in sizes),
    )


def _training_cell(name: str, row: Record) -> str:
    value: Any = row[name]
    if name == "iterations_per_second":
        return f"{value:.3g} ({min(row['rounds']):.3g}–{max(row['rounds']):.3g})"
    if name == "schedule_seconds":
        return f"{value:,.0f}"
    return f"{value:.2f}" if name == "ratio" else str(value)
