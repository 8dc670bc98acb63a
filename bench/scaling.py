"""What a tile costs by its size, and by its number of cells; each tile is measured in a process of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from bench.process import run_child
from bench.tiles import UInt8Array, drawn, mirrored, read_pixels, to_png

SIDES = (256, 512, 1024, 2048, 4096)
DRAWN_NUCLEI = (0, 125, 250, 500, 1000, 2000)
LARGE_PIXELS = 4_000_000
"""A tile of more pixels is analysed twice only: one analysis is so long that the noise of clocks does not matter."""


def by_size(tile: Path, repeats: int, report: Callable[[str], None] = lambda _: None) -> list[dict[str, Any]]:
    """Measure squares of each of `SIDES`, cut or mirrored from a tile, so that the density of cells stays the same.

    Args:
        tile: image file.
        repeats: analyses of each size after a warm-up; two for large tiles.
        report: called with a line about each tile before it is measured.

    Returns:
        A row for each size.
    """
    pixels = read_pixels(tile)

    def rows() -> Iterable[tuple[dict[str, Any], UInt8Array]]:
        for side in SIDES:
            report(f"a tile of {side} × {side} px")
            yield {"side_px": side, "pixels": side**2}, mirrored(pixels, side)

    return _measure(rows(), repeats)


def by_cells(repeats: int, report: Callable[[str], None] = lambda _: None) -> list[dict[str, Any]]:
    """Measure drawn tiles of one size with each of `DRAWN_NUCLEI`; `cells` is what the analysis found in them.

    Args:
        repeats: analyses of each tile after a warm-up.
        report: called with a line about each tile before it is measured.

    Returns:
        A row for each number of nuclei.
    """

    def rows() -> Iterable[tuple[dict[str, Any], UInt8Array]]:
        for n_nuclei in DRAWN_NUCLEI:
            report(f"a tile with {n_nuclei} drawn nuclei")
            pixels = drawn(n_nuclei)
            yield {"drawn": n_nuclei, "pixels": pixels.shape[0] * pixels.shape[1]}, pixels

    return _measure(rows(), repeats)


def _measure(rows: Iterable[tuple[dict[str, Any], UInt8Array]], repeats: int) -> list[dict[str, Any]]:
    measured = []
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "tile.png"
        for row, pixels in rows:
            path.write_bytes(to_png(pixels))
            n_repeats = 2 if row["pixels"] > LARGE_PIXELS else repeats
            found = run_child("bench.analysis", "ours", str(path), str(n_repeats))
            fields = ("cells", "median_s", "stages_ms", "idle_rss_mb", "peak_rss_mb")
            measured.append({**row, "runs": n_repeats, **{name: found[name] for name in fields}})
    return measured
