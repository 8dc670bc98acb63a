"""`python -m bench`, which is `make bench`: speed and memory of tiles and of the service.

Prints tables, writes docs/bench.json and draws docs/figures/speed.png; `python -m training report` puts the figures
into docs/results.md.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

import typer
from rich.console import Console

from app.streams import write_any_text
from bench import ROOT
from bench.floor import best_rates, compare_with_floor, machine_rates
from bench.load import measure_service, measure_starts
from bench.machine import BackgroundLoad, provenance
from bench.process import run_child
from bench.report import plot_scaling, tables
from bench.scaling import by_cells, by_size
from bench.tiles import default_tiles

SCALING_REPEATS = 3
OURS_A_TURN = 3
"""Analyses of ours for each of the reference recipe, which takes many times as long."""
BUSY = 0.2
"""If other processes keep more cores busy than this, it shows in the figures."""

Report = Callable[[str], None]

cli = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@cli.command()
def main(
    tile: Annotated[
        list[Path] | None,
        typer.Argument(
            exists=True,
            dir_okay=False,
            help="Tiles to measure; the first is measured by stage. Default: the public tiles, or else the sample.",
        ),
    ] = None,
    runs: Annotated[
        int, typer.Option(min=1, help="Analyses of a tile after a warm-up; the reference recipe gets a third.")
    ] = 9,
    requests: Annotated[int, typer.Option(min=1, help="Requests over HTTP, for 1 client and for 16 clients.")] = 100,
    soak: Annotated[
        int,
        typer.Option(min=1, help="Requests over HTTP by 4 clients while memory is watched; a full soak takes 2000."),
    ] = 200,
    out: Annotated[Path, typer.Option(help="JSON file to write.")] = ROOT / "docs" / "bench.json",
    figure: Annotated[Path, typer.Option(help="PNG file to draw.")] = ROOT / "docs" / "figures" / "speed.png",
) -> None:
    """Measure our analysis, the reference recipe, the machine's floor, and the service over HTTP."""
    console, start = Console(), perf_counter()

    def report(line: str) -> None:
        console.print(f"[{perf_counter() - start:4.0f} s] {line}", markup=False, style="dim")

    tiles = [path.resolve() for path in tile or default_tiles()]
    result = measure_all(tiles, repeats=runs, n_requests=requests, n_soak=soak, report=report)
    result["bench_s"] = perf_counter() - start
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    plot_scaling(result["sizes"], result["cells"], figure)
    for table in tables(result):
        console.print(table)
    report(f"{out} and {figure} written")


def measure_all(tiles: list[Path], *, repeats: int, n_requests: int, n_soak: int, report: Report) -> dict[str, Any]:
    """Measure everything, in the order in which docs/bench.json has it.

    Args:
        tiles: the first is analysed in a process of its own and mirrored to other sizes; all are posted in turn.
        repeats: analyses of the first tile after a warm-up; the reference recipe gets a third.
        n_requests: requests over HTTP, for each number of clients but that of the soak.
        n_soak: requests over HTTP while the server's memory is watched.
        report: called with a line about each step before it begins.
    """
    tile = tiles[0]
    result = {"tile": tile.name, **provenance()}
    background = BackgroundLoad()
    rates = [_machine_rates(tile, report)]
    ours, reference = _in_turns(tile, repeats, report)
    result |= {"ours": ours, "reference": reference, "speedup": reference["median_s"] / ours["median_s"]}
    result["cpu_speedup"] = reference["median_cpu_s"] / ours["median_cpu_s"]
    report("stains and segmentation alone")
    result["presets"] = run_child("bench.analysis", "presets", str(tile), str(repeats))["presets"]
    report("what measuring costs")
    result["measuring"] = run_child("bench.analysis", "measuring", str(tile), str(repeats))
    rates.append(_machine_rates(tile, report))
    result["q"] = _q_rates()
    report("cold starts")
    result["cold_start"] = measure_starts()
    result["service"] = measure_service([path.read_bytes() for path in tiles], n_requests, n_soak, report)
    result["sizes"] = by_size(tile, SCALING_REPEATS, report)
    result["cells"] = by_cells(SCALING_REPEATS, report)
    rates.append(_machine_rates(tile, report))
    result["floor"] = compare_with_floor(tile, ours, best_rates(rates))
    result["machine"]["others_cores"] = busy = background.cores()
    if busy is not None and busy > BUSY:
        report(f"OTHER PROCESSES KEPT {busy:.1f} CORES BUSY: do not rely on these figures")
    return result


def _in_turns(tile: Path, repeats: int, report: Report) -> tuple[dict[str, Any], dict[str, Any]]:
    """Measure ours and the reference recipe by turns, so that a busy moment of the machine meets both.

    Each measurement is a process of its own. In a turn, ours analyses the tile three times and the reference once.
    """
    turns = max(1, repeats // OURS_A_TURN)
    counts = {"ours": min(repeats, OURS_A_TURN), "reference": 1}
    found: dict[str, list[dict[str, Any]]] = {system: [] for system in counts}
    for turn in range(turns):
        for system, count in counts.items():
            report(f"turn {turn + 1} of {turns}: {system} on {tile.name}")
            found[system].append(run_child("bench.analysis", system, str(tile), str(count)))
    return joined(found["ours"]), joined(found["reference"])


def joined(turns: list[dict[str, Any]]) -> dict[str, Any]:
    """Return one measurement for those of several turns: medians over all analyses, and the highest memory."""
    seconds, cpu_seconds = ([one for turn in turns for one in turn[name]] for name in ("seconds", "cpu_seconds"))
    return {
        **turns[-1],
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "median_s": statistics.median(seconds),
        "median_cpu_s": statistics.median(cpu_seconds),
        "stages_ms": {
            stage: statistics.median(turn["stages_ms"][stage] for turn in turns) for stage in turns[-1]["stages_ms"]
        },
        **{name: max(turn[name] or 0 for turn in turns) or None for name in ("idle_rss_mb", "peak_rss_mb")},
    }


def _machine_rates(tile: Path, report: Report) -> dict[str, float]:
    report("the machine: memory, matrix products, decoding")
    return machine_rates(tile)


def _q_rates() -> list[dict[str, Any]]:
    """Measure Q where the service computes it, and on the CPU as well if that is a GPU."""
    served: list[dict[str, Any]] = run_child("bench.analysis", "q")["rates"]
    if served[0]["device"] == "cpu":
        return served
    return [*served, *run_child("bench.analysis", "q", CUDA_VISIBLE_DEVICES="")["rates"]]


if __name__ == "__main__":
    write_any_text()
    cli()
