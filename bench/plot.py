"""docs/figures/speed.png: milliseconds by stage against the size of the tile and against its cells."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

mpl.rcParams.update({"font.size": 8, "axes.titlesize": 8, "axes.spines.top": False, "axes.spines.right": False})
DPI = 150
TOTAL = "total"


def plot_scaling(sizes: list[dict[str, Any]], cells: list[dict[str, Any]], out: Path) -> None:
    """Draw both.

    Args:
        sizes: what `scaling.by_size` measured.
        cells: what `scaling.by_cells` measured.
        out: PNG to write; its folder is made.
    """
    figure = Figure(figsize=(7, 2.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    _lines(left, [row["pixels"] / 1e6 for row in sizes], sizes)
    left.set(xscale="log", yscale="log", xlabel="megapixels", ylabel="ms", title="A real tile, mirrored to each size")
    _lines(right, [row["cells"] for row in cells], cells)
    megapixels = cells[0]["pixels"] / 1e6
    right.set(xlabel="cells found", ylabel="ms", ylim=(0, None), title=f"Drawn tiles of {megapixels:.2f} megapixels")
    right.legend(frameon=False, fontsize=7)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=DPI)


def _lines(axes: Axes, x: list[float], rows: list[dict[str, Any]]) -> None:
    """A line for each stage, of the same colour in every panel, the total in black."""
    for stage in sorted(rows[0]["stages_ms"]):
        style = {"color": "black", "linewidth": 1.5} if stage == TOTAL else {"linewidth": 1}
        axes.plot(x, [row["stages_ms"][stage] for row in rows], marker=".", label=stage, **style)
