"""The tile with the outline of every cell in the colour of its type, if the bundle knows types, or of its cluster."""

from __future__ import annotations

import cv2
import numpy as np
from PIL.PngImagePlugin import PngInfo

from app.answer.palette import NO_TYPE, OUTLIER, Color, cluster_color, hex_color, type_colors
from app.answer.present import Result, png
from app.answer.schemas import NOTICE
from app.pipeline.types import Int32Array, UInt8Array

CASING: Color = (20, 20, 20)
"""Colour of the wider line under each outline, which keeps pale outlines visible on glass."""
CASING_PX = 3


def overlay(result: Result) -> bytes:
    """Return a PNG of the upload's size; its text chunks hold the notice and the colour of each type or cluster."""
    text = PngInfo()
    text.add_itxt("Disclaimer", NOTICE)
    text.add_itxt("Description", _legend(result))
    return png(_outlined(result), text)


def _outlined(result: Result) -> UInt8Array:
    canvas, cells = result.analysis.tile.pixels.copy(), result.cells
    outlines = [np.rint(contour).astype(np.int32) for contour in result.contours]
    # All casings are drawn first, so that none covers a neighbour's line.
    _draw(canvas, outlines, CASING, CASING_PX)
    for outline, color, is_outlier in zip(outlines, _colors(result), cells.outliers, strict=True):
        _draw(canvas, [outline], OUTLIER if is_outlier else color, 1)
    return canvas


def _colors(result: Result) -> list[Color]:
    """Return the colour of each cell, as if it were no outlier."""
    cells, of_types = result.cells, type_colors(result.bundle.manifest)
    if cells.types is None:
        return [cluster_color(cluster) for cluster in cells.clusters]
    return [NO_TYPE if name is None else of_types[name] for name in cells.types]


def _draw(canvas: UInt8Array, outlines: list[Int32Array], color: Color, thickness: int) -> None:
    cv2.polylines(canvas, outlines, isClosed=True, color=color, thickness=thickness, lineType=cv2.LINE_AA)


def _legend(result: Result) -> str:
    lines = [f"Bundle {result.bundle_used.name}, version {result.bundle_used.version}"]
    types = result.types["types"]
    if types is None:
        for cluster in result.clusters:
            name = f" ({cluster.name})" if cluster.name else ""
            lines.append(f"{cluster.color} cluster {cluster.cluster}{name}: {cluster.count} cells")
    else:
        lines += [f"{one.color} {one.type}: {one.count} cells" for one in types]
        lines.append(f"{hex_color(NO_TYPE)} no type: {result.types['cells_without_type']} cells")
    lines.append(f"{hex_color(OUTLIER)} outliers: {result.outliers.count} cells")
    if result.corrections is not None:
        n = result.corrections.n
        lines.append(f"{n} {'cell' if n == 1 else 'cells'} corrected by {result.corrections.by}")
    return "\n".join(lines)
