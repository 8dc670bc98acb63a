"""A window of a pyramid at any scale: from the level that suits, in blocks where that is large."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from app.batch.read.slide import Window
from app.pipeline.types import UInt8Array

BLOCK_PX = 4096
"""Edge of the square that is held at once while a large part of a level is shrunk: 16 Mpx, 48 MB."""
JITTER = 1.005
"""Levels of odd sizes are "4.0003 times" smaller; one that is so near is taken."""


@dataclass(frozen=True, slots=True)
class Box:
    """A part of one level, in px of that level; the ends are exclusive."""

    x0: int
    y0: int
    x1: int
    y1: int


def best_level(widths: Sequence[int], downsample: float) -> int:
    """The smallest level that is not smaller than what is wanted.

    Args:
        widths: of the levels in px, the largest first.
        downsample: wanted, level-0 px per px.
    """
    fit = [i for i, width in enumerate(widths) if widths[0] / width <= downsample * JITTER]
    return max(fit, default=0)


def read_window(
    sizes: Sequence[tuple[int, int]],
    window: Window,
    downsample: float,
    read: Callable[[int, Box], UInt8Array],
    in_strips: bool = False,
) -> UInt8Array:
    """The pixels of a window at the wanted scale.

    Windows that meet at a multiple of the level's downsample meet without a seam; others are off by at most half a
    px of the level.

    Args:
        sizes: width and height in px of each level, level 0 first.
        window: in px of level 0.
        downsample: level-0 px per px of the result, > 0.
        read: gives the (h, w, 3) uint8 pixels of a box of a level.
        in_strips: the file has its pixels in strips from edge to edge, so that what is held at once is one as well.

    Returns:
        (H, W, 3) uint8, H and W the window's over `downsample`, rounded, at least 1.
    """
    level = best_level([width for width, _ in sizes], downsample)
    x0, x1 = _along(window.x, window.width, sizes[0][0], sizes[level][0])
    y0, y1 = _along(window.y, window.height, sizes[0][1], sizes[level][1])
    width, height = (max(1, round(side / downsample)) for side in (window.width, window.height))
    pixels = (x1 - x0) * (y1 - y0)
    # Below 2 x 2 px per px the cut between blocks, rounded to whole px, would show; and little would be saved.
    if pixels <= BLOCK_PX**2 or pixels < 4 * width * height:
        return resized(read(level, Box(x0, y0, x1, y1)), width, height)
    shrunk = np.empty((height, width, 3), np.uint8)
    wide = x1 - x0 if in_strips else BLOCK_PX
    for top, bottom, y, y_end in _blocks(height, y0, y1, BLOCK_PX**2 // wide):
        for left, right, x, x_end in _blocks(width, x0, x1, wide):
            block = read(level, Box(x, y, x_end, y_end))
            shrunk[top:bottom, left:right] = resized(block, right - left, bottom - top)
    return shrunk


def resized(pixels: UInt8Array, width: int, height: int) -> UInt8Array:
    """(height, width, 3) uint8: averaged when shrunk, cubic when enlarged, untouched when neither, as tiles are."""
    if pixels.shape[:2] == (height, width):
        return pixels
    # Area averaging does not alias when shrinking; cubic keeps edges when enlarging.
    is_shrunk = height <= pixels.shape[0] and width <= pixels.shape[1]
    method = cv2.INTER_AREA if is_shrunk else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=method), dtype=np.uint8)


def _along(start: int, length: int, full: int, level: int) -> tuple[int, int]:
    """Begin and end on one axis of a level that is `level` px long where level 0 is `full`; at least 1 px apart."""
    begin = min(round(start * level / full), level - 1)
    end = min(round((start + length) * level / full), level)
    return begin, max(end, begin + 1)


def _blocks(length: int, start: int, end: int, longest: int) -> list[tuple[int, int, int, int]]:
    """Begin and end of each block in the result, and in the level, where none is much longer than `longest` px."""
    n = min(length, -(-(end - start) // max(1, longest)))
    cuts = [round(length * i / n) for i in range(n + 1)]
    places = [start + round((end - start) * cut / length) for cut in cuts]
    return list(zip(cuts, cuts[1:], places, places[1:], strict=False))
