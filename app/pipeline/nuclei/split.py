"""Objects cut at their waists, all those of a tile in one picture."""

from __future__ import annotations

import cv2
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

from app.pipeline.nuclei.objects import Outlined
from app.pipeline.nuclei.runs import Runs, ranges
from app.pipeline.presets import LevelParams
from app.pipeline.types import Float32Array, Int32Array, Int64Array, UInt8Array

DEPTH_SIGMA = 1.0
"""px; smooths the depth of an object before its peaks are sought."""
MOSAIC_PX = 2048
"""Width, about, of the picture that objects are put into."""
DEPTHS = 4096
"""Steps of depth, to the px, that are told apart where a pixel seeks its highest neighbour."""
NEIGHBOURS = ((-1, 0), (0, -1), (0, 1), (1, 0), (0, 0))
"""Rows and columns; a pixel itself is the last."""
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
    # OpenCV's morphology knows no 32-bit integers.
    as_float = labels.astype(np.float32)
    borders = cv2.erode(as_float, CROSS) != cv2.dilate(as_float, CROSS)
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
    """Basins round the peaks of depth in a picture of objects that do not touch, as a flood from the peaks fills them.

    Args:
        mask: (H, W) uint8, 0 or 1, 0 on the frame.
        params: distance of peaks.

    Returns:
        (H, W) int32, 1…M; 0 = background, or an object without a peak.
    """
    depth = cv2.GaussianBlur(cv2.distanceTransform(mask, cv2.DIST_L2, 5), (0, 0), DEPTH_SIGMA) * mask
    peak = (depth > params.min_depth_px) & (depth >= cv2.dilate(depth, disc(params.peak_distance_px)))
    n_peaks, peaks = cv2.connectedComponents(peak.astype(np.uint8))
    places = np.flatnonzero(mask.view(bool))
    number = np.zeros(mask.size, np.int32)
    number[places] = np.arange(places.size)
    to = number[_highest_neighbours(depth, places)]
    # Each round goes as far as all before it: a few are enough for the longest climb.
    while not np.array_equal(further := to[to], to):
        to = further
    # Basins of the peaks bear their numbers; those of lower tops come after them.
    basin_of_top = peaks.ravel()[places]
    lower = np.flatnonzero((to == np.arange(to.size)) & (basin_of_top == 0))
    basin_of_top[lower] = np.arange(n_peaks, n_peaks + lower.size)
    basins = np.zeros(mask.shape, np.int32)
    basins.ravel()[places] = basin_of_top[to]
    labels = np.zeros(mask.shape, np.int32)
    labels.ravel()[places] = _peak_of_basins(basins, depth, places, n_peaks, n_peaks + lower.size)[basin_of_top[to]]
    return labels


def _highest_neighbours(depth: Float32Array, places: Int64Array) -> Int64Array:
    """The highest neighbour of each of `places`, or itself where none is higher."""
    height, width = depth.shape
    # One number that orders by depth and then names the neighbour; of equal depths a pixel's own is taken.
    key = (depth * DEPTHS).astype(np.int32) * len(NEIGHBOURS)
    best = key + len(NEIGHBOURS) - 1
    inner = best[1:-1, 1:-1]
    for i, (dy, dx) in enumerate(NEIGHBOURS[:-1]):
        np.maximum(inner, key[1 + dy : height - 1 + dy, 1 + dx : width - 1 + dx] + i, out=inner)
    steps = np.array([dy * width + dx for dy, dx in NEIGHBOURS])
    return np.asarray(places + steps[best.ravel()[places] % len(NEIGHBOURS)])


def _peak_of_basins(basins: Int32Array, depth: Float32Array, places: Int64Array, n_peaks: int, n: int) -> Int32Array:
    """(n,) int32, the peak whose flood comes first into each basin: over the highest saddles (Meyer 1994).

    That is a minimum spanning forest rooted in the peaks; basins 1…n_peaks - 1 are theirs, 0 is the background.
    """
    flat, height = basins.ravel(), depth.ravel()
    here = flat[places]
    pairs, saddles = [], []
    for step in (1, basins.shape[1]):
        there = flat[places + step]
        met = places[(here != there) & (there > 0)]
        pairs.append(np.sort(np.column_stack([flat[met], flat[met + step]]), axis=1))
        saddles.append(np.minimum(height[met], height[met + step]))
    order = np.argsort(-np.concatenate(saddles), kind="stable")
    pair, first = np.unique((np.concatenate(pairs) @ [n, 1])[order], return_index=True)
    peaks = np.arange(1, n_peaks)
    # The background stands for the source of the flood; a weight of 0 would be no edge.
    rows, columns = np.concatenate([pair // n, np.zeros_like(peaks)]), np.concatenate([pair % n, peaks])
    weights = np.concatenate([-np.concatenate(saddles)[order][first] - 1, np.full(peaks.size, -1e9)])
    forest = minimum_spanning_tree(coo_array((weights, (rows, columns)), shape=(n, n))).tocoo()
    inner = (forest.row > 0) & (forest.col > 0)
    linked = coo_array((forest.data[inner], (forest.row[inner], forest.col[inner])), shape=(n, n))
    _, component = connected_components(linked, directed=False)
    peak_of = np.zeros(component.max() + 1, np.int32)
    peak_of[component[peaks]] = peaks
    return np.asarray(peak_of[component])


def _mosaic(objects: Outlined, width: int, params: LevelParams) -> tuple[UInt8Array, Int64Array]:
    """A picture with every object in a place of its own, and the place of each of their pixels in it, run by run."""
    rows, columns = np.divmod(objects.runs.starts, width)
    first = np.flatnonzero(np.diff(objects.owners, prepend=-1))
    top, left = rows[first], np.minimum.reduceat(columns, first)
    bottom = np.maximum.reduceat(rows, first) + 1
    right = np.maximum.reduceat(columns + objects.runs.lengths, first)
    # As far as one object's depth is smoothed into another's place, or peaks are sought.
    gap = max(params.peak_distance_px, int(np.ceil(4 * DEPTH_SIGMA)))
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
