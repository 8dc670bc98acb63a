"""The tiles of a slide: squares side by side (the cores), each with a margin in which nuclei at its edge are whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from app.batch.read.slide import Window
from app.pipeline.nuclei.network import REACH_PX
from app.pipeline.presets import NetworkParams, SegmentationParams

TILE_PX = 1536
"""The edge of a core at the analysed scale, a multiple of a network's grid. Larger tiles have less margin and still
take a tenth longer, because their buffers do not fit into the cache of a processor."""
MARGIN_PX = 64
"""The margin at the analysed scale: longer than a nucleus and than the reach of the filters. From 48 px on nuclei are
the same to the pixel. Where a network finds them, its reach is added: see `margin`."""
ONE_TILE_PX = (TILE_PX + 2 * MARGIN_PX) ** 2
"""The largest slide that is analysed as one tile, in px² at the analysed scale."""


def margin(segmentation: SegmentationParams) -> int:
    """Return the margin at the analysed scale, px; with it, a tile begins on the network's grid, as the slide does."""
    return MARGIN_PX + (REACH_PX * segmentation.reduction if isinstance(segmentation, NetworkParams) else 0)


def tile_edge(width: int, height: int, downsample: float) -> int:
    """Return the edge of a core for a slide of this size, in px of level 0; a small slide is one core.

    Args:
        width: the width of the slide, in px of level 0.
        height: the height of the slide, in px of level 0.
        downsample: px of level 0 per px of the scale at which the bundle analyses.
    """
    if width * height <= ONE_TILE_PX * downsample**2:
        return max(width, height)
    return max(1, round(TILE_PX * downsample))


def squares(width: int, height: int, edge: int) -> Iterator[Window]:
    """Divide a slide into squares, in reading order; those at its right and lower border may be smaller."""
    for y in range(0, height, edge):
        for x in range(0, width, edge):
            yield Window(y, x, min(edge, width - x), min(edge, height - y))


def cores(width: int, height: int, edge: int, is_wanted: Callable[[Window], bool]) -> tuple[tuple[int, int], ...]:
    """Return x, y of the cores that are wanted, in reading order."""
    return tuple((core.x, core.y) for core in squares(width, height, edge) if is_wanted(core))


def core_of(x: int, y: int, width: int, height: int, edge: int) -> Window:
    """Return the core at x, y of a slide of this size."""
    return Window(y, x, min(edge, width - x), min(edge, height - y))
