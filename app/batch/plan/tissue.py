"""A slide's overview, and where on it there is tissue."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from app.batch.read.slide import Slide, Window
from app.pipeline.stain.optical_density import is_tissue
from app.pipeline.types import BoolArray, Int64Array, UInt8Array

CELL_PX = 32
"""Edge of one px of the overview, at the analysed scale: two nuclei."""
BLOCK = 64
"""Edge of what is read at once, in px of the overview."""
MIN_SPECK = 4
"""Px of the overview that tissue must have; dust has fewer."""


@dataclass(frozen=True, slots=True)
class Overview:
    """A slide, made small.

    Attributes:
        pixels: (h, w, 3) uint8 RGB.
        tissue: (h, w) bool.
        cell_px: edge of one of its px, in px of level 0; the slide's border cuts the last ones.
        width: of the slide, px of level 0.
        height: likewise.
    """

    pixels: UInt8Array
    tissue: BoolArray
    cell_px: int
    width: int
    height: int

    def edges(self) -> tuple[Int64Array, Int64Array]:
        """Where its columns and rows begin and end, px of level 0: (w + 1,) and (h + 1,) int64."""
        rows, columns = self.tissue.shape
        x, y = (np.arange(n + 1) * self.cell_px for n in (columns, rows))
        return x.clip(max=self.width), y.clip(max=self.height)

    def touches(self, window: Window) -> bool:
        """Whether there is tissue in a window of the slide, or right beside it: an outline is not sharp."""
        x0, y0 = (at // self.cell_px for at in (window.x, window.y))
        x1, y1 = (-(-at // self.cell_px) for at in (window.x + window.width, window.y + window.height))
        return bool(self.tissue[max(0, y0 - 1) : y1 + 1, max(0, x0 - 1) : x1 + 1].any())

    def share(self, window: Window) -> float:
        """Share of a window of the slide that is tissue, to the nearest px of the overview."""
        x0, y0 = (at // self.cell_px for at in (window.x, window.y))
        x1, y1 = (-(-at // self.cell_px) for at in (window.x + window.width, window.y + window.height))
        return float(self.tissue[y0:y1, x0:x1].mean())


def overview(slide: Slide, downsample: float, min_magnitude: float) -> Overview:
    """Look at all of a slide from afar, block by block: memory does not grow with the slide.

    Args:
        slide: to look at.
        downsample: level-0 px per px at which the bundle looks.
        min_magnitude: optical-density length up to which a px is background.

    Raises:
        SlideError: a part of the slide is damaged.
    """
    cell_px = max(1, round(CELL_PX * downsample))
    shape = (-(-slide.height // cell_px), -(-slide.width // cell_px))
    pixels = np.full((*shape, 3), 255, np.uint8)
    step = BLOCK * cell_px
    for y in range(0, slide.height, step):
        for x in range(0, slide.width, step):
            window = Window(y, x, min(step, slide.width - x), min(step, slide.height - y))
            block = slide.read(window, cell_px)
            rows, columns = (-(-side // cell_px) for side in (window.height, window.width))
            # What is left at the slide's border may be too narrow for a px of its own: it looks as what lies beside it.
            filled = np.pad(block, ((0, rows - block.shape[0]), (0, columns - block.shape[1]), (0, 0)), "edge")
            top, left = y // cell_px, x // cell_px
            pixels[top : top + rows, left : left + columns] = filled
    return Overview(pixels, without_specks(is_tissue(pixels, min_magnitude)), cell_px, slide.width, slide.height)


def without_specks(tissue: BoolArray) -> BoolArray:
    """Tissue without what is smaller than MIN_SPECK, unless there is nothing else.

    Args:
        tissue: (h, w) bool.
    """
    _, labels, facts, _ = cv2.connectedComponentsWithStats(tissue.astype(np.uint8), connectivity=8)
    large = facts[:, cv2.CC_STAT_AREA] >= MIN_SPECK
    large[0] = False
    kept = large[labels]
    return np.asarray(kept if kept.any() else tissue)
