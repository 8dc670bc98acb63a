"""The tile with the outline of every cell in its cluster's colour."""

from __future__ import annotations

import io

import cv2
import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from app.api.palette import OUTLIER, cluster_color, hex_color
from app.api.schemas import NOTICE
from app.pipeline.types import UInt8Array
from app.service import Result

CASING = (20, 20, 20)
"""Colour under the lines, which makes the pale ones visible on glass."""


def overlay(result: Result) -> bytes:
    """A PNG of the upload's size; its text chunks say which colour is which cluster, and what it may be used for."""
    text = PngInfo()
    text.add_itxt("Disclaimer", NOTICE)
    text.add_itxt("Description", _legend(result))
    buffer = io.BytesIO()
    Image.fromarray(draw_overlay(result)).save(buffer, "PNG", pnginfo=text)
    return buffer.getvalue()


def draw_overlay(result: Result) -> UInt8Array:
    """(H, W, 3) uint8 RGB, of the upload's size."""
    analysis = result.analysis
    canvas = analysis.tile.pixels.copy()
    outlines = [np.rint(contour).astype(np.int32) for contour in analysis.cells.contours]
    cv2.polylines(canvas, outlines, isClosed=True, color=CASING, thickness=3, lineType=cv2.LINE_AA)
    proportions = analysis.proportions
    for k in range(result.bundle.manifest.n_clusters):
        chosen = np.flatnonzero((proportions.clusters == k) & ~proportions.outlier)
        _draw(canvas, [outlines[i] for i in chosen], cluster_color(k))
    _draw(canvas, [outlines[i] for i in np.flatnonzero(proportions.outlier)], OUTLIER)
    return canvas


def _draw(canvas: UInt8Array, outlines: list[np.ndarray], color: tuple[int, int, int]) -> None:
    cv2.polylines(canvas, outlines, isClosed=True, color=color, thickness=1, lineType=cv2.LINE_AA)


def _legend(result: Result) -> str:
    manifest, counts = result.bundle.manifest, result.analysis.proportions.counts
    names = manifest.cluster_names
    lines = [f"Bundle {manifest.name}, version {manifest.version}"]
    for k in range(manifest.n_clusters):
        name = f" ({names.of(k)})" if names and names.of(k) else ""
        lines.append(f"{hex_color(cluster_color(k))} cluster {k}{name}: {int(counts[k])} cells")
    lines.append(f"{hex_color(OUTLIER)} outliers: {int(result.analysis.proportions.outlier.sum())} cells")
    return "\n".join(lines)
