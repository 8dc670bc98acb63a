"""Some tiles of a slide, as files: a bundle is adapted to these."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from PIL import Image

from app.batch.plan.grid import squares
from app.batch.plan.tissue import Overview, overview_of
from app.batch.read.open import open_slide
from app.batch.read.slide import Slide, SlideError, Window
from app.pipeline.headers.declared_scale import chosen_mpp
from app.pipeline.manifest import Manifest

EDGE_PX = 1000
"""The edge of a tile at the scale of the bundle: 0.06 mm² at 0.25 µm per px, with some hundred cells."""
MIN_TISSUE = 0.5
"""The share of tissue that a tile must have; where none has so much, the one with the most is taken."""
MICROMETRES_PER_INCH = 25_400


def cut_tiles(path: Path, folder: Path, n: int, manifest: Manifest, mpp: float | None, max_pixels: int) -> list[Path]:
    """Write tiles of a slide as PNG, at full resolution and with their scale.

    Args:
        path: the slide, or the folder of a DICOM slide.
        folder: where the tiles are written.
        n: how many; fewer if the slide has not so many.
        manifest: that of the bundle which is to be adapted.
        mpp: µm per px of the slide; None for what its file says.
        max_pixels: the largest tile that is decoded as a whole.

    Returns:
        The paths of the tiles, evenly spread over the tissue.

    Raises:
        SlideError: the slide cannot be read, has no scale or no tissue; the text does not name the slide.
        UnequalAxes: the file says that its pixels are not square, and no scale is given.
        OSError: a tile cannot be written.
    """
    slide = open_slide(path, max_pixels)
    try:
        um_per_px, _ = chosen_mpp(mpp, slide.metadata.scale)
        if um_per_px is None:
            raise SlideError("The file does not say how many µm a pixel has; say so with --mpp.")
        downsample = manifest.mpp / um_per_px
        overview = overview_of(slide, downsample, manifest.segmentation.stain.min_magnitude)
        dpi = (MICROMETRES_PER_INCH / um_per_px,) * 2
        written = []
        for window in _chosen(slide, overview, max(1, round(EDGE_PX * downsample)), n):
            tile = folder / f"{path.stem}-x{window.x}-y{window.y}.png"
            Image.fromarray(slide.read(window)).save(tile, dpi=dpi)
            written.append(tile)
        return written
    finally:
        slide.close()


def _chosen(slide: Slide, overview: Overview, edge: int, n: int) -> list[Window]:
    """Return at most n whole squares with tissue, in reading order; a slide smaller than one is a square itself."""
    edge = min(edge, slide.width, slide.height)
    whole = [one for one in squares(slide.width, slide.height, edge) if one.width == one.height == edge]
    shares = np.array([overview.share(window) for window in whole])
    if not shares.any():
        raise SlideError("No tissue was found.")
    good = np.flatnonzero(shares >= min(MIN_TISSUE, shares.max()))
    step = len(good) / min(n, len(good))
    return [whole[good[math.floor((i + 0.5) * step)]] for i in range(min(n, len(good)))]
