"""Fig. 5: how fixed noise becomes cells while the generator learns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from app.pipeline.crops import CROP_PX
from training.errors import DataError
from training.study.figures.canvas import DPI

PANELS = 6


def draw_noise(run: Path) -> Figure:
    """Sample grids of a run at up to six iterations, evenly spaced on a logarithmic scale.

    Each has the same z along a row and one cluster per column.

    Raises:
        DataError: the run has fewer than two grids.
    """
    paths = sorted((run / "samples").glob("*.png"))
    if len(paths) < 2:
        raise DataError(f"{run / 'samples'} holds {len(paths)} grids of samples; two at least are wanted.")
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
    """Indices of up to PANELS of (N,) rising iterations, the first and the last among them, evenly spaced in log."""
    wanted = np.geomspace(iterations[0], iterations[-1], PANELS)
    return sorted({int(np.abs(np.log(iterations) - np.log(one)).argmin()) for one in wanted})
