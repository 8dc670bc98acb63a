"""The stain and the quality of a slide, measured once on a sample of its tissue; of a small slide, on all of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TypeVar

import numpy as np

from app.batch.plan.grid import ONE_TILE_PX, squares
from app.batch.plan.tissue import Overview
from app.batch.read.slide import Slide, Window
from app.pipeline.headers.declared_scale import MppSource
from app.pipeline.manifest import Manifest
from app.pipeline.quality.assess import Quality, assess
from app.pipeline.stain.slide import APRON_PX, Piece, estimate_stain
from app.pipeline.stain.unmix import unmix, unstained
from app.pipeline.types import StainEstimate, Tile, UInt8Array

T = TypeVar("T")

PIECE_PX = 512
"""The edge of a piece of the sample, at the analysed scale."""
PIECES = 80
"""The largest number of pieces in the sample: 21 megapixels. A slide of fewer pieces is measured as a whole."""
QUALITY_PIECES = 16
"""The largest number of pieces on which the quality is measured: 4 megapixels."""
MIN_TISSUE = 0.25
"""The share of tissue that a piece should have, if enough pieces have it."""


def measure_stain(
    slide: Slide,
    overview: Overview,
    downsample: float,
    manifest: Manifest,
    mpp: float | None,
    mpp_source: MppSource,
) -> tuple[StainEstimate | None, Quality]:
    """Measure the stain with which all tiles of a slide are unmixed, and the quality of the slide.

    For a slide that is analysed as one tile both are what POST /analyze measures on an upload.

    Args:
        slide: the open slide.
        overview: its overview.
        downsample: px of level 0 per px of the scale at which the bundle analyses.
        manifest: the manifest of the bundle.
        mpp: µm per px of level 0; None if it is not known.
        mpp_source: where `mpp` comes from.

    Returns:
        The stain, None if no two stains can be told apart; and the quality.

    Raises:
        SlideError: a part of the slide is damaged.
    """
    params, engine = manifest.segmentation.stain, manifest.segmentation.engine
    if slide.width * slide.height <= ONE_TILE_PX * downsample**2:
        whole = Window(0, 0, slide.width, slide.height)
        pixels = slide.read(whole, downsample)
        full_size = pixels if downsample == 1 else slide.read(whole)
        stains = unmix(pixels, params, engine)
        tile = Tile(full_size, "", mpp, mpp_source, slide.metadata)
        return stains.estimate, assess(tile, pixels, stains, params, manifest.quality)
    windows = sample_windows(slide.width, slide.height, overview, downsample)
    pieces = {window: _piece(slide, window, downsample) for window in windows}
    estimate = estimate_stain(list(pieces.values()), params, engine)
    sample = _sample({window: piece.counted for window, piece in pieces.items()}, overview)
    stains = unmix(sample, params, engine, estimate)
    if estimate is None:
        stains = unstained(stains.normalised, stains.tissue)
    quality = assess(Tile(sample, "", mpp, mpp_source, slide.metadata), sample, stains, params, manifest.quality)
    return estimate, replace(quality, tissue_fraction=float(overview.tissue.mean()))


def sample_windows(width: int, height: int, overview: Overview, downsample: float) -> list[Window]:
    """Choose the pieces of a slide on which its stain is measured.

    Args:
        width: the width of the slide, in px of level 0.
        height: the height of the slide, in px of level 0.
        overview: its overview.
        downsample: px of level 0 per px of the scale at which the bundle analyses.

    Returns:
        All pieces of the slide if there are no more than PIECES; else at most so many that have tissue, evenly spread
        over it, in reading order.
    """
    every = list(squares(width, height, max(1, round(PIECE_PX * downsample))))
    return every if len(every) <= PIECES else with_tissue(every, overview, PIECES)


def with_tissue(windows: list[Window], overview: Overview, n: int) -> list[Window]:
    """Choose at most n windows that have tissue.

    If at least n windows have much tissue, evenly spread ones of these are chosen, else those that have most of it.

    Args:
        windows: in reading order, which is kept.
        overview: the overview of the slide.
        n: how many.
    """
    shares = {window: overview.share(window) for window in windows}
    full = [window for window in windows if shares[window] >= MIN_TISSUE]
    if len(full) >= n:
        return evenly(full, n)
    fullest = sorted(windows, key=lambda window: -shares[window])[:n]
    return sorted(window for window in fullest if shares[window] > 0)


def evenly(values: list[T], n: int) -> list[T]:
    """Choose at most n of the values at even steps, among them the first and the last."""
    if len(values) <= n:
        return values
    return [values[i] for i in np.linspace(0, len(values) - 1, n).round().astype(int)]


def _sample(pieces: dict[Window, UInt8Array], overview: Overview) -> UInt8Array:
    """Put pieces with tissue one below the other: those of the commonest size, which no border of the slide cuts."""
    shape = Counter(pixels.shape for pixels in pieces.values()).most_common(1)[0][0]
    uncut = [window for window, pixels in pieces.items() if pixels.shape == shape]
    windows = with_tissue(uncut, overview, QUALITY_PIECES) or uncut[:1]
    return np.concatenate([pieces[window] for window in windows])


def _piece(slide: Slide, window: Window, downsample: float) -> Piece:
    """Read a piece with an apron round it, and mark which of its pixels count."""
    with_apron = window.grown(max(1, round(APRON_PX * downsample)), slide.width, slide.height)
    pixels = slide.read(with_apron, downsample)
    scale = np.array(pixels.shape[:2]) / (with_apron.height, with_apron.width)
    first = np.array([window.y - with_apron.y, window.x - with_apron.x])
    last = np.add(first, (window.height, window.width))
    (y0, x0), (y1, x1) = (np.rint(at * scale).astype(int) for at in (first, last))
    return Piece(pixels, (slice(y0, max(y1, y0 + 1)), slice(x0, max(x1, x0 + 1))))
