"""An image by strips of rows: what one step over a strip leaves is still in the core's cache for the next."""

from __future__ import annotations

from collections.abc import Iterator

STRIP_PIXELS = 1 << 16
"""Of three float32 channels, about what a core's cache holds."""


def strips(shape: tuple[int, ...]) -> Iterator[slice]:
    """Rows of an image of this shape, (H, W, …), a few at a time, from top to bottom."""
    rows = max(1, STRIP_PIXELS // max(1, shape[1]))
    for start in range(0, shape[0], rows):
        yield slice(start, start + rows)
