"""`make bench`: ours and the reference recipe on one tile, in turn; prints a table and writes docs/bench.json."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "models" / "marrow" / "sample.png"
REAL_TILE = "bm_graz/tiles/BM_GRAZ_HE_0001_01.png"


def default_tile() -> Path:
    """A real tile where the public data lie, otherwise the bundle's synthetic sample."""
    data = Path(os.environ.get("MARROWSCOPE_DATA", ROOT.parent / "shared" / "data"))
    real = data / REAL_TILE
    return real if real.is_file() else SAMPLE


def measure(system: str, tile: Path, runs: int) -> dict[str, Any]:
    """Run one system in a process of its own."""
    command = [sys.executable, "-m", "bench.measure", system, str(tile), str(runs)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def main(
    tile: Annotated[Path | None, typer.Argument(help="tile to measure on; default: a real one, or the sample")] = None,
    runs: Annotated[int, typer.Option(min=1, help="runs of ours after a warm-up; the reference gets a third")] = 9,
    out: Annotated[Path, typer.Option(help="JSON to write")] = ROOT / "docs" / "bench.json",
) -> None:
    """Speed and memory, ours against the reference recipe in one run."""
    chosen = (tile or default_tile()).resolve()
    ours = measure("ours", chosen, runs)
    reference = measure("reference", chosen, max(1, runs // 3))
    result = {
        "tile": chosen.name,
        "machine": {"architecture": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version()},
        "ours": ours,
        "reference": reference,
        "speedup": reference["median_s"] / ours["median_s"],
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    Console().print(table(result))


def table(result: dict[str, Any]) -> Table:
    """The result for reading."""
    shown = Table(title=f"{result['tile']}: {result['speedup']:.1f}× the reference recipe")
    for column in ("", "ours", "reference"):
        shown.add_column(column, justify="right")
    ours, reference = result["ours"], result["reference"]
    shown.add_row("median, s", f"{ours['median_s']:.3f}", f"{reference['median_s']:.3f}")
    shown.add_row("cells", str(ours["cells"]), str(reference["cells"]))
    shown.add_row("peak memory, MB", f"{ours['peak_rss_mb']:.0f}", f"{reference['peak_rss_mb']:.0f}")
    for stage, milliseconds in ours["stages_ms"].items():
        shown.add_row(f"{stage}, ms", f"{milliseconds:.1f}", "")
    return shown


if __name__ == "__main__":
    typer.run(main)
