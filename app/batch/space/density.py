"""Maps of a slide on a coarse grid, as numbers and as pictures: the density of each cluster, and means over cells."""

from __future__ import annotations

import io
from collections.abc import Mapping
from functools import cache

import cv2
import numpy as np
import tifffile
from PIL import Image

from app.answer.present import PNG_LEVEL
from app.batch.analyse.cells import SlideCells
from app.pipeline.types import Float32Array, Float64Array, Int64Array, UInt8Array

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
    rows, columns = grid(width, height, box_px)
    counted = ~cells.outlier
    index = cells.clusters[counted] * rows * columns + boxes(cells.centroids[counted], rows, columns, box_px)
    counts = np.bincount(index, minlength=n_clusters * rows * columns).reshape(n_clusters, rows, columns)
    heights = np.minimum(box_px, height - box_px * np.arange(rows))
    widths = np.minimum(box_px, width - box_px * np.arange(columns))
    area_mm2 = np.outer(heights, widths) * um_per_px**2 / UM2_PER_MM2
    return (counts / area_mm2).astype(np.float32)


def mean_map(cells: SlideCells, values: Float32Array, width: int, height: int, box_px: int) -> Float32Array:
    """Average a measurement over the cells of each box; outliers and cells without it are not counted.

    Args:
        cells: the cells of the slide.
        values: (N,) float32, the measurement of each cell; NaN where it was not measured.
        width: the width of the slide, in px of level 0.
        height: the height of the slide, in px of level 0.
        box_px: the edge of a box, in px of level 0.

    Returns:
        (⌈height / box_px⌉, ⌈width / box_px⌉) float32 in the unit of the values; NaN in a box without such a cell.
    """
    rows, columns = grid(width, height, box_px)
    counted = ~cells.outlier & np.isfinite(values)
    index = boxes(cells.centroids[counted], rows, columns, box_px)
    n_cells = np.bincount(index, minlength=rows * columns)
    sums = np.bincount(index, weights=values[counted], minlength=rows * columns)
    means = np.divide(sums, n_cells, out=np.full(rows * columns, np.nan), where=n_cells > 0)
    return np.asarray(means.reshape(rows, columns), np.float32)


def grid(width: int, height: int, box_px: int) -> tuple[int, int]:
    """Return how many rows and columns of boxes cover a slide; all sizes are in px of level 0."""
    return -(-height // box_px), -(-width // box_px)


def boxes(centroids: Float64Array, rows: int, columns: int, box_px: int) -> Int64Array:
    """Return (N,) int64, the number of the box in which each centroid lies, row by row.

    Args:
        centroids: (N, 2) float64 x, y in px of level 0, pixels named by their centres.
        rows: the number of rows of boxes.
        columns: the number of columns of boxes.
        box_px: the edge of a box, in px of level 0.
    """
    # A centroid names a pixel by its centre, and the edge of a box is the edge of a pixel.
    at = ((centroids + 0.5) / box_px).astype(np.int64).clip(0, [columns - 1, rows - 1])
    return np.asarray(at[:, 1] * columns + at[:, 0])


def mean_limits(means: Float32Array) -> tuple[float, float]:
    """Return the means that get the darkest and the brightest colour; one in a hundred boxes lies beyond each.

    Args:
        means: (h, w) float32, the result of `mean_map`.
    """
    filled = means[np.isfinite(means)]
    if not filled.size:
        return 0.0, 0.0
    low, high = np.percentile(filled, [100 - TOP_PERCENTILE, TOP_PERCENTILE])
    return float(low), float(high)


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
    """Write the maps as a TIFF of K pages: see `map_tif`.

    Args:
        maps: (K, h, w) float32, cells per mm².
        um_per_box: the edge of a box, µm.
    """
    return map_tif({f"cluster {k}: cells per mm2": one for k, one in enumerate(maps)}, um_per_box)


def map_tif(maps: Mapping[str, Float32Array], um_per_box: float) -> bytes:
    """Write maps as a TIFF of float32 pages, each with a description, and the scale in the resolution tags.

    Args:
        maps: for each description, in ASCII, an (h, w) float32.
        um_per_box: the edge of a box, µm.
    """
    buffer = io.BytesIO()
    per_cm = UM_PER_CM / um_per_box
    with tifffile.TiffWriter(buffer) as tif:
        for description, page in maps.items():
            tif.write(
                page,
                photometric="minisblack",
                compression="zlib",
                predictor=True,
                resolution=(per_cm, per_cm),
                resolutionunit="CENTIMETER",
                description=description,
                metadata=None,
                software=False,
            )
    return buffer.getvalue()


def density_png(density: Float32Array, overview: UInt8Array, top: float, px_per_box: float) -> bytes:
    """Draw the density of one cluster: see `map_png`.

    Args:
        density: (h, w) float32, cells per mm².
        overview: (H, W, 3) uint8 RGB of the whole slide.
        top: the density of the brightest colour, the same for all clusters of a slide so that they can be compared.
        px_per_box: the edge of a box, in px of the overview.
    """
    return map_png(np.where(density > 0, density, np.float32(np.nan)), overview, (0.0, top), px_per_box)


def map_png(values: Float32Array, overview: UInt8Array, limits: tuple[float, float], px_per_box: float) -> bytes:
    """Draw one map over the pale overview; boxes without a value show the overview alone.

    Args:
        values: (h, w) float32, NaN where there is none.
        overview: (H, W, 3) uint8 RGB of the whole slide.
        limits: the values of the darkest and of the brightest colour.
        px_per_box: the edge of a box, in px of the overview.

    Returns:
        A PNG of W x H px.
    """
    rows, columns = (
        np.minimum(((np.arange(size) + 0.5) / px_per_box).astype(int), boxes - 1)
        for size, boxes in zip(overview.shape[:2], values.shape, strict=True)
    )
    low, high = limits
    share = np.clip((values - low) / (high - low), 0, 1) if high > low else np.where(np.isnan(values), np.nan, 0.0)
    steps = np.nan_to_num(1 + np.rint(share * (COLORS - 1)), nan=0).astype(np.uint8)
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
