"""What `make bench` found, as tables for reading."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.table import Table

Result = dict[str, Any]
NOT_MEASURED = "–"


def tables(result: Result) -> Iterator[Table]:
    """In the order of reading."""
    yield against_reference(result)
    yield against_floor(result)
    yield over_http(result["service"])
    yield steadiness(result["cold_start"], result["service"])
    yield scaling(result["sizes"], "side_px", "Cost by size (a tile mirrored to a square)")
    yield scaling(result["cells"], "drawn", "Cost by cells (drawn tiles of 1200 × 1200 px)")


def against_reference(result: Result) -> Table:
    """Ours by stage, and the reference recipe."""
    shown = _table(f"{result['tile']}: {result['speedup']:.1f}× the reference recipe", "", "ours", "reference")
    ours, reference = result["ours"], result["reference"]
    shown.add_row("median, s", f"{ours['median_s']:.3f}", f"{reference['median_s']:.3f}")
    shown.add_row("cells", str(ours["cells"]), str(reference["cells"]))
    shown.add_row("peak memory, MB", _whole(ours["peak_rss_mb"]), _whole(reference["peak_rss_mb"]))
    for stage, milliseconds in ours["stages_ms"].items():
        shown.add_row(f"{stage}, ms", f"{milliseconds:.1f}", "")
    return shown


def against_floor(result: Result) -> Table:
    """The computed floor, part by part, and Q's rate."""
    found = result["floor"]
    shown = _table(f"Floor of {result['tile']}: ours takes {found['ratio']:.1f}× as long", "", "ms", "from")
    gigabytes = f"{found['pixel_bytes'] / 1e6:.0f} MB at {found['memory_bytes_per_s'] / 1e9:.1f} GB/s"
    products = (
        f"{found['cells']} × {found['multiply_adds_per_cell'] / 1e6:.1f} M multiply-adds at "
        f"{found['gemm_multiply_adds_per_s'] / 1e9:.0f} G/s"
    )
    for part, source in (("decode", "the decoder alone"), ("pixels", gigabytes), ("q", products)):
        shown.add_row(part, f"{found[f'{part}_s'] * 1000:.1f}", source)
    shown.add_row("floor", f"{found['total_s'] * 1000:.1f}", "")
    shown.add_row("ours", f"{result['ours']['median_s'] * 1000:.1f}", "")
    for rate in result["q"]:
        where = f"Q, {rate['precision']}, on {rate['device']} ({rate['backend']})"
        shown.add_row("", "", f"{where}: {rate['cells_per_s']:,.0f} cells/s")
    return shown


def over_http(service: Result) -> Table:
    """Latency and throughput by concurrency."""
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


def steadiness(cold_start: Result, service: Result) -> Table:
    """Cold start, and memory over the soak."""
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
    """A row for each tile."""
    shown = _table(title, key, "cells", "ms", "ms per megapixel", "peak memory, MB")
    for row in rows:
        milliseconds = row["median_s"] * 1000
        per_megapixel = f"{milliseconds / row['pixels'] * 1e6:.0f}"
        shown.add_row(
            str(row[key]), str(row["cells"]), f"{milliseconds:.0f}", per_megapixel, _whole(row["peak_rss_mb"])
        )
    return shown


def _table(title: str, *columns: str) -> Table:
    shown = Table(title=title)
    for column in columns:
        shown.add_column(column, justify="right")
    return shown


def _whole(value: float | None) -> str:
    return NOT_MEASURED if value is None else f"{value:.0f}"
