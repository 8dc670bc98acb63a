"""What a tile costs by its size, and by its number of cells."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from bench.child import run_child
from bench.tiles import UInt8Array, drawn, mirrored, read_pixels, to_png

SIDES = (256, 512, 1024, 2048, 4096)
DRAWN_NUCLEI = (0, 125, 250, 500, 1000, 2000)
LARGE_PIXELS = 4_000_000
"""From here on fewer runs say as much: a run is long against the clock's and the scheduler's noise."""


def by_size(tile: Path, runs: int, say: Callable[[str], None] = lambda _: None) -> list[dict[str, Any]]:
    """A row for each of SIDES: squares cut and mirrored from a tile, so that the density of cells stays about the same.

    Args:
        tile: to mirror.
        runs: of each size, after a warm-up; two of the large ones.
        say: told what comes next.
    """
    pixels = read_pixels(tile)

    def rows() -> Iterable[tuple[dict[str, Any], UInt8Array]]:
        for side in SIDES:
            say(f"a tile of {side} × {side} px")
            yield {"side_px": side, "pixels": side**2}, mirrored(pixels, side)

    return _measure(rows(), runs)


def by_cells(runs: int, say: Callable[[str], None] = lambda _: None) -> list[dict[str, Any]]:
    """A row for each of DRAWN_NUCLEI: drawn tiles of one size; what is found in them is measured, not assumed."""

    def rows() -> Iterable[tuple[dict[str, Any], UInt8Array]]:
        for n_nuclei in DRAWN_NUCLEI:
            say(f"a tile with {n_nuclei} drawn nuclei")
            pixels = drawn(n_nuclei)
            yield {"drawn": n_nuclei, "pixels": pixels.shape[0] * pixels.shape[1]}, pixels

    return _measure(rows(), runs)


def _measure(rows: Iterable[tuple[dict[str, Any], UInt8Array]], runs: int) -> list[dict[str, Any]]:
    """Each tile in a process of its own, which is where its peak of memory comes from."""
    measured = []
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "tile.png"
        for row, pixels in rows:
            path.write_bytes(to_png(pixels))
            n_runs = 2 if row["pixels"] > LARGE_PIXELS else runs
            found = run_child("bench.measure", "ours", str(path), str(n_runs))
            fields = ("cells", "median_s", "stages_ms", "idle_rss_mb", "peak_rss_mb")
            measured.append({**row, "runs": n_runs, **{name: found[name] for name in fields}})
    return measured
