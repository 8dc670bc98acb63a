"""A slide's stain and quality, measured once on a sample of its tissue; of a small slide, on all of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TypeVar

import numpy as np

from app.batch.plan.grid import ONE_TILE_PX, squares
from app.batch.plan.tissue import Overview
from app.batch.read.slide import Slide, Window
from app.pipeline.manifest import Manifest
from app.pipeline.quality.assess import Quality, assess
from app.pipeline.stain.slide import APRON_PX, Piece, estimate_stain
from app.pipeline.stain.unmix import unmix
from app.pipeline.types import StainEstimate, Tile, UInt8Array

T = TypeVar("T")

PIECE_PX = 512
"""Edge of a piece at the analysed scale."""
PIECES = 80
"""At most: 21 megapixels. A slide of fewer is measured whole."""
QUALITY_PIECES = 16
"""At most, that quality is judged on: 4 megapixels."""
MIN_TISSUE = 0.25
"""Share of tissue of a piece, where enough pieces have as much."""


def measure_stain(
    slide: Slide, seen: Overview, downsample: float, manifest: Manifest, mpp: float | None
) -> tuple[StainEstimate | None, Quality]:
    """What all tiles of a slide are unmixed with, and how good the slide is.

    A slide that fits into one tile gets what POST /analyze would measure.

    Args:
        slide: to measure.
        seen: its overview.
        downsample: level-0 px per px at which the bundle looks.
        manifest: of the bundle.
        mpp: µm per px of level 0, if known.

    Raises:
        SlideError: a part of the slide is damaged.
    """
    params, engine = manifest.segmentation.stain, manifest.segmentation.engine
    if slide.width * slide.height <= ONE_TILE_PX * downsample**2:
        whole = Window(0, 0, slide.width, slide.height)
        pixels = slide.read(whole, downsample)
        uploaded = pixels if downsample == 1 else slide.read(whole)
        stains = unmix(pixels, params, engine)
        tile = Tile(uploaded, "", mpp)
        return stains.estimate, assess(tile, pixels, stains, params, manifest.quality)
    windows = chosen(slide.width, slide.height, seen, downsample)
    pieces = {window: _piece(slide, window, downsample) for window in windows}
    estimate = estimate_stain(list(pieces.values()), params, engine)
    sample = _sample({window: piece.counted for window, piece in pieces.items()}, seen)
    stains = replace(unmix(sample, params, engine, estimate), estimate=estimate)
    quality = assess(Tile(sample, "", mpp), sample, stains, params, manifest.quality)
    return estimate, replace(quality, tissue_fraction=float(seen.tissue.mean()))


def chosen(width: int, height: int, seen: Overview, downsample: float) -> list[Window]:
    """At most PIECES squares that have tissue, evenly spread over it in reading order; all, if they are not more."""
    every = list(squares(width, height, max(1, round(PIECE_PX * downsample))))
    return every if len(every) <= PIECES else with_tissue(every, seen, PIECES)


def with_tissue(windows: list[Window], seen: Overview, n: int) -> list[Window]:
    """At most n windows with tissue: evenly spread ones, or where few have much of it those that have most.

    Args:
        windows: in reading order, which is kept.
        seen: the slide's overview.
        n: how many.
    """
    shares = {window: seen.share(window) for window in windows}
    full = [window for window in windows if shares[window] >= MIN_TISSUE]
    if len(full) >= n:
        return evenly(full, n)
    most = sorted(windows, key=lambda window: -shares[window])[:n]
    return sorted(window for window in most if shares[window] > 0)


def evenly(values: list[T], n: int) -> list[T]:
    """At most n of the values, at even steps."""
    if len(values) <= n:
        return values
    return [values[i] for i in np.linspace(0, len(values) - 1, n).round().astype(int)]


def _sample(pieces: dict[Window, UInt8Array], seen: Overview) -> UInt8Array:
    """Pieces with tissue, one below the other: those of the commonest size, which are not cut by the slide's border."""
    shape = Counter(pixels.shape for pixels in pieces.values()).most_common(1)[0][0]
    whole = [window for window, pixels in pieces.items() if pixels.shape == shape]
    chosen_ones = with_tissue(whole, seen, QUALITY_PIECES) or whole[:1]
    return np.concatenate([pieces[window] for window in chosen_ones])


def _piece(slide: Slide, window: Window, downsample: float) -> Piece:
    seen = window.grown(max(1, round(APRON_PX * downsample)), slide.width, slide.height)
    pixels = slide.read(seen, downsample)
    scale = np.array(pixels.shape[:2]) / (seen.height, seen.width)
    first = np.array([window.y - seen.y, window.x - seen.x])
    last = np.add(first, (window.height, window.width))
    (y0, x0), (y1, x1) = (np.rint(at * scale).astype(int) for at in (first, last))
    return Piece(pixels, (slice(y0, max(y1, y0 + 1)), slice(x0, max(x1, x0 + 1))))
