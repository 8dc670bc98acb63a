"""Read a window of a pyramid at any scale: from the level that fits best, and block by block where that is large."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from app.batch.read.slide import Window
from app.pipeline.geometry import resize
from app.pipeline.types import UInt8Array

BLOCK_PX = 4096
"""The edge of the square that is in memory at once while a large part of a level is shrunk: 16 Mpx, 48 MB."""
JITTER = 1.005
"""Levels of odd sizes are "4.0003 times" smaller than level 0; a level that is so near to the wanted scale is used."""


@dataclass(frozen=True, slots=True)
class Box:
    """A part of one level, in px of that level; x1 and y1 are exclusive."""

    x0: int
    y0: int
    x1: int
    y1: int


def best_level(widths: Sequence[float], downsample: float) -> int:
    """Return the number of the smallest level that still has the wanted resolution.

    Args:
        widths: the width of each level in px, the largest level first.
        downsample: the wanted scale, px of level 0 per px.
    """
    sufficient = [i for i, width in enumerate(widths) if widths[0] / width <= downsample * JITTER]
    return max(sufficient, default=0)


def read_window(
    sizes: Sequence[tuple[float, float]],
    window: Window,
    downsample: float,
    read: Callable[[int, Box], UInt8Array],
    in_strips: bool = False,
) -> UInt8Array:
    """Read the pixels of a window at the wanted scale.

    Windows that share an edge meet without a seam where the edge is a multiple of the level's downsample. Elsewhere
    they are off by at most half a px of the level.

    Args:
        sizes: the width and height in px of each level, level 0 first; those of smaller levels need not be whole.
        window: the part to read, in px of level 0.
        downsample: px of level 0 per px of the result, > 0.
        read: returns the pixels, (h, w, 3) uint8, of a box of a level.
        in_strips: whether the file stores its pixels in strips over the full width, so that blocks should be as wide.

    Returns:
        (H, W, 3) uint8. H and W are those of the window divided by `downsample`, rounded, and at least 1.
    """
    level = best_level([width for width, _ in sizes], downsample)
    x0, x1 = _on_level(window.x, window.width, sizes[0][0], sizes[level][0])
    y0, y1 = _on_level(window.y, window.height, sizes[0][1], sizes[level][1])
    width, height = (max(1, round(side / downsample)) for side in (window.width, window.height))
    pixels = (x1 - x0) * (y1 - y0)
    # When less than 2 x 2 px become one, the cuts between blocks, which are rounded to whole px, would be visible; and
    # blocks would save little memory.
    if pixels <= BLOCK_PX**2 or pixels < 4 * width * height:
        return resize(read(level, Box(x0, y0, x1, y1)), width, height)
    shrunk = np.empty((height, width, 3), np.uint8)
    wide = x1 - x0 if in_strips else BLOCK_PX
    for top, bottom, y, y_end in _blocks(height, y0, y1, BLOCK_PX**2 // wide):
        for left, right, x, x_end in _blocks(width, x0, x1, wide):
            block = read(level, Box(x, y, x_end, y_end))
            shrunk[top:bottom, left:right] = resize(block, right - left, bottom - top)
    return shrunk


def _on_level(start: int, length: int, full: float, level: float) -> tuple[int, int]:
    """Return begin and end on one axis of a level of `level` px where level 0 has `full` px; at least 1 px apart."""
    last = max(1, round(level))
    begin = min(round(start * level / full), last - 1)
    end = min(round((start + length) * level / full), last)
    return begin, max(end, begin + 1)


def _blocks(length: int, start: int, end: int, longest: int) -> list[tuple[int, int, int, int]]:
    """Divide `start`–`end` of a level, which becomes `length` px, into blocks of about `longest` px of the level.

    Returns:
        Begin and end of each block in the result, then its begin and end on the level.
    """
    n = min(length, -(-(end - start) // max(1, longest)))
    cuts = [round(length * i / n) for i in range(n + 1)]
    on_level = [start + round((end - start) * cut / length) for cut in cuts]
    return list(zip(cuts, cuts[1:], on_level, on_level[1:], strict=False))
