"""The overview of a slide, the tissue that is visible on it, and the area of that tissue."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import shapely

from app.batch.plan.plan import Region
from app.batch.plan.regions import union
from app.batch.read.slide import Slide, Window
from app.files import write_whole
from app.pipeline.stain.optical_density import is_tissue
from app.pipeline.types import BoolArray, Int64Array, UInt8Array

OVERVIEW_PX = 32
"""The edge of one px of the overview at the analysed scale: as long as two nuclei."""
BLOCK = 64
"""The edge of the part of a slide that is read at once, in px of the overview."""
MIN_SPECK = 4
"""The smallest number of connected px of the overview that is tissue; dust covers fewer."""


@dataclass(frozen=True, slots=True)
class Overview:
    """A slide at low resolution.

    Attributes:
        pixels: (h, w, 3) uint8 RGB.
        tissue: (h, w) bool, which px show tissue.
        px: the edge of one of its px, in px of level 0; the last ones reach beyond the border of the slide.
        width: the width of the slide, in px of level 0.
        height: the height of the slide, in px of level 0.
    """

    pixels: UInt8Array
    tissue: BoolArray
    px: int
    width: int
    height: int

    def edges(self) -> tuple[Int64Array, Int64Array]:
        """Return where its columns and rows begin and end, in px of level 0: (w + 1,) and (h + 1,) int64."""
        rows, columns = self.tissue.shape
        x, y = (np.arange(n + 1) * self.px for n in (columns, rows))
        return x.clip(max=self.width), y.clip(max=self.height)

    def touches(self, window: Window) -> bool:
        """Whether a window of the slide has tissue in it or right beside it: the outline of tissue is not sharp."""
        x0, y0 = (at // self.px for at in (window.x, window.y))
        x1, y1 = (-(-at // self.px) for at in (window.x + window.width, window.y + window.height))
        return bool(self.tissue[max(0, y0 - 1) : y1 + 1, max(0, x0 - 1) : x1 + 1].any())

    def share(self, window: Window) -> float:
        """Return the share of a window of the slide that is tissue, 0–1, to the nearest px of the overview."""
        x0, y0 = (at // self.px for at in (window.x, window.y))
        x1, y1 = (-(-at // self.px) for at in (window.x + window.width, window.y + window.height))
        return float(self.tissue[y0:y1, x0:x1].mean())


def overview_of(slide: Slide, downsample: float, min_magnitude: float) -> Overview:
    """Read a slide at low resolution and find its tissue. It is read in blocks, so memory does not grow with the slide.

    Args:
        slide: an open slide.
        downsample: px of level 0 per px of the scale at which the bundle analyses.
        min_magnitude: the length of the optical-density vector up to which a px is background.

    Raises:
        SlideError: a part of the slide is damaged.
    """
    px = max(1, round(OVERVIEW_PX * downsample))
    shape = (-(-slide.height // px), -(-slide.width // px))
    pixels = np.full((*shape, 3), 255, np.uint8)
    step = BLOCK * px
    for y in range(0, slide.height, step):
        for x in range(0, slide.width, step):
            window = Window(y, x, min(step, slide.width - x), min(step, slide.height - y))
            block = slide.read(window, px)
            rows, columns = (-(-side // px) for side in (window.height, window.width))
            # The rest at the border of the slide may be too narrow for a px; its px then repeats the one beside it.
            filled = np.pad(block, ((0, rows - block.shape[0]), (0, columns - block.shape[1]), (0, 0)), "edge")
            top, left = y // px, x // px
            pixels[top : top + rows, left : left + columns] = filled
    return Overview(pixels, without_specks(is_tissue(pixels, min_magnitude)), px, slide.width, slide.height)


def without_specks(tissue: BoolArray) -> BoolArray:
    """Return the tissue without pieces smaller than MIN_SPECK, unless there are only such pieces.

    Args:
        tissue: (h, w) bool.
    """
    _, pieces, stats, _ = cv2.connectedComponentsWithStats(tissue.astype(np.uint8), connectivity=8)
    is_large = stats[:, cv2.CC_STAT_AREA] >= MIN_SPECK
    is_large[0] = False
    kept = is_large[pieces]
    return np.asarray(kept if kept.any() else tissue)


def tissue_mm2(overview: Overview, um_per_px: float, regions: tuple[Region, ...]) -> float:
    """Return the area of the tissue of a slide or of its regions, in mm².

    Args:
        overview: the overview of the slide.
        um_per_px: µm per px of level 0.
        regions: the regions; empty for the whole slide. An area in several regions counts once.
    """
    px_mm2 = (um_per_px / 1000) ** 2
    x, y = overview.edges()
    rows, columns = np.nonzero(overview.tissue)
    areas_px = np.diff(x)[columns] * np.diff(y)[rows]
    if not regions:
        return float(areas_px.sum() * px_mm2)
    area = union(regions)
    centres_x, centres_y = ((at[1:] + at[:-1]) / 2 for at in (x, y))
    inside = shapely.contains_xy(area, centres_x[columns], centres_y[rows])
    # A region that is small compared with a px of the overview has no more tissue than its own area.
    return float(min(areas_px[inside].sum(), area.area) or _area_on_tissue(area, overview)) * px_mm2


def _area_on_tissue(area: shapely.Geometry, overview: Overview) -> float:
    """Return the tissue of a region that contains no centre of a px with tissue: all of it on such a px, else 0."""
    x, y = (int(at // overview.px) for at in (area.representative_point().x, area.representative_point().y))
    height, width = overview.tissue.shape
    return float(area.area) if overview.tissue[min(y, height - 1), min(x, width - 1)] else 0.0


def write_overview(overview: Overview, path: Path) -> None:
    """Write an overview as a NumPy archive.

    Raises:
        OSError: the file cannot be written.
    """
    buffer = io.BytesIO()
    facts = [overview.px, overview.width, overview.height]
    np.savez_compressed(buffer, pixels=overview.pixels, tissue=overview.tissue, facts=facts)
    write_whole(buffer.getvalue(), path)


def read_overview(path: Path) -> Overview:
    """Read what `write_overview` wrote.

    Raises:
        OSError: the file does not exist or cannot be read.
        ValueError, BadZipFile: the file is damaged, as a power cut may leave it.
    """
    with np.load(path, allow_pickle=False) as arrays:
        return Overview(arrays["pixels"], arrays["tissue"], *arrays["facts"].tolist())
