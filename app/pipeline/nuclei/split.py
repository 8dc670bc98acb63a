"""Touching nuclei: objects are split at their waists, all objects of a tile in one picture."""

from __future__ import annotations

import cv2
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

from app.pipeline.nuclei.objects import Objects
from app.pipeline.nuclei.run_lengths import RunLengths, ranges
from app.pipeline.presets import LevelParams
from app.pipeline.types import BoolArray, Float32Array, Int32Array, Int64Array, UInt8Array

DEPTH_SIGMA = 1.0
"""Sigma in px of the Gaussian that smooths the depth of an object before its peaks are sought."""
MOSAIC_PX = 2048
"""About how wide the picture is that objects are put into, px."""
DEPTH_STEPS = 4096
"""Steps of depth per px that are distinguished where a pixel seeks its deepest neighbour."""
NEIGHBOURS = ((-1, 0), (0, -1), (0, 1), (1, 0), (0, 0))
"""Offsets in rows and columns; the last one is the pixel itself."""
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
    is_peak = (depth > params.min_depth_px) & (depth >= cv2.dilate(depth, disc(params.peak_distance_px)))
    return flood(mask, np.asarray(depth, dtype=np.float32), is_peak)


def flood(mask: UInt8Array, depth: Float32Array, is_peak: BoolArray) -> Int32Array:
    """Divide objects that do not touch into the basins of given peaks.

    Args:
        mask: (H, W) uint8, 0 or 1, 0 on the frame.
        depth: (H, W) float32, at least 0; steps below 1/4096 are not distinguished.
        is_peak: (H, W) bool; connected pixels are one peak.

    Returns:
        (H, W) int32, 1…M; 0 = background, or an object without a peak.
    """
    n_peaks, peaks = cv2.connectedComponents(is_peak.astype(np.uint8))
    places = np.flatnonzero(mask.view(bool))
    number = np.zeros(mask.size, np.int32)
    number[places] = np.arange(places.size)
    to = number[_deepest_neighbours(depth, places)]
    # Each round climbs as far as all rounds before it together, so a few are enough for the longest climb.
    while not np.array_equal(further := to[to], to):
        to = further
    # The basins of peaks have the peaks' numbers; those of lower tops come after them.
    basin_of_top = peaks.ravel()[places]
    lower = np.flatnonzero((to == np.arange(to.size)) & (basin_of_top == 0))
    basin_of_top[lower] = np.arange(n_peaks, n_peaks + lower.size)
    of_top = np.zeros(mask.shape, np.int32)
    of_top.ravel()[places] = basin_of_top[to]
    labels = np.zeros(mask.shape, np.int32)
    labels.ravel()[places] = _peak_of_basins(of_top, depth, places, n_peaks, n_peaks + lower.size)[basin_of_top[to]]
    return labels


def _deepest_neighbours(depth: Float32Array, places: Int64Array) -> Int64Array:
    """Return the deepest neighbour of each pixel in `places`, or the pixel itself where none is deeper."""
    height, width = depth.shape
    # One number orders by depth first and then says which neighbour it is; the pixel itself wins among equal depths.
    key = (depth * DEPTH_STEPS).astype(np.int32) * len(NEIGHBOURS)
    best = key + len(NEIGHBOURS) - 1
    inner = best[1:-1, 1:-1]
    for i, (dy, dx) in enumerate(NEIGHBOURS[:-1]):
        np.maximum(inner, key[1 + dy : height - 1 + dy, 1 + dx : width - 1 + dx] + i, out=inner)
    steps = np.array([dy * width + dx for dy, dx in NEIGHBOURS])
    return np.asarray(places + steps[best.ravel()[places] % len(NEIGHBOURS)])


def _peak_of_basins(basins: Int32Array, depth: Float32Array, places: Int64Array, n_peaks: int, n: int) -> Int32Array:
    """Return for each basin the peak whose flood reaches it first, over the highest saddles (Meyer 1994).

    These floods are a minimum spanning forest whose roots are the peaks.

    Args:
        basins: (H, W) int32; 0 is the background, 1…n_peaks − 1 are the basins of peaks.
        depth: (H, W) float32.
        places: (P,) int64 places of the pixels in any basin.
        n_peaks: number of peaks, and the background.
        n: number of basins, and the background.

    Returns:
        (n,) int32, 0 for a basin that no flood reaches.
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
    # The background is the source of every flood. All weights are below 0, since a weight of 0 would be no edge.
    rows, columns = np.concatenate([pair // n, np.zeros_like(peaks)]), np.concatenate([pair % n, peaks])
    weights = np.concatenate([-np.concatenate(saddles)[order][first] - 1, np.full(peaks.size, -1e9)])
    forest = minimum_spanning_tree(coo_array((weights, (rows, columns)), shape=(n, n))).tocoo()
    inner = (forest.row > 0) & (forest.col > 0)
    linked = coo_array((forest.data[inner], (forest.row[inner], forest.col[inner])), shape=(n, n))
    _, component = connected_components(linked, directed=False)
    peak_of = np.zeros(component.max() + 1, np.int32)
    peak_of[component[peaks]] = peaks
    return np.asarray(peak_of[component])


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


def disc(radius: int) -> UInt8Array:
    """Return a round structuring element of a radius in px; OpenCV's ellipse changes when it is turned by 90°."""
    y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    return np.asarray(x**2 + y**2 <= (radius + 0.5) ** 2, dtype=np.uint8)
