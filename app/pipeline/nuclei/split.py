"""Touching nuclei: objects are split at their waists, all objects of a tile in one picture."""

from __future__ import annotations

import cv2
import numpy as np

from app.pipeline.nuclei.flood import Relief, find_peaks, flood
from app.pipeline.nuclei.objects import Objects
from app.pipeline.nuclei.run_lengths import RunLengths, ranges
from app.pipeline.presets import LevelParams
from app.pipeline.types import Int32Array, Int64Array, UInt8Array

DEPTH_SIGMA = 1.0
"""Sigma in px of the Gaussian that smooths the depth of an object before its peaks are sought."""
MOSAIC_PX = 2048
"""About how wide the picture is that objects are put into, px."""
CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)


def split_at_waists(objects: Objects, width: int, params: LevelParams) -> tuple[Objects, Int64Array]:
    """Split objects between the peaks of their depth, which is the distance of a pixel from the object's edge.

    Args:
        objects: N objects of a tile.
        width: width of the tile, px.
        params: least depth and distance of peaks.

    Returns:
        M pieces, and the (M,) int64 object that each belongs to. An object with one peak has one piece, which is all
        of it; an object without a peak has none.
    """
    if len(objects) == 0:
        return objects, np.zeros(0, np.int64)
    mosaic, places = _mosaic(objects, width, params)
    labels = basins(mosaic, params)
    # OpenCV's morphology does not work on 32-bit integers.
    as_float = labels.astype(np.float32)
    is_border = cv2.erode(as_float, CROSS) != cv2.dilate(as_float, CROSS)
    # From here on pixels are those of the objects, run by run, with their places in the tile.
    labels, is_border = labels.ravel()[places], is_border.ravel()[places] & (labels.ravel()[places] > 0)
    in_tile = objects.rle.places()
    pieces = _runs_of_pieces(labels, in_tile, objects.rle)
    owners = labels[pieces.starts].astype(np.int64) - 1
    parents = np.zeros(labels.max(initial=0), np.int64)
    parents[owners] = np.repeat(objects.owners, objects.rle.lengths)[pieces.starts]
    split = Objects(
        rle=RunLengths(in_tile[pieces.starts], in_tile[pieces.starts] + pieces.lengths),
        owners=owners,
        border=in_tile[is_border],
        border_owners=labels[is_border].astype(np.int64) - 1,
        holes=objects.holes[parents],
    )
    return split, parents


def _runs_of_pieces(labels: Int32Array, in_tile: Int64Array, rle: RunLengths) -> RunLengths:
    """Return the runs of pieces, piece by piece, as ranges of the list of all objects' pixels.

    Args:
        labels: (P,) int32 piece of each pixel, 0 = none.
        in_tile: (P,) int64 its place in the tile.
        rle: runs of the objects, which follow one another in the list.
    """
    begins = np.zeros(labels.size, bool)
    begins[np.cumsum(rle.lengths) - rle.lengths] = True
    begins[1:] |= labels[1:] != labels[:-1]
    starts = np.flatnonzero(begins)
    runs = RunLengths(starts, np.append(starts[1:], labels.size))
    runs = runs[labels[runs.starts] > 0]
    return runs[np.argsort(labels[runs.starts], kind="stable")]


def basins(mask: UInt8Array, params: LevelParams) -> Int32Array:
    """Divide objects that do not touch into the basins of their peaks, as a flood that starts at the peaks would.

    Args:
        mask: (H, W) uint8, 0 or 1, 0 on the frame.
        params: least depth and distance of peaks.

    Returns:
        (H, W) int32, 1…M; 0 = background, or an object without a peak.
    """
    depth = cv2.GaussianBlur(cv2.distanceTransform(mask, cv2.DIST_L2, 5), (0, 0), DEPTH_SIGMA) * mask
    relief = Relief.of(mask, np.asarray(depth, dtype=np.float32))
    return relief.painted(flood(relief, find_peaks(relief, params.min_depth_px, params.peak_distance_px)))


def _mosaic(objects: Objects, width: int, params: LevelParams) -> tuple[UInt8Array, Int64Array]:
    """Draw a picture with every object in a place of its own.

    Returns:
        The (H, W) uint8 picture, and the (P,) int64 place in it of each pixel of the objects, run by run.
    """
    rows, columns = np.divmod(objects.rle.starts, width)
    first = np.flatnonzero(np.diff(objects.owners, prepend=-1))
    top, left = rows[first], np.minimum.reduceat(columns, first)
    bottom = np.maximum.reduceat(rows, first) + 1
    right = np.maximum.reduceat(columns + objects.rle.lengths, first)
    # Neither smoothing nor the search for peaks may reach from one object to the next.
    gap = max(params.peak_distance_px, int(np.ceil(4 * DEPTH_SIGMA)))
    # Objects stand on shelves, the tallest first, so that those on one shelf have about the same height.
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
    places = ranges(starts, starts + objects.rle.lengths)
    mosaic = np.zeros(shape, np.uint8)
    mosaic.ravel()[places] = 1
    return mosaic, places
