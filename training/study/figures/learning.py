"""Figures of how the GAN learns: generated cells of fixed noise (Fig. 5), and learning curves (Fig. 9)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from app.pipeline.crops import CROP_PX
from training.errors import DataError
from training.study.figures.canvas import COLOURS, DPI
from training.study.protocols.clustering import PURITY
from training.tracking import MetricsLog

PANELS = 6
"""Largest number of grids that Fig. 5 shows."""
SMOOTHED = 10
"""Number of logged iterations in a running mean."""


def draw_noise(run: Path) -> Figure:
    """Draw grids of a run's generated cells at up to six iterations, evenly spaced on a logarithmic scale (Fig. 5).

    In each grid, z is the same along a row, and a column is a cluster.

    Raises:
        DataError: the run has fewer than two grids.
    """
    paths = sorted((run / "samples").glob("*.png"))
    if len(paths) < 2:
        raise DataError(f"{run / 'samples'} holds {len(paths)} grids of generated cells; at least two are needed.")
    chosen = [paths[i] for i in spread(np.array([int(path.stem) for path in paths]))]
    figure = Figure(figsize=(1.45 * len(chosen), 2.6), dpi=DPI, layout="constrained")
    for axes, path in zip(figure.subplots(1, len(chosen)), chosen, strict=True):
        with Image.open(path) as grid:
            pixels = np.asarray(grid.convert("RGB"))
        axes.imshow(pixels, interpolation="nearest")
        axes.set_title(f"iteration {int(path.stem)}")
        axes.set_xticks(np.arange(CROP_PX / 2, pixels.shape[1], CROP_PX), range(pixels.shape[1] // CROP_PX))
        axes.set_yticks([])
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    figure.supxlabel("cluster c", fontsize=8)
    figure.supylabel("noise z, one per row", fontsize=8)
    return figure


def spread(iterations: np.ndarray) -> list[int]:
    """Choose up to PANELS of (N,) rising iterations, evenly spaced in log; the first and the last are included."""
    wanted = np.geomspace(iterations[0], iterations[-1], PANELS)
    return sorted({int(np.abs(np.log(iterations) - np.log(one)).argmin()) for one in wanted})


def draw_curves(run: Path) -> Figure:
    """Draw (a) the losses that a run logged, and (b) the purity that `purity_while_training` measured in it (Fig. 9).

    Raises:
        DataError: the run is not one of `purity_while_training`.
    """
    for name in ("metrics.jsonl", PURITY):
        if not (run / name).is_file():
            raise DataError(f"{run / name} does not exist; make it with `python -m training evaluate purity`.")
    losses = [row for row in MetricsLog.read(run / "metrics.jsonl") if "wasserstein" in row]
    scores = MetricsLog.read(run / PURITY)
    figure = Figure(figsize=(6.4, 2.5), dpi=DPI, layout="constrained")
    left, right = figure.subplots(1, 2)
    _curve(left, losses, "wasserstein", COLOURS[0], "critic's estimate of V(D, G)")
    second = left.twinx()
    second.spines["right"].set_visible(True)
    _curve(second, losses, "loss_q", COLOURS[5], "L_Q, nats")
    left.set_title("(a) losses")
    iterations = [row["iteration"] for row in scores]
    for name, colour, marker in (("purity", COLOURS[0], "o"), ("nmi", COLOURS[5], "s")):
        title = {"purity": "purity", "nmi": "NMI"}[name]
        right.plot(iterations, [row[name] for row in scores], color=colour, marker=marker, markersize=3, label=title)
    right.set(xlabel="generator iterations", ylabel="score", ylim=(0, 1), title="(b) clusters of typed cells")
    right.legend(frameon=False)
    return figure


def _curve(axes: Axes, rows: list[dict[str, Any]], name: str, colour: str, title: str) -> None:
    """Draw every logged value faintly, and their running mean; a Q on an encoder logs no loss while it rests."""
    logged = [row for row in rows if name in row]
    iterations, values = (np.array([row[key] for row in logged]) for key in ("iteration", name))
    axes.plot(iterations, values, color=colour, alpha=0.25, linewidth=0.6)
    if width := min(SMOOTHED, len(values)):
        smooth = np.convolve(values, np.full(width, 1 / width), mode="valid")
        axes.plot(iterations[width - 1 :], smooth, color=colour)
    axes.set_xlabel("generator iterations")
    axes.set_ylabel(title, color=colour)
    axes.tick_params(axis="y", colors=colour)
