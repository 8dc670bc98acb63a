"""Outlines of nuclei, by two conventions.

`contours` runs through the centres of a nucleus's outermost pixels: it is what people draw and what OpenCV fills, but a
single pixel has no area in it. `polygons` runs along the edges of those pixels, so that its area is that of the nucleus
and two neighbours meet without a gap: it is what GeoJSON and geometry libraries need.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from app.pipeline.types import Float64Array, Int32Array, Int64Array, Nuclei

Polygon = list[Float64Array]
"""Closed rings (V, 2) float64 of x, y, the first point once more at the end: the outer ring, then those of holes."""

SIDES = np.array([[0, -1], [1, 0], [0, 1], [-1, 0]])
"""Steps x, y from a pixel to its neighbour at the top, right, bottom and left.

Round a pixel, clockwise on the screen, one walks along each side in the direction of the step after it.
"""
LEFT, STRAIGHT, RIGHT = -1, 0, 1


def contours(nuclei: Nuclei) -> list[Int32Array]:
    """Return the outer outline of every nucleus, through the centres of its outermost pixels.

    Returns:
        One (V, 2) int32 array of pixels x, y per nucleus, V ≥ 1, clockwise on the screen, not closed.
    """
    outlines = []
    for i, (x0, y0, x1, y1) in enumerate(nuclei.bboxes, start=1):
        inside = (nuclei.label_image[y0:y1, x0:x1] == i).astype(np.uint8)
        found, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE, offset=(int(x0), int(y0)))
        # OpenCV goes round the other way.
        outlines.append(np.asarray(max(found, key=len), dtype=np.int32).reshape(-1, 2)[::-1])
    return outlines


def polygons(nuclei: Nuclei) -> list[Polygon]:
    """Return every nucleus as a polygon along the edges of its pixels, by marching squares (Lorensen and Cline 1987).

    A ring runs through the middles of the pixels' outer sides, so that even a single pixel has an area; only the
    corners of the pixels are cut off. Pixels that share only a corner are connected. The rings of one nucleus neither
    cross nor touch each other. Those of neighbours share edges, and cross only where both nuclei are connected by the
    same corner.

    A nucleus must be in one piece, as every segmented one is. If it is not, each piece has an outer ring, and all its
    rings together are no polygon.

    Returns:
        For each nucleus its rings, in px with the origin at the top left corner of the first pixel. Outer rings have a
        positive area by the shoelace formula, holes a negative one (RFC 7946 §3.1.6).
    """
    # A frame of background gives every pixel four neighbours.
    labels = np.pad(nuclei.label_image, 1)
    flat, steps = labels.ravel(), SIDES @ [1, labels.shape[1]]
    inside = np.flatnonzero(flat != 0)
    # An outer side is named by its pixel and which of its sides it is; along it the nucleus lies to the right.
    is_outer = np.array([flat[inside + step] != flat[inside] for step in steps])
    which, side = np.nonzero(is_outer.T)
    pixel = inside[which]
    turn, following = _next_sides(flat, steps, pixel, side)
    # The directions in which a side is left and reached, in eighths of a full turn.
    left = (2 * side + turn) % 8
    reached = np.empty_like(left)
    reached[following] = left
    is_corner = left != reached
    y, x = np.divmod(pixel, labels.shape[1])
    middles = np.column_stack([x, y]) - 0.5 + SIDES[side] / 2
    found: list[Polygon] = [[] for _ in range(len(nuclei))]
    # A nucleus's first side in reading order belongs to its outer ring.
    for ring in _cycles(following):
        corners = ring[is_corner[ring]]
        found[flat[pixel[ring[0]]] - 1].append(middles[np.append(corners, corners[0])])
    return found


def _next_sides(
    flat: np.ndarray, steps: Int64Array, pixel: Int64Array, side: Int64Array
) -> tuple[Int64Array, Int64Array]:
    """Return how the outline turns after each outer side, and the index of the side that follows it."""
    owner, ahead = flat[pixel], pixel + steps[(side + 1) % 4]
    across = ahead + steps[side]
    ways = [flat[across] == owner, flat[ahead] == owner]
    turn = np.select(ways, [LEFT, STRAIGHT], RIGHT)
    next_pixel = np.select(ways, [across, ahead], pixel)
    return turn, np.searchsorted(4 * pixel + side, 4 * next_pixel + (side + turn) % 4)


def _cycles(following: Int64Array) -> Iterator[Int64Array]:
    """Yield the cycles of a permutation, in the order of their lowest members."""
    successors, seen = following.tolist(), bytearray(following.size)
    for start in range(following.size):
        cycle, at = [], start
        while not seen[at]:
            seen[at] = True
            cycle.append(at)
            at = successors[at]
        if cycle:
            yield np.array(cycle)
