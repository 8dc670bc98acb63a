"""The parts that all figures share: colours, rows of crops, and the writing of small files."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from app.pipeline.crops import pictures
from app.pipeline.prototypes import tile_grid
from app.pipeline.types import UInt8Array
from training.console import write_text

COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#000000")
"""Colours of Okabe and Ito, which the colour-blind can distinguish; black is last."""
DPI = 150
PALETTE = 256
FIGURES = "figures.json"

mpl.rcParams.update({"font.size": 8, "axes.titlesize": 8, "axes.spines.top": False, "axes.spines.right": False})


def show_crops(axes: Axes, crops: UInt8Array, columns: int) -> None:
    """Draw the nuclei of (N, 32, 32, C) crops row by row, without axes; the rest of the last row is white."""
    crops = pictures(crops)
    rows = max(1, -(-len(crops) // columns))
    filled = np.full((rows * columns, *crops.shape[1:]), 255, np.uint8)
    filled[: len(crops)] = crops
    axes.imshow(tile_grid(filled.reshape(rows, columns, *crops.shape[1:])), interpolation="nearest")
    axes.set_axis_off()


def keep_figure(figure: Figure, results: Path, name: str, about: dict[str, Any]) -> Path:
    """Write a figure as results/../figures/name.png, and facts about it into figures.json for the report.

    Args:
        figure: the figure.
        results: directory of the results, which holds figures.json.
        name: name of the figure.
        about: facts about what it shows.

    Returns:
        The path of the PNG file.
    """
    path = results.parent / "figures" / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=DPI, bbox_inches="tight")
    Image.open(drawn).convert("RGB").quantize(PALETTE).save(path, optimize=True)
    index = results / FIGURES
    known = json.loads(index.read_text(encoding="utf-8")) if index.is_file() else {}
    known[name] = about
    write_text(index, json.dumps(dict(sorted(known.items())), indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    return path
