"""The density of each cluster's cells over the slide: counts on a coarse grid, as numbers and as pictures."""

from __future__ import annotations

import io
from functools import cache

import cv2
import numpy as np
import tifffile
from PIL import Image

from app.answer.present import PNG_LEVEL
from app.batch.analyse.cells import SlideCells
from app.pipeline.types import Float32Array, Float64Array, UInt8Array

BOX_UM = 100.0
"""The approximate edge of a box of the grid. Marrow has about thirty cells in it, so that shares are visible, and a
marrow space is several boxes wide."""
UM2_PER_MM2 = 1e6
UM_PER_CM = 1e4
PALENESS = 0.3
"""The share of the overview's contrast that is left under a map."""
OPACITY = 0.8
"""The opacity of a map's colours over the overview."""
TOP_PERCENTILE = 99
COLORS, GREYS = 31, 8
"""Steps of a map's colours and of the greys under it. With the greys alone they make 256 colours, one byte per px."""


def box_edge(um_per_px: float) -> int:
    """Return the edge of a box in whole px of level 0, at least 1."""
    return max(1, round(BOX_UM / um_per_px))


def density_maps(
    cells: SlideCells, width: int, height: int, box_px: int, um_per_px: float, n_clusters: int
) -> Float32Array:
    """Count the cells of each cluster per mm² of the slide, box by box, without smoothing; outliers are not counted.

    The border of the slide cuts off boxes at the right and at the bottom; their density is that of the part that is
    left. Glass in a box counts as area.

    Args:
        cells: the cells of the slide.
        width: the width of the slide, in px of level 0.
        height: the height of the slide, in px of level 0.
        box_px: the edge of a box, in px of level 0.
        um_per_px: µm per px of level 0.
        n_clusters: K.

    Returns:
        (K, ⌈height / box_px⌉, ⌈width / box_px⌉) float32.
    """
    rows, columns = -(-height // box_px), -(-width // box_px)
    counted = ~cells.outlier
    # A centroid names a pixel by its centre, and the edge of a box is the edge of a pixel.
    at = ((cells.centroids[counted] + 0.5) / box_px).astype(np.int64).clip(0, [columns - 1, rows - 1])
    index = (cells.clusters[counted] * rows + at[:, 1]) * columns + at[:, 0]
    counts = np.bincount(index, minlength=n_clusters * rows * columns).reshape(n_clusters, rows, columns)
    heights = np.minimum(box_px, height - box_px * np.arange(rows))
    widths = np.minimum(box_px, width - box_px * np.arange(columns))
    area_mm2 = np.outer(heights, widths) * um_per_px**2 / UM2_PER_MM2
    return (counts / area_mm2).astype(np.float32)


def density_top(maps: Float32Array) -> float:
    """Return the density that gets the brightest colour, in cells per mm²; 0 if there are no cells.

    One in a hundred of the boxes with cells may be denser. Otherwise a narrow box at the border of the slide, with one
    cell in it, would make all other boxes dark.

    Args:
        maps: (K, h, w) float32.
    """
    filled = maps[maps > 0]
    return float(np.percentile(filled, TOP_PERCENTILE)) if filled.size else 0.0


def density_tif(maps: Float32Array, um_per_box: float) -> bytes:
    """Write the maps as a TIFF of K float32 pages, each with a description, and the scale in the resolution tags.

    Args:
        maps: (K, h, w) float32, cells per mm².
        um_per_box: the edge of a box, µm.
    """
    buffer = io.BytesIO()
    per_cm = UM_PER_CM / um_per_box
    with tifffile.TiffWriter(buffer) as tif:
        for cluster, page in enumerate(maps):
            tif.write(
                page,
                photometric="minisblack",
                compression="zlib",
                predictor=True,
                resolution=(per_cm, per_cm),
                resolutionunit="CENTIMETER",
                description=f"cluster {cluster}: cells per mm2",
                metadata=None,
                software=False,
            )
    return buffer.getvalue()


def density_png(density: Float32Array, overview: UInt8Array, top: float, px_per_box: float) -> bytes:
    """Draw one map over the pale overview; boxes without a cell show the overview alone.

    Args:
        density: (h, w) float32, cells per mm².
        overview: (H, W, 3) uint8 RGB of the whole slide.
        top: the density of the brightest colour, the same for all clusters of a slide so that they can be compared.
        px_per_box: the edge of a box, in px of the overview.

    Returns:
        A PNG of W x H px.
    """
    rows, columns = (
        np.minimum(((np.arange(size) + 0.5) / px_per_box).astype(int), boxes - 1)
        for size, boxes in zip(overview.shape[:2], density.shape, strict=True)
    )
    share = np.clip(density / top, 0, 1) if top > 0 else np.zeros_like(density)
    steps = np.where(density > 0, 1 + np.rint(share * (COLORS - 1)), 0).astype(np.uint8)
    grey = cv2.cvtColor(overview, cv2.COLOR_RGB2GRAY)
    picture = Image.fromarray(steps[rows][:, columns] * GREYS + grey // (256 // GREYS))
    picture.putpalette(_palette().tobytes())
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=PNG_LEVEL)
    return buffer.getvalue()


@cache
def _palette() -> UInt8Array:
    """((1 + COLORS) · GREYS, 3) uint8 RGB: every pale grey by itself, then under each colour of the map."""
    greys = (np.arange(GREYS) + 0.5) * 256 / GREYS
    pale = np.repeat(255 - PALENESS * (255 - greys)[:, None], 3, axis=1)
    blended = OPACITY * _colors(COLORS)[:, None] + (1 - OPACITY) * pale
    return np.asarray(np.rint(np.concatenate([pale[None], blended])).reshape(-1, 3), np.uint8)


def _colors(n: int) -> Float64Array:
    """(n, 3) float64 RGB, 0–255, at even steps from density 0 to the top."""
    levels = np.linspace(0, 255, n).astype(np.uint8)[None]
    return cv2.applyColorMap(levels, cv2.COLORMAP_VIRIDIS)[0, :, ::-1].astype(np.float64)


def scale_colors(n: int = 9) -> list[str]:
    """Return n colours #rrggbb at even steps from density 0 to the top, for a legend."""
    return ["#{:02x}{:02x}{:02x}".format(*color) for color in _colors(n).astype(int).tolist()]
