"""`python -m bench.sweep`: the service under every combination of workers and threads.

The best combination depends on the number of cores; the service's defaults were chosen with this command on two cores.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from bench.load import OK, count_cells, run_load, summarise
from bench.machine import provenance
from bench.process import cpu_seconds, peak_rss_mb, rss_mb
from bench.server import serving
from bench.tiles import default_tiles

WORKERS, ONNX_THREADS, OPENCV_THREADS = (1, 2, 3), (1, 2), (1, 2)
CROWD = 16
COLUMNS = {
    "alone_p50_ms": "alone, p50 ms",
    "p95_ms": f"{CROWD} clients, p95 ms",
    "tiles_per_s": "tiles/s",
    "cpu_ms": "CPU ms per tile",
    "peak_mb": "peak MB",
    "end_mb": "at the end",
}

cli = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def combinations() -> list[dict[str, str]]:
    """Return the environments to measure: the service's defaults, then every combination."""
    threads = [
        {
            "MARROWSCOPE_WORKERS": str(workers),
            "MARROWSCOPE_THREADS": str(onnx_threads),
            "OPENCV_FOR_THREADS_NUM": str(opencv_threads),
        }
        for workers, onnx_threads, opencv_threads in itertools.product(WORKERS, ONNX_THREADS, OPENCV_THREADS)
    ]
    return [{}, *threads]


def measure_under(environment: dict[str, str], tiles: list[bytes], n_alone: int, n_crowd: int) -> dict[str, Any]:
    """Measure the service in one environment.

    Args:
        environment: variables that set workers and threads.
        tiles: PNG files, posted in turn.
        n_alone: requests of one client.
        n_crowd: requests of 16 clients together.

    Returns:
        The median latency of one client in ms; for 16 clients, the figures of `summarise` and the server's processor
        time per tile in ms; and the server's memory in MB, at its peak and at the end.
    """
    with serving(**environment) as server:
        cells = count_cells(server.url, tiles)
        alone = summarise(asyncio.run(run_load(server.url, tiles, n_alone, 1)), cells)
        before = cpu_seconds(server.pid)
        crowd = summarise(asyncio.run(run_load(server.url, tiles, n_crowd, CROWD)), cells)
        after = cpu_seconds(server.pid)
        memory = {"peak_mb": peak_rss_mb(server.pid), "end_mb": rss_mb(server.pid)}
    per_tile = None if before is None or after is None else 1000 * (after - before) / crowd["statuses"][str(OK)]
    return {"environment": environment, "alone_p50_ms": alone["p50_ms"], **crowd, "cpu_ms": per_tile, **memory}


@cli.command()
def main(
    alone: Annotated[int, typer.Option(min=1, help="Requests of one client, for each combination.")] = 15,
    crowd: Annotated[int, typer.Option(min=1, help="Requests of 16 clients, for each combination.")] = 64,
    out: Annotated[Path | None, typer.Option(help="JSON file, rewritten after each combination.")] = None,
) -> None:
    """Measure the service under settings that change its speed and its memory, and never its answers."""
    console = Console()
    tiles = [path.read_bytes() for path in default_tiles()]
    result: dict[str, Any] = {**provenance(), "alone": alone, "crowd": crowd, "rows": []}
    for environment in combinations():
        result["rows"].append(measure_under(environment, tiles, alone, crowd))
        console.print(describe(environment), result["rows"][-1]["tiles_per_s"], "tiles/s", style="dim")
        if out is not None:
            out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    console.print(table(result["rows"]))


def describe(environment: dict[str, str]) -> str:
    """Name the settings without their prefix, or "defaults"."""
    return ", ".join(f"{name.split('_', 1)[1].lower()} {value}" for name, value in environment.items()) or "defaults"


def table(rows: list[dict[str, Any]]) -> Table:
    """Show a row for each combination."""
    shown = Table(title="The service by its settings")
    shown.add_column("settings")
    for title in COLUMNS.values():
        shown.add_column(title, justify="right")
    for row in rows:
        specs = {name: ".2f" if name == "tiles_per_s" else ".0f" for name in COLUMNS}
        figures = [format(row[name], spec) if row[name] is not None else "–" for name, spec in specs.items()]
        shown.add_row(describe(row["environment"]), *figures)
    return shown


if __name__ == "__main__":
    cli()
