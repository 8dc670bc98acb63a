"""What is shown of a slide: all of it, where its cells lie, and some of them."""

from __future__ import annotations

import numpy as np

from app.batch.analyse.cells import SlideCells
from app.batch.plan.plan import Plan
from app.batch.plan.stain_sample import evenly
from app.batch.plan.tissue import Overview
from app.batch.read.slide import Slide, Window
from app.batch.space.density import box_px, density_png, density_top
from app.batch.write.overview_picture import overview_jpg
from app.batch.write.report import Pictures
from app.pipeline.types import Float32Array, UInt8Array

VIEW_PX = 800
"""Longer edge of the picture of a slide, at least, if it has as many."""
SHOWN_CELLS = 12
"""Of each cluster, in a report."""
SHOWN_PX = 48
"""Edge of what is shown of a cell, at the analysed scale: a nucleus and what lies round it."""


def slide_pictures(slide: Slide, plan: Plan, seen: Overview, cells: SlideCells, maps: Float32Array) -> Pictures:
    """The pictures of a slide's report.

    Args:
        slide: opened.
        plan: of the slide.
        seen: its overview.
        cells: of the slide.
        maps: (K, h, w) float32 of `density_maps`.

    Raises:
        SlideError: a part of the slide is damaged.
    """
    view, top = _view(slide, seen), density_top(maps)
    view_px = max(plan.width, plan.height) / max(view.shape)
    return Pictures(
        overview=overview_jpg(view, seen.tissue, plan.regions, view_px),
        density=[density_png(one, view, top, box_px(plan.um_per_px) / view_px) for one in maps],
        density_top=top,
        cells=[shown_cells(slide, plan, cells, k) for k in range(len(maps))],
    )


def _view(slide: Slide, seen: Overview) -> UInt8Array:
    """The overview, or a larger picture of the slide where that would be too small to see anything."""
    if max(seen.pixels.shape) >= VIEW_PX:
        return seen.pixels
    whole = Window(0, 0, slide.width, slide.height)
    return slide.read(whole, max(1.0, max(slide.width, slide.height) / VIEW_PX))


def shown_cells(slide: Slide, plan: Plan, cells: SlideCells, cluster: int) -> UInt8Array:
    """Some of a cluster's cells as they look in the slide, evenly chosen.

    Args:
        slide: opened.
        plan: of the slide.
        cells: of the slide.
        cluster: which.

    Returns:
        (n, 48, 48, 3) uint8, n ≤ 12; white beyond the slide.
    """
    of_cluster = np.flatnonzero((cells.clusters == cluster) & ~cells.outlier).tolist()
    pictures = [_round_cell(slide, plan, *cells.centroids[i].tolist()) for i in evenly(of_cluster, SHOWN_CELLS)]
    return np.array(pictures, np.uint8).reshape(-1, SHOWN_PX, SHOWN_PX, 3)


def _round_cell(slide: Slide, plan: Plan, x: float, y: float) -> UInt8Array:
    """(48, 48, 3) uint8 round a place of the slide."""
    edge = max(1, round(SHOWN_PX * plan.downsample))
    left, top = round(x - edge / 2), round(y - edge / 2)
    x0, y0 = max(0, left), max(0, top)
    seen = Window(y0, x0, min(plan.width, left + edge) - x0, min(plan.height, top + edge) - y0)
    pixels = slide.read(seen, plan.downsample)[:SHOWN_PX, :SHOWN_PX]
    height, width = pixels.shape[:2]
    row = min(round((y0 - top) / plan.downsample), SHOWN_PX - height)
    column = min(round((x0 - left) / plan.downsample), SHOWN_PX - width)
    picture = np.full((SHOWN_PX, SHOWN_PX, 3), 255, np.uint8)
    picture[row : row + height, column : column + width] = pixels
    return picture
