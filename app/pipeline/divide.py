"""Objects cut at their waists, all those of a tile in one picture."""

from __future__ import annotations

import cv2
import numpy as np
from skimage.segmentation import watershed

from app.pipeline.objects import Outlined
from app.pipeline.presets import LevelParams
from app.pipeline.runs import Runs, ranges
from app.pipeline.types import Int32Array, Int64Array, UInt8Array

DEPTH_SIGMA = 1.0
"""px; smooths the depth of an object before its peaks are sought."""
MOSAIC_PX = 2048
"""Width, about, of the picture that objects are put into."""
CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)


def divide(objects: Outlined, width: int, params: LevelParams) -> tuple[Outlined, Int64Array]:
    """Cut objects at their waists, between peaks of their depth.

    Args:
        objects: N of a tile.
        width: of the tile, px.
        params: distance of peaks.

    Returns:
        The parts, and the (M,) int64 object that each is of. An object that has one peak has one part: itself.
    """
    if len(objects) == 0:
        return objects, np.zeros(0, np.int64)
    mosaic, places = _mosaic(objects, width, params)
    labels = parts_of(mosaic, params)
    borders = cv2.erode(labels.astype(np.float32), CROSS) != cv2.dilate(labels.astype(np.float32), CROSS)
    # From here on pixels are those of the objects, run by run, with their places in the tile.
    labels, borders = labels.ravel()[places], borders.ravel()[places]
    in_tile = objects.runs.places()
    of_object = np.repeat(objects.owners, objects.runs.lengths)
    first = np.zeros(labels.size, bool)
    first[np.cumsum(objects.runs.lengths) - objects.runs.lengths] = True
    first[1:] |= labels[1:] != labels[:-1]
    first = np.flatnonzero(first)
    lengths = np.diff(first, append=labels.size)
    kept = labels[first] > 0
    first, lengths = first[kept], lengths[kept]
    first, lengths = (values[np.argsort(labels[first], kind="stable")] for values in (first, lengths))
    parents = np.zeros(labels.max(initial=0), np.int64)
    parents[labels[first] - 1] = of_object[first]
    borders &= labels > 0
    parts = Outlined(
        runs=Runs(in_tile[first], in_tile[first] + lengths),
        owners=labels[first].astype(np.int64) - 1,
        border=in_tile[borders],
        border_owners=labels[borders].astype(np.int64) - 1,
        holes=objects.holes[parents],
    )
    return parts, parents


def parts_of(mask: UInt8Array, params: LevelParams) -> Int32Array:
    """Basins round the peaks of depth in a picture of objects that do not touch.

    Args:
        mask: (H, W) uint8, 0 or 1.
        params: distance of peaks.

    Returns:
        (H, W) int32, 0 = background or an object without a peak, 1…M.
    """
    depth = cv2.GaussianBlur(cv2.distanceTransform(mask, cv2.DIST_L2, 5), (0, 0), DEPTH_SIGMA) * mask
    peak = (depth > params.min_depth_px) & (depth >= cv2.dilate(depth, disc(params.peak_distance_px)))
    _, markers = cv2.connectedComponents(peak.astype(np.uint8))
    return np.asarray(watershed(-depth, markers, mask=mask > 0), dtype=np.int32)


def _mosaic(objects: Outlined, width: int, params: LevelParams) -> tuple[UInt8Array, Int64Array]:
    """A picture with every object in a place of its own, and the place of each of their pixels in it, run by run."""
    rows, columns = np.divmod(objects.runs.starts, width)
    first = np.flatnonzero(np.diff(objects.owners, prepend=-1))
    top, left = rows[first], np.minimum.reduceat(columns, first)
    bottom = np.maximum.reduceat(rows, first) + 1
    right = np.maximum.reduceat(columns + objects.runs.lengths, first)
    # As far as one object's depth is smoothed into another's place, or peaks are sought.
    gap = max(params.peak_distance_px, int(np.ceil(4 * DEPTH_SIGMA))) + 1
    # On shelves: the tallest first, so that those on a shelf are of about one height.
    order = np.argsort(top - bottom, kind="stable")
    widths = (right - left + gap)[order]
    before = np.cumsum(widths) - widths
    shelf = before // MOSAIC_PX
    heights = np.maximum.reduceat((bottom - top + gap)[order], np.flatnonzero(np.diff(shelf, prepend=-1)))
    x, y = np.empty_like(top), np.empty_like(top)
    x[order] = before % MOSAIC_PX + gap
    y[order] = (gap + np.cumsum(heights) - heights)[shelf]
    shape = (gap + int(heights.sum()), int((x + right - left).max()) + gap)
    starts = (rows + (y - top)[objects.owners]) * shape[1] + columns + (x - left)[objects.owners]
    places = ranges(starts, starts + objects.runs.lengths)
    mosaic = np.zeros(shape, np.uint8)
    mosaic.ravel()[places] = 1
    return mosaic, places


def disc(radius: int) -> UInt8Array:
    """Structuring element of a radius in px; OpenCV's own ellipse is not the same on its side."""
    y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    return np.asarray(x**2 + y**2 <= (radius + 0.5) ** 2, dtype=np.uint8)
