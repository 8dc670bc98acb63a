"""`make bench`: speed and memory, ours against the reference recipe and against what the machine allows.

Prints tables, writes docs/bench.json and draws docs/figures/speed.png; `python -m training report` reports them.
"""

from __future__ import annotations

import json
from pathlib import Path
from time import perf_counter
from typing import Annotated

import typer
from rich.console import Console

from bench.child import ROOT
from bench.plot import plot_scaling
from bench.run import run_bench
from bench.tables import tables
from bench.tiles import default_tiles

cli = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@cli.command()
def main(
    tile: Annotated[
        list[Path] | None,
        typer.Argument(help="tiles to measure on, the first of them by stage; default: real ones, or the sample"),
    ] = None,
    runs: Annotated[int, typer.Option(min=1, help="runs of ours after a warm-up; the reference gets a third")] = 9,
    requests: Annotated[int, typer.Option(min=1, help="over HTTP, with 1 client and with 16")] = 100,
    soak: Annotated[
        int, typer.Option(min=1, help="over HTTP, with 4 clients and memory watched; 2000: a full one")
    ] = 200,
    out: Annotated[Path, typer.Option(help="JSON to write")] = ROOT / "docs" / "bench.json",
    figure: Annotated[Path, typer.Option(help="PNG to draw")] = ROOT / "docs" / "figures" / "speed.png",
) -> None:
    """Speed and memory: ours, the reference recipe, the machine's floor, and the service over HTTP."""
    console, start = Console(), perf_counter()

    def say(what: str) -> None:
        console.print(f"[{perf_counter() - start:4.0f} s] {what}", markup=False, style="dim")

    result = run_bench(
        [path.resolve() for path in tile or default_tiles()], runs=runs, n_requests=requests, n_soak=soak, say=say
    )
    result["bench_s"] = perf_counter() - start
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    plot_scaling(result["sizes"], result["cells"], figure)
    for table in tables(result):
        console.print(table)
    say(f"{out} and {figure} written")


if __name__ == "__main__":
    cli()
