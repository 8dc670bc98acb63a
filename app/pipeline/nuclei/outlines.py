"""Nuclei → polygons round their pixels: marching squares (Lorensen and Cline 1987), all nuclei of a tile at once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from app.pipeline.types import Float64Array, Int64Array, Nuclei

Ring = Float64Array
"""(V, 2) float64 x, y, the first point once more at the end."""

SIDES = np.array([[0, -1], [1, 0], [0, 1], [-1, 0]])
"""From a pixel's centre to its neighbour, x, y: top, right, bottom, left. Along a side the next one shows the way."""
LEFT, STRAIGHT, RIGHT = -1, 0, 1


def rings(nuclei: Nuclei) -> list[list[Ring]]:
    """The outer ring of every nucleus, then those of its holes.

    Unlike `contours`, which run through the centres of the outermost pixels, they run through the middles of the
    pixels' outer sides, so that even a single pixel has an area: that of the nucleus, but for the corners that are cut.
    Pixels that share only a corner hang together. The rings of a nucleus neither cross nor touch each other; those of
    neighbours have pieces in common, and cross only where two nuclei both hang together by the same corner.

    A nucleus must be in one piece, as every segmented one is; of another, each piece has an outer ring, and all its
    rings together are no polygon.

    Returns:
        For each nucleus its rings, in px with the origin at the corner of the first pixel; outer rings have a positive
        area by the shoelace formula, holes a negative one (RFC 7946 §3.1.6).
    """
    # Background all round: every pixel has neighbours.
    labels = np.pad(nuclei.labels, 1)
    flat, steps = labels.ravel(), SIDES @ [1, labels.shape[1]]
    inside = np.flatnonzero(flat != 0)
    # An outer side is a pixel and which of its sides; along it the nucleus lies to the right.
    is_outer = np.array([flat[inside + step] != flat[inside] for step in steps])
    which, side = np.nonzero(is_outer.T)
    pixel = inside[which]
    turn, following = _ways(flat, steps, pixel, side)
    # Which way each is left and reached, in eighths of a full turn.
    left = (2 * side + turn) % 8
    reached = np.empty_like(left)
    reached[following] = left
    is_corner = left != reached
    y, x = np.divmod(pixel, labels.shape[1])
    middles = np.column_stack([x, y]) - 0.5 + SIDES[side] / 2
    found: list[list[Ring]] = [[] for _ in range(len(nuclei))]
    # A nucleus's first side in reading order is one of its outer ring.
    for ring in _cycles(following):
        corners = ring[is_corner[ring]]
        found[flat[pixel[ring[0]]] - 1].append(middles[np.append(corners, corners[0])])
    return found


def _ways(flat: np.ndarray, steps: Int64Array, pixel: Int64Array, side: Int64Array) -> tuple[Int64Array, Int64Array]:
    """Where each outer side turns, and which one it leads to."""
    owner, ahead = flat[pixel], pixel + steps[(side + 1) % 4]
    across = ahead + steps[side]
    ways = [flat[across] == owner, flat[ahead] == owner]
    turn = np.select(ways, [LEFT, STRAIGHT], RIGHT)
    next_pixel = np.select(ways, [across, ahead], pixel)
    return turn, np.searchsorted(4 * pixel + side, 4 * next_pixel + (side + turn) % 4)


def _cycles(following: Int64Array) -> Iterator[Int64Array]:
    """The cycles of a permutation, by their lowest members."""
    successors, seen = following.tolist(), bytearray(following.size)
    for start in range(following.size):
        cycle, at = [], start
        while not seen[at]:
            seen[at] = True
            cycle.append(at)
            at = successors[at]
        if cycle:
            yield np.array(cycle)
