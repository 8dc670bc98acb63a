"""A slide in tiles: squares that lie side by side, each with a margin to see its border's nuclei whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from app.batch.read.slide import Window

TILE_PX = 1536
"""Edge of a tile's core at the analysed scale. Larger ones have less margin, and take a tenth longer all the same:
their buffers do not fit into a processor's cache."""
MARGIN_PX = 64
"""At the analysed scale: longer than a nucleus and what filters see. From 48 on nuclei are the same to the pixel."""
ONE_TILE_PX = (TILE_PX + 2 * MARGIN_PX) ** 2
"""Largest slide, at the analysed scale, that is one tile."""


def tile_edge(width: int, height: int, downsample: float) -> int:
    """Edge of a core in px of level 0, for a slide of this size; all of it where it fits into one tile.

    Args:
        width: of the slide, px of level 0.
        height: of the slide, px of level 0.
        downsample: level-0 px per px at which the bundle looks.
    """
    if width * height <= ONE_TILE_PX * downsample**2:
        return max(width, height)
    return max(1, round(TILE_PX * downsample))


def squares(width: int, height: int, edge: int) -> Iterator[Window]:
    """All of a slide in reading order; those at its right and lower border may be narrower."""
    for y in range(0, height, edge):
        for x in range(0, width, edge):
            yield Window(y, x, min(edge, width - x), min(edge, height - y))


def cores(width: int, height: int, edge: int, wanted: Callable[[Window], bool]) -> tuple[tuple[int, int], ...]:
    """x, y of the cores that are wanted, in reading order."""
    return tuple((core.x, core.y) for core in squares(width, height, edge) if wanted(core))


def core_of(x: int, y: int, width: int, height: int, edge: int) -> Window:
    """The core at x, y of a slide of this size."""
    return Window(y, x, min(edge, width - x), min(edge, height - y))
