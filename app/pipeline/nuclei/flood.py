"""The flood that divides touching nuclei: it starts at the peaks of depth, and floods meet at the saddles between them.

All steps work on the list of the objects' pixels, which is a tenth or so of a tile.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

from app.pipeline.types import Float32Array, Int32Array, Int64Array, UInt8Array

DEPTH_STEPS = 4096
"""Steps of depth per unit that are distinguished where a pixel seeks its deepest neighbour."""
MAX_CHECKS = 1
"""How many pixels may be compared for each pixel of a picture before a dilation of the whole picture is faster."""


@dataclass(frozen=True, slots=True)
class Relief:
    """P pixels of objects, with their depth and their neighbours.

    A neighbour is an index of the list of pixels; P stands for a pixel outside all objects.

    Attributes:
        picture: (H, W) float32 depth of all pixels, 0 outside the objects.
        places: (P,) int64 index of each pixel in the flattened picture, rising.
        depth: (P,) float32 depth of each pixel; what is below 0 counts as 0.
        right: (P,) int64 neighbour to the right.
        below: (P,) int64 neighbour in the row below.
        uphill: (P,) int64 the deepest of the four neighbours, or the pixel itself where none is deeper. Steps of depth
            below 1/4096 are not distinguished.
    """

    picture: Float32Array
    places: Int64Array
    depth: Float32Array
    right: Int64Array
    below: Int64Array
    uphill: Int64Array

    @classmethod
    def of(cls, mask: UInt8Array, picture: Float32Array) -> Relief:
        """List the pixels of a mask.

        Args:
            mask: (H, W) uint8, 0 or 1, 0 on the frame.
            picture: (H, W) float32 depth, 0 outside the mask.
        """
        width, places = mask.shape[1], np.flatnonzero(mask.view(bool))
        depth, n = np.maximum(picture.ravel()[places], 0), places.size
        indices, follows = np.arange(n), np.diff(places, prepend=-2, append=-2) == 1
        left, right = (np.where(follows[i : n + i], indices + 2 * i - 1, n) for i in (0, 1))
        index = np.full(mask.size, n, np.int32)
        index[places] = indices
        above, below = (index[places + step].astype(np.int64) for step in (-width, width))
        return cls(picture, places, depth, right, below, _uphill(depth, (below, right, left, above)))

    def painted(self, labels: Int32Array) -> Int32Array:
        """Return the (H, W) int32 picture of the (P,) labels, 0 outside the objects."""
        picture = np.zeros(self.picture.shape, np.int32)
        picture.ravel()[self.places] = labels
        return picture

    def contacts(self, labels: Int32Array) -> tuple[Int64Array, Int64Array, Float32Array]:
        """Find where pixels of different labels touch; the label 0 touches nothing.

        Args:
            labels: (P,) int32.

        Returns:
            (C,) pixels, their (C,) neighbours to the right or below, and the lower depth of the two, (C,) float32.
        """
        framed = np.append(labels, np.int32(0))
        found = [
            np.flatnonzero((labels != (other := framed[neighbour])) & (labels > 0) & (other > 0))
            for neighbour in (self.right, self.below)
        ]
        here = np.concatenate(found)
        there = np.concatenate([self.right[found[0]], self.below[found[1]]])
        return here, there, np.minimum(self.depth[here], self.depth[there])


def _uphill(depth: Float32Array, neighbours: tuple[Int64Array, ...]) -> Int64Array:
    """Return the deepest neighbour of each pixel, the first of equally deep ones, or itself where none is deeper."""
    steps = np.append((depth * DEPTH_STEPS).astype(np.int32), np.int32(-1))
    deepest, uphill = steps[:-1].copy(), np.arange(depth.size)
    for neighbour in neighbours:
        there = steps[neighbour]
        is_deeper = there > deepest
        np.copyto(deepest, there, where=is_deeper)
        np.copyto(uphill, neighbour, where=is_deeper)
    return uphill


def find_peaks(relief: Relief, min_depth: float, distance_px: int) -> Int64Array:
    """Find the pixels that are deeper than a least depth, and at least as deep as all pixels round them.

    Args:
        relief: P pixels.
        min_depth: peaks are deeper; at least 0.
        distance_px: radius of the disc within which no pixel is deeper than a peak, at least 1.

    Returns:
        (N,) int64 indices of the list of pixels, rising.
    """
    tops = np.flatnonzero((relief.depth > min_depth) & (relief.uphill == np.arange(relief.places.size)))
    near, at = disc(distance_px), relief.places[tops]
    if tops.size * np.count_nonzero(near) > MAX_CHECKS * relief.picture.size:
        deepest = cv2.dilate(relief.picture, near).ravel()[at]
    else:
        height, width = relief.picture.shape
        rows, columns = np.divmod(at[:, None], width)
        dy, dx = (np.argwhere(near) - distance_px).T
        # Instead of a pixel beyond the border, one on it is looked at, which is nearer.
        there = (rows + dy).clip(0, height - 1) * width + (columns + dx).clip(0, width - 1)
        deepest = relief.picture.ravel()[there].max(axis=1)
    return tops[relief.depth[tops] >= deepest]


def disc(radius: int) -> UInt8Array:
    """Return a round structuring element of a radius in px; OpenCV's ellipse changes when it is turned by 90°."""
    y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    return np.asarray(x**2 + y**2 <= (radius + 0.5) ** 2, dtype=np.uint8)


def flood(relief: Relief, peaks: Int64Array) -> Int32Array:
    """Divide objects that do not touch into the basins of given peaks.

    Args:
        relief: the P pixels of the objects.
        peaks: (N,) int64 indices of pixels, rising; those that touch, also by a corner, are one peak.

    Returns:
        (P,) int32, 1…M; 0 = an object without a peak.
    """
    n_peaks, numbers = _number_peaks(relief.places[peaks], relief.picture.shape[1])
    basin_of_top = np.zeros(relief.places.size, np.int32)
    basin_of_top[peaks] = numbers
    to = relief.uphill
    # Each round climbs as far as all rounds before it together, so a few are enough for the longest climb.
    while not np.array_equal(further := to[to], to):
        to = further
    # The basins of peaks have the peaks' numbers; those of lower tops come after them.
    lower = np.flatnonzero((to == np.arange(to.size)) & (basin_of_top == 0))
    basin_of_top[lower] = np.arange(n_peaks + 1, n_peaks + 1 + lower.size)
    basins = basin_of_top[to]
    return _peak_of_basins(relief, basins, n_peaks, n_peaks + lower.size)[basins]


def _number_peaks(places: Int64Array, width: int) -> tuple[int, Int32Array]:
    """Return how many peaks the pixels at these places are, and the number of each pixel's, 1…n."""
    rows, columns = [], []
    for step in (1, width - 1, width, width + 1):
        at = np.searchsorted(places, places + step).clip(max=max(0, places.size - 1))
        touching = np.flatnonzero(places[at] == places + step)
        rows.append(touching)
        columns.append(at[touching])
    n, component = components(np.concatenate(rows), np.concatenate(columns), places.size)
    return n, component + 1


def components(rows: Int32Array | Int64Array, columns: Int32Array | Int64Array, n: int) -> tuple[int, Int32Array]:
    """Return how many components a graph of n nodes has, and the component of each node."""
    graph = coo_array((np.ones(rows.size, np.uint8), (rows, columns)), shape=(n, n))
    number, component = connected_components(graph, directed=False)
    return int(number), np.asarray(component, dtype=np.int32)


def _peak_of_basins(relief: Relief, basins: Int32Array, n_peaks: int, n: int) -> Int32Array:
    """Return for each basin the peak whose flood reaches it first, over the highest saddles (Meyer 1994).

    These floods are a minimum spanning forest whose roots are the peaks.

    Args:
        relief: the pixels.
        basins: (P,) int32 basin of each; 1…n_peaks are those of the peaks.
        n_peaks: number of peaks.
        n: number of basins.

    Returns:
        (n + 1,) int32, 0 for a basin that no flood reaches, and for 0, which is no basin.
    """
    here, there, saddles = relief.contacts(basins)
    pairs = np.sort(np.column_stack([basins[here], basins[there]]), axis=1)
    order = np.argsort(-saddles, kind="stable")
    pair, first = np.unique((pairs @ [n + 1, 1])[order], return_index=True)
    peaks = np.arange(1, n_peaks + 1)
    # Node 0 is the source of every flood. All weights are below 0, since a weight of 0 would be no edge.
    rows = np.concatenate([pair // (n + 1), np.zeros_like(peaks)])
    columns = np.concatenate([pair % (n + 1), peaks])
    weights = np.concatenate([-saddles[order][first] - 1, np.full(peaks.size, -1e9)])
    forest = minimum_spanning_tree(coo_array((weights, (rows, columns)), shape=(n + 1, n + 1))).tocoo()
    inner = (forest.row > 0) & (forest.col > 0)
    number, component = components(forest.row[inner], forest.col[inner], n + 1)
    peak_of = np.zeros(number, np.int32)
    peak_of[component[peaks]] = peaks
    return np.asarray(peak_of[component])
