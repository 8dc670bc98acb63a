"""The tile with the outline of every cell in its cluster's colour."""

from __future__ import annotations

import cv2
import numpy as np
from PIL.PngImagePlugin import PngInfo

from app.answer.palette import OUTLIER, Color, cluster_color, hex_color
from app.answer.present import png
from app.answer.schemas import AnalysisOut, CellOut
from app.pipeline.types import Int32Array, UInt8Array

CASING: Color = (20, 20, 20)
"""Colour under the lines, which makes the pale ones visible on glass."""
CASING_PX = 3


def overlay(answer: AnalysisOut, pixels: UInt8Array) -> bytes:
    """A PNG whose text chunks say which colour is which cluster, and what it may be used for.

    Args:
        answer: the JSON answer.
        pixels: (H, W, 3) uint8 RGB, the upload.
    """
    text = PngInfo()
    text.add_itxt("Disclaimer", answer.notice)
    text.add_itxt("Description", _legend(answer))
    return png(_outlined(pixels, answer.cells), text)


def _outlined(pixels: UInt8Array, cells: list[CellOut]) -> UInt8Array:
    canvas = pixels.copy()
    outlines = [np.rint(cell.contour).astype(np.int32) for cell in cells]
    # All casings first: none covers a neighbour's line.
    _draw(canvas, outlines, CASING, CASING_PX)
    for cell, outline in zip(cells, outlines, strict=True):
        _draw(canvas, [outline], OUTLIER if cell.outlier else cluster_color(cell.cluster), 1)
    return canvas


def _draw(canvas: UInt8Array, outlines: list[Int32Array], color: Color, thickness: int) -> None:
    cv2.polylines(canvas, outlines, isClosed=True, color=color, thickness=thickness, lineType=cv2.LINE_AA)


def _legend(answer: AnalysisOut) -> str:
    lines = [f"Bundle {answer.bundle.name}, version {answer.bundle.version}"]
    for cluster in answer.clusters:
        name = f" ({cluster.name})" if cluster.name else ""
        lines.append(f"{cluster.color} cluster {cluster.cluster}{name}: {cluster.count} cells")
    lines.append(f"{hex_color(OUTLIER)} outliers: {answer.outliers.count} cells")
    return "\n".join(lines)
