"""`python -m bench.slides`: what whole slides cost, and whether cells get lost at seams; writes docs/slides.json.

Each measurement runs the command as a user would. Memory is the sum over all its processes, which is more than they
take together: memory that they share counts for each. The large slides are made of public tiles (`bench.made_slide`)
and are half glass.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from app.pipeline.bundle.load import load_bundle
from app.pipeline.run import analyse
from bench import BUNDLE, ROOT
from bench.machine import provenance
from bench.made_slide import MPP, assembled, write_assembled, write_large
from bench.process import clean_environment, descendants, rss_mb
from bench.tiles import UInt8Array, default_tiles, read_pixels, to_png

POLL_S = 0.5
SEED = 0
TISSUE = 0.5
NO_LIMIT = 10**9
MB = 1e6

cli = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@dataclass(frozen=True, slots=True)
class Measured:
    """What `marrowscope batch` took for one slide.

    Attributes:
        workers: number of processes that analyse tiles.
        seconds: time from the start of the command to its end.
        ready_s: time until the slide's tissue and stain were known; the workers start meanwhile.
        tiles_s: time from then until all tiles were analysed.
        results_s: time from then until the end, for seams, tables, maps and the report.
        tiles: number of tiles that were analysed.
        cells: number of cells that were found.
        tissue_mm2: area of tissue on the slide.
        peak_mb: largest sum of the resident memory of all processes.
        peak_process_mb: largest resident memory of one process.
        result_mb: size of the directory of results.
    """

    workers: int
    seconds: float
    ready_s: float
    tiles_s: float
    results_s: float
    tiles: int
    cells: int
    tissue_mm2: float
    peak_mb: float
    peak_process_mb: float
    result_mb: float


@cli.command()
def main(
    sides: Annotated[
        list[int] | None, typer.Option("--side", help="Width and height of a large slide, px; repeat for more.")
    ] = None,
    out: Annotated[Path, typer.Option(help="JSON file to write.")] = ROOT / "docs" / "slides.json",
) -> None:
    """Measure whole slides: cells at seams, time and memory, and two workers against one."""
    console, sizes = Console(), sorted(sides or [10_000, 20_000, 40_000])
    tiles = [read_pixels(path) for path in default_tiles()]
    with tempfile.TemporaryDirectory() as folder:
        result = {
            "command": "python -m bench.slides" + "".join(f" --side {side}" for side in sides or []),
            **provenance(),
            "assembled": _assembled(tiles, Path(folder), console),
            "tissue_share": TISSUE,
            # The order alternates: the first measurement may find a cooler machine, or files not yet in memory.
            "sizes": [
                _large(tiles, side, [1, 2] if i % 2 == 0 else [2, 1], Path(folder), console)
                for i, side in enumerate(sizes)
            ],
        }
    out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    console.print(f"{out} written")


def _assembled(tiles: list[UInt8Array], folder: Path, console: Console) -> dict[str, Any]:
    """Analyse the tiles side by side as one picture and as a slide of several tiles."""
    picture, slide = assembled(tiles), folder / "assembled.tif"
    whole = analyse(to_png(picture), load_bundle(BUNDLE), max_pixels=NO_LIMIT, mpp=MPP)
    write_assembled(slide, tiles)
    runs = [_measure(slide, folder / f"assembled-{workers}", workers) for workers in (1, 2)]
    counts = _counts(folder / "assembled-1")
    result = {
        "width": picture.shape[1],
        "height": picture.shape[0],
        "whole_counts": whole.proportions.counts.tolist(),
        "whole_cells": len(whole.cells.areas_px),
        "slide_counts": counts,
        "slide_cells": runs[0].cells,
        "runs": [asdict(run) for run in runs],
    }
    console.print(f"assembled: {result['whole_cells']} cells in the whole, {runs[0].cells} in the slide's tiles")
    return result


def _large(tiles: list[UInt8Array], side: int, workers: list[int], folder: Path, console: Console) -> dict[str, Any]:
    """Measure one slide with each number of workers in turn."""
    slide = folder / f"{side}.tif"
    write_large(slide, tiles, side, TISSUE, SEED)
    runs = []
    for number in workers:
        runs.append(_measure(slide, folder / f"large-{side}-{number}", number))
        console.print(f"{side} x {side}: {runs[-1]}")
    slide_mb = slide.stat().st_size / MB
    slide.unlink()
    by_workers = {run.workers: run for run in runs}
    ratios = {name: getattr(by_workers[1], name) / getattr(by_workers[2], name) for name in ("seconds", "tiles_s")}
    console.print(f"two workers: {ratios['seconds']:.2f} times as fast, {ratios['tiles_s']:.2f} on the tiles alone")
    return {"side_px": side, "slide_mb": slide_mb, "ratios": ratios, "runs": [asdict(run) for run in runs]}


def _measure(slide: Path, out: Path, workers: int) -> Measured:
    """Run the command on a slide and watch its processes.

    Raises:
        RuntimeError: the command failed.
    """
    command = [sys.executable, "-m", "app", "batch", str(slide), "--out", str(out), "--workers", str(workers)]
    start = time.perf_counter()
    with subprocess.Popen(
        command, cwd=ROOT, env=clean_environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        peak = peak_process = ready = analysed = 0.0
        while process.poll() is None:
            memory = [rss_mb(pid) or 0 for pid in (process.pid, *descendants(process.pid))]
            peak, peak_process = max(peak, sum(memory)), max(peak_process, *memory)
            tiles, done = _progress(out)
            now = time.perf_counter() - start
            ready = ready or (now if tiles else 0)
            analysed = analysed or (now if tiles and done == tiles else 0)
            time.sleep(POLL_S)
        seconds = time.perf_counter() - start
        if process.returncode:
            raise RuntimeError(f"{' '.join(command[1:])} failed:\n{process.stderr.read() if process.stderr else ''}")
    summary = _summary(out)
    return Measured(
        workers=workers,
        seconds=seconds,
        ready_s=ready,
        tiles_s=analysed - ready,
        results_s=seconds - analysed,
        tiles=summary["tiles"],
        cells=summary["cells"],
        tissue_mm2=summary["tissue_mm2"],
        peak_mb=peak,
        peak_process_mb=peak_process,
        result_mb=sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) / MB,
    )


def _progress(out: Path) -> tuple[int, int]:
    """Return the number of tiles and how many of them are analysed."""
    try:
        progress = json.loads((out / "progress.json").read_bytes())
    except FileNotFoundError:
        return 0, 0
    return progress["tiles"], progress["tiles_done"]


def _summary(out: Path) -> dict[str, Any]:
    (path,) = out.glob("slides/*/summary.json")
    summary: dict[str, Any] = json.loads(path.read_bytes())
    return summary


def _counts(out: Path) -> list[int]:
    return [cluster["count"] for cluster in _summary(out)["clusters"]]


if __name__ == "__main__":
    cli()
