"""What `make bench` measured, as tables for the terminal and as the figure docs/figures/speed.png."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.table import Table

Result = dict[str, Any]
NOT_MEASURED = "–"
DPI = 150
TOTAL = "total"

mpl.rcParams.update({"font.size": 8, "axes.titlesize": 8, "axes.spines.top": False, "axes.spines.right": False})


def tables(result: Result) -> Iterator[Table]:
    """Yield the tables in the order of reading."""
    yield against_reference(result)
    yield by_preset(result["presets"])
    yield measuring(result["measuring"])
    yield against_floor(result)
    yield over_http(result["service"])
    yield server_process(result["cold_start"], result["service"])
    yield scaling(result["sizes"], "side_px", "Cost by size (a tile mirrored to a square)")
    yield scaling(result["cells"], "drawn", "Cost by cells (drawn tiles of 1200 × 1200 px)")


def against_reference(result: Result) -> Table:
    """Show the service's analysis, stage by stage, beside the reference recipe."""
    ratios = f"{result['speedup']:.1f}× the reference recipe, {result['cpu_speedup']:.1f}× in CPU time"
    shown = _table(f"{result['tile']}: {ratios}", "", "ours", "reference")
    ours, reference = result["ours"], result["reference"]
    shown.add_row("median, s", f"{ours['median_s']:.3f}", f"{reference['median_s']:.3f}")
    shown.add_row("median of CPU time, s", f"{ours['median_cpu_s']:.3f}", f"{reference['median_cpu_s']:.3f}")
    shown.add_row("cells", str(ours["cells"]), str(reference["cells"]))
    shown.add_row("peak memory, MB", _whole(ours["peak_rss_mb"]), _whole(reference["peak_rss_mb"]))
    for stage, milliseconds in ours["stages_ms"].items():
        shown.add_row(f"{stage}, ms", f"{milliseconds:.1f}", "")
    return shown


def by_preset(presets: list[Result]) -> Table:
    """Show what stains and segmentation take with each preset."""
    shown = _table("Stains and segmentation alone", "preset", "ms", "CPU ms", "nuclei")
    for row in presets:
        milliseconds = (f"{row[name] * 1000:.0f}" for name in ("median_s", "median_cpu_s"))
        shown.add_row(row["preset"], *milliseconds, str(row["nuclei"]))
    return shown


def measuring(found: Result) -> Table:
    """Show what measurements and tissue cost."""
    shown = _table(f"Measurements and tissue: {found['share']:.0%} of the CPU time of an answer in JSON", "", "CPU ms")
    names = {
        "answer": "the whole answer",
        "measure": "measurements, very large nuclei, tissue",
        "json": "JSON with measurements",
        "json_without": "JSON without them",
    }
    for name, title in names.items():
        shown.add_row(title, f"{found[f'{name}_cpu_s'] * 1000:.0f}")
    return shown


def against_floor(result: Result) -> Table:
    """Show the parts of the computed floor, and how many cells per second go through Q."""
    found = result["floor"]
    shown = _table(f"Floor of {result['tile']}: ours takes {found['ratio']:.1f}× as long", "", "ms", "from")
    gigabytes = f"{found['pixel_bytes'] / 1e6:.0f} MB at {found['memory_bytes_per_s'] / 1e9:.1f} GB/s"
    rate = f"multiply-adds at {found['gemm_multiply_adds_per_s'] / 1e9:.0f} G/s"
    sources = {
        "decode": "the decoder alone",
        "pixels": gigabytes,
        "segmenter": f"{found['segmenter_multiply_adds'] / 1e9:.1f} G {rate}",
        "q": f"{found['cells']} × {found['multiply_adds_per_cell'] / 1e6:.1f} M {rate}",
    }
    for part, source in sources.items():
        shown.add_row(part, f"{found[f'{part}_s'] * 1000:.1f}", source)
    shown.add_row("floor", f"{found['total_s'] * 1000:.1f}", "")
    shown.add_row("ours", f"{result['ours']['median_s'] * 1000:.1f}", "")
    for rate in result["q"]:
        place = f"Q, {rate['precision']}, on {rate['device']} ({rate['backend']})"
        shown.add_row("", "", f"{place}: {rate['cells_per_s']:,.0f} cells/s")
    return shown


def over_http(service: Result) -> Table:
    """Show latency and throughput for each number of clients."""
    shown = _table("Over HTTP", "clients", "sent", "503", "other", "p50 ms", "p95", "p99", "tiles/s", "cells/s")
    for load in service["loads"]:
        statuses = load["statuses"]
        busy = statuses.get("503", 0)
        shown.add_row(
            str(load["concurrency"]),
            str(load["requests"]),
            str(busy),
            str(load["requests"] - busy - statuses.get("200", 0)),
            *(f"{load[f'p{percentile}_ms']:.0f}" for percentile in (50, 95, 99)),
            f"{load['tiles_per_s']:.2f}",
            f"{load['cells_per_s']:.0f}",
        )
    return shown


def server_process(cold_start: Result, service: Result) -> Table:
    """Show how long a start takes, and the memory when ready, at the peak and over the soak."""
    shown = _table("The server's process", "", "")
    shown.add_row(f"ready, s (median of {len(cold_start['seconds'])} starts)", f"{cold_start['median_s']:.2f}")
    shown.add_row("memory when ready, MB", _whole(cold_start["rss_mb"]))
    shown.add_row("peak memory, MB", _whole(service["peak_rss_mb"]))
    if service["soak"]:
        shown.add_row("memory after the warm-up, MB", _whole(service["soak"]["first_mb"]))
        shown.add_row("memory at the end, MB", _whole(service["soak"]["last_mb"]))
        shown.add_row("drift", f"{service['soak']['drift_percent']:+.1f} %")
    return shown


def scaling(rows: list[Result], key: str, title: str) -> Table:
    """Show the cost of each tile of a series.

    Args:
        rows: what `bench.scaling` measured.
        key: field by which the tiles differ.
        title: title of the table.
    """
    shown = _table(title, key, "cells", "ms", "ms per megapixel", "peak memory, MB")
    for row in rows:
        milliseconds = row["median_s"] * 1000
        per_megapixel = f"{milliseconds / row['pixels'] * 1e6:.0f}"
        shown.add_row(
            str(row[key]), str(row["cells"]), f"{milliseconds:.0f}", per_megapixel, _whole(row["peak_rss_mb"])
        )
    return shown


def plot_scaling(sizes: list[Result], cells: list[Result], out: Path) -> None:
    """Draw milliseconds by stage against the size of the tile (left) and against its number of cells (right).

    Args:
        sizes: what `scaling.by_size` measured.
        cells: what `scaling.by_cells` measured.
        out: PNG to write; its directory is made.
    """
    figure = Figure(figsize=(7, 2.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    _plot_stages(left, [row["pixels"] / 1e6 for row in sizes], sizes)
    left.set(xscale="log", yscale="log", xlabel="megapixels", ylabel="ms", title="A real tile, mirrored to each size")
    _plot_stages(right, [row["cells"] for row in cells], cells)
    megapixels = cells[0]["pixels"] / 1e6
    right.set(xlabel="cells found", ylabel="ms", ylim=(0, None), title=f"Drawn tiles of {megapixels:.2f} megapixels")
    right.legend(frameon=False, fontsize=7)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=DPI)


def _plot_stages(axes: Axes, x: list[float], rows: list[Result]) -> None:
    """Draw a line for each stage; a stage has the same colour in both panels, and the total is black."""
    for stage in sorted(rows[0]["stages_ms"]):
        style = {"color": "black", "linewidth": 1.5} if stage == TOTAL else {"linewidth": 1}
        axes.plot(x, [row["stages_ms"][stage] for row in rows], marker=".", label=stage, **style)


def _table(title: str, *columns: str) -> Table:
    shown = Table(title=title)
    for column in columns:
        shown.add_column(column, justify="right")
    return shown


def _whole(value: float | None) -> str:
    return NOT_MEASURED if value is None else f"{value:.0f}"
